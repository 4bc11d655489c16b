"""Options of encoders."""

from __future__ import annotations

from dataclasses import dataclass

from serdemo.schema.errors import UsageError
from serdemo.schema.options import Options, option

PRETRAINED = ("wavlm", "hubert", "wav2vec2", "whisper", "xvector")
SPECTRAL = ("mel", "mfcc")  # without trainable parameters


@dataclass(frozen=True)
class EncoderOptions(Options):
    """Choice of the encoder and its learning rate."""

    encoder: str = option(
        "compact",
        "what turns sound into frames",
        choices=("compact", *PRETRAINED, *SPECTRAL),
        advanced=False,
    )
    encoder_learning_rate: float = option(
        1e-4, "peak learning rate of a pretrained encoder", low=0.0, high=1.0
    )

    def rate(self, learning_rate: float) -> float:
        """Peak learning rate of the encoder; one trained from scratch has that of the heads."""
        return learning_rate if self.encoder == "compact" else self.encoder_learning_rate


@dataclass(frozen=True)
class PretrainedOptions(Options):
    """Options of a pretrained encoder: its source, what is trained, how it is computed."""

    source: str = option(
        "",
        "a hub id, a folder (also a serdemo checkpoint), base for the shipped one, or for Whisper a"
        " .safetensors file"
        " [default: the kind's usual id]",
    )
    keep_layers: int = option(
        0, "Transformer layers kept, from the first; 0 for all", low=0, high=256
    )
    hidden_states: str = option(
        "",
        "hidden states that become frames, such as 2,3: 0 is the output of the convolutions, N that of"
        " layer N [default: all]",
    )
    layer_pooling: str = option(
        "weighted",
        "how hidden states become frames: a learned weighted mean, the last one, or all of them side by"
        " side along the channels",
        choices=("weighted", "last", "concat"),
    )
    freeze: str = option(
        "features",
        "what is not trained: nothing, the convolutions before the Transformer, these and its lower"
        " half, or all of it",
        choices=("none", "features", "lower-half", "all"),
    )
    bottleneck: int = option(
        0,
        "width of a linear layer with ReLU after the layer pooling; 0 for none",
        low=0,
        high=4096,
    )
    lora_rank: int = option(
        0, "rank of LoRA adapters, trained instead of the layers; 0 for none", low=0, high=256
    )
    gradient_checkpointing: bool = option(
        False, "recompute layers in the backward pass to save memory"
    )
    attention_kernel: str = option(
        "auto", "attention implementation", choices=("auto", "sdpa", "eager")
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep_layers:
            self.states_of(self.keep_layers)

    def states_of(self, layers: int) -> tuple[int, ...]:
        """Numbers of the hidden states used of an encoder with so many layers, in order.

        Raises UsageError for text that is no list of numbers, or a state that the encoder lacks.
        """
        if not self.hidden_states.strip():
            return tuple(range(layers + 1))
        numbers = [part.strip() for part in self.hidden_states.split(",")]
        if not all(part.isdecimal() and part.isascii() and len(part) < 4 for part in numbers):
            raise UsageError(
                "--hidden-states must be numbers with commas between them, such as 2,3, not"
                f" {self.hidden_states!r}."
            )
        states = tuple(sorted({int(part) for part in numbers}))
        if states[-1] > layers:
            raise UsageError(
                f"--hidden-states {states[-1]} is above the last of {layers} Transformer layers."
            )
        return states
