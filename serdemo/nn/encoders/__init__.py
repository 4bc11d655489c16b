"""The table of encoders: a name -> its options and how to build it (heavy imports wait till then)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from serdemo.nn.encoders.conformer import ConformerEncoder, ConformerOptions
from serdemo.nn.encoders.mel import SpectralEncoder
from serdemo.nn.encoders.options import PRETRAINED, SPECTRAL, EncoderOptions, PretrainedOptions
from serdemo.schema.errors import UsageError
from serdemo.schema.options import Options

GROUPS: tuple[type[Options], ...] = (EncoderOptions, ConformerOptions, PretrainedOptions)


@dataclass(frozen=True, slots=True)
class EncoderKind:
    """An entry of the table: `build` takes options and the configuration that `configure` found."""

    options: type[Options]
    build: Callable[[Any, dict[str, Any]], nn.Module]
    configure: Callable[[Any], dict[str, Any]]


def _pretrained(kind: str) -> EncoderKind:
    def build(options: PretrainedOptions, config: dict[str, Any]) -> nn.Module:
        from serdemo.nn.encoders.pretrained import UNREADABLE
        from serdemo.nn.encoders.wav2vec import Wav2VecEncoder
        from serdemo.nn.encoders.whisper import WhisperEncoder

        try:
            return (WhisperEncoder if kind == "whisper" else Wav2VecEncoder)(kind, options, config)
        except UNREADABLE as problem:
            what, _, _ = str(problem).partition("\n")
            raise UsageError(
                f"the configuration of the encoder {kind} makes no model: {what}."
            ) from problem

    def configure(options: PretrainedOptions) -> dict[str, Any]:
        from serdemo.nn.encoders import pretrained

        return pretrained.configure(kind, options)

    return EncoderKind(PretrainedOptions, build, configure)


def _plain(kind: str) -> EncoderKind:
    return EncoderKind(Options, lambda options, config: SpectralEncoder(kind), lambda options: {})


ENCODERS: dict[str, EncoderKind] = {
    "compact": EncoderKind(ConformerOptions, lambda o, _: ConformerEncoder(o), lambda _: {}),
    **{kind: _pretrained(kind) for kind in PRETRAINED},
    **{kind: _plain(kind) for kind in SPECTRAL},
}


def describe(
    of: Callable[[type[Any]], Any],
) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The chosen encoder's name, options and configuration, as a checkpoint keeps them.

    `of` gives the options of a group. Raises SerdemoError when a pretrained one cannot be read.
    """
    name = of(EncoderOptions).encoder
    options = of(ENCODERS[name].options)
    return name, options.to_json(), ENCODERS[name].configure(options)


def build(
    name: str, options: Mapping[str, Any], config: Mapping[str, Any] | None = None
) -> nn.Module:
    """A fresh encoder of random weights by name, without its source.

    Raises UsageError for a name or an option that is not known, and for a configuration that
    makes no model.
    """
    if name not in ENCODERS:
        raise UsageError(f"There is no encoder {name!r}; known are {', '.join(ENCODERS)}.")
    kind = ENCODERS[name]
    return kind.build(kind.options.from_json(options), dict(config or {}))


def load_pretrained(encoder: nn.Module) -> None:
    """Give an encoder the weights of its source; one that has none is left as it is."""
    load = getattr(encoder, "load_pretrained", None)
    if load is not None:
        load()
