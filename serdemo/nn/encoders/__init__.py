"""Table of encoders: name -> options, constructor, configuration.

An encoder is a module with a `width` D whose `forward(wave, lengths)` maps samples (B, T) at 16 kHz
of `lengths` (B,) to frames (B, F, D) and their mask (B, F), and whose `trainable()` lists the
parameters that training updates. Heavy libraries are imported when an encoder is built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from serdemo.nn.encoders.conformer import ConformerEncoder, ConformerOptions
from serdemo.nn.encoders.mel import SpectralEncoder
from serdemo.nn.encoders.options import PRETRAINED, EncoderOptions, PretrainedOptions
from serdemo.schema.errors import UsageError
from serdemo.schema.options import Options

OPTION_GROUPS: tuple[type[Options], ...] = (EncoderOptions, ConformerOptions, PretrainedOptions)


@dataclass(frozen=True, slots=True)
class EncoderKind:
    """Entry of the table: options class, constructor, and the configuration a checkpoint stores.

    `configure` takes options and reads their source; `build` takes options and configuration.
    """

    options: type[Options]
    build: Callable[[Any, dict[str, Any]], nn.Module]
    configure: Callable[[Any], dict[str, Any]] = lambda options: {}


def _pretrained(kind: str) -> EncoderKind:
    def build(options: PretrainedOptions, config: dict[str, Any]) -> nn.Module:
        from serdemo.nn.encoders.pretrained import UNREADABLE
        from serdemo.nn.encoders.wav2vec import Wav2VecEncoder
        from serdemo.nn.encoders.whisper import WhisperEncoder

        try:
            return (WhisperEncoder if kind == "whisper" else Wav2VecEncoder)(kind, options, config)
        except UNREADABLE as problem:
            first_line, _, _ = str(problem).partition("\n")
            raise UsageError(
                f"the configuration of the encoder {kind} makes no model: {first_line}."
            ) from problem

    def configure(options: PretrainedOptions) -> dict[str, Any]:
        from serdemo.nn.encoders import pretrained, whisper

        config = (whisper if kind == "whisper" else pretrained).configure(kind, options)
        pretrained.check_layers(kind, options, config)
        return config

    return EncoderKind(PretrainedOptions, build, configure)


ENCODERS: dict[str, EncoderKind] = {
    "compact": EncoderKind(ConformerOptions, lambda options, _: ConformerEncoder(options)),
    **{kind: _pretrained(kind) for kind in PRETRAINED},
    "mel": EncoderKind(Options, lambda *_: SpectralEncoder("mel")),
    "mfcc": EncoderKind(Options, lambda *_: SpectralEncoder("mfcc")),
}


def describe(options_of: Callable[[type[Any]], Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Name, options and configuration of the selected encoder, as a checkpoint stores them.

    `options_of(group)` gives the options of a group.
    """
    name = options_of(EncoderOptions).encoder
    options = options_of(ENCODERS[name].options)
    return name, options.to_json(), ENCODERS[name].configure(options)


def build(
    name: str, options: Mapping[str, Any], config: Mapping[str, Any] | None = None
) -> nn.Module:
    """Build an encoder with random weights; raises UsageError for an unknown name or wrong options."""
    if name not in ENCODERS:
        raise UsageError(f"There is no encoder {name!r}; known are {', '.join(ENCODERS)}.")
    kind = ENCODERS[name]
    return kind.build(kind.options.from_json(options), dict(config or {}))


def load_pretrained(encoder: nn.Module) -> None:
    """Load the weights of the encoder's source; does nothing for an encoder without one."""
    if hasattr(encoder, "load_pretrained"):
        encoder.load_pretrained()  # type: ignore[operator]
