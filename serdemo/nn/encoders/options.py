"""What can be chosen of an encoder, whichever it is."""

from __future__ import annotations

from dataclasses import dataclass

from serdemo.schema.options import Options, option

PRETRAINED = ("wavlm", "hubert", "wav2vec2", "whisper", "xvector")
SPECTRAL = ("mel", "mfcc")  # nothing in them is trained


@dataclass(frozen=True)
class EncoderOptions(Options):
    """Which encoder, and how fast it learns."""

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
        """The encoder's peak rate: a new one learns as fast as all else, at `learning_rate`."""
        return learning_rate if self.encoder == "compact" else self.encoder_learning_rate


@dataclass(frozen=True)
class PretrainedOptions(Options):
    """How a pretrained encoder is read and what of it is trained."""

    source: str = option(
        "",
        "a hub id, a folder (one of our own checkpoints too), or for Whisper a .safetensors file"
        " [default: the kind's usual id]",
    )
    layer_pooling: str = option(
        "weighted",
        "which layers the frames are: a trained weighted mean of all, or the last alone",
        choices=("weighted", "last"),
    )
    freeze: str = option(
        "features",
        "what is not trained: nothing, the convolutions before the Transformer, its lower half"
        " besides, or all of it",
        choices=("none", "features", "lower-half", "all"),
    )
    bottleneck: int = option(
        0,
        "width of a layer with ReLU behind the layers' mean, trained anew; 0 for none",
        low=0,
        high=4096,
    )
    lora_rank: int = option(
        0, "rank of LoRA adapters, trained in place of the layers; 0 for none", low=0, high=256
    )
    gradient_checkpointing: bool = option(
        False, "compute layers twice in training to need less memory"
    )
    attention_kernel: str = option(
        "auto", "how attention is computed", choices=("auto", "sdpa", "eager")
    )
