"""An encoder with what stands on it: attention pooling, embedding, projection, classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn
from torch.nn import functional as F

from serdemo.audio.waveform import SAMPLE_RATE
from serdemo.data.dataset import Batch
from serdemo.nn.image_pooling import (
    CNN_LAYERS,
    MIN_EFFICIENTNET_SIDE,
    EfficientNet,
    ImageCNN,
    ImagePooling,
)
from serdemo.nn.padding import length_mask, pad_or_trim
from serdemo.nn.pooling import AttentiveStatisticsPooling, MeanPooling, SelfAttentionPooling
from serdemo.schema.errors import UsageError
from serdemo.schema.options import Options, option


class Encoder(Protocol):
    """The contract: (B, T) waveform at 16 kHz and (B,) lengths -> (B, F, D) frames, (B, F) mask."""

    width: int

    def __call__(self, wave: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class HeadOptions(Options):
    """Size of what stands on the encoder."""

    attention: int = option(128, "hidden width of the attention pooling", low=8, high=1024)
    embedding: int = option(192, "numbers in an utterance's embedding", low=8, high=1024)
    projection: int = option(128, "width of the contrastive projection", low=8, high=1024)
    pooling: str = option(
        "statistics",
        "how frames become one vector: attentive mean and deviation, self-attention's mean, the plain"
        " mean, or a network that sees them as an image",
        choices=("statistics", "attention", "mean", "cnn", "efficientnet"),
    )
    classifier_width: int = option(
        0, "width of a classifier of two layers with ReLU; 0 for one layer", low=0, high=4096
    )
    image_seconds: float = option(
        7.0, "length that clips are cut or padded to for an image", low=0.1, high=60.0
    )
    image_side: int = option(300, "height and width of that image", low=16, high=1024)
    image_dropout: float = option(0.2, "dropout behind its layers", low=0.0, high=0.9)
    cnn_layers: int = option(7, "convolutions of the pooling cnn: 3, 5 or 7", low=3, high=7)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cnn_layers not in CNN_LAYERS:
            raise UsageError(f"--cnn-layers must be 3, 5 or 7, not {self.cnn_layers}.")
        if self.pooling == "efficientnet" and self.image_side < MIN_EFFICIENTNET_SIDE:
            raise UsageError(
                f"--image-side must be at least {MIN_EFFICIENTNET_SIDE} for --pooling efficientnet, not"
                f" {self.image_side}."
            )

    @property
    def image(self) -> bool:
        """Whether frames are seen as an image."""
        return self.pooling in ("cnn", "efficientnet")

    @property
    def image_samples(self) -> int:
        """Its length in samples."""
        return round(self.image_seconds * SAMPLE_RATE)


@dataclass(frozen=True, slots=True)
class Output:
    """One forward pass: `frames` (B, F, D) and their `mask` (B, F), `embedding` (B, E), `logits`
    (B, C), `projection` (B, P)."""

    frames: Tensor
    mask: Tensor
    embedding: Tensor
    logits: Tensor
    projection: Tensor


class Model(nn.Module):
    """Waveform to emotion. `labels` name the columns of the logits; without any it only embeds."""

    def __init__(self, encoder: nn.Module, labels: tuple[str, ...], options: HeadOptions) -> None:
        super().__init__()
        self.labels, self.options = labels, options
        width: int = encoder.width  # type: ignore[assignment]
        self.encoder = encoder
        self.pooling: nn.Module
        if options.image:
            self.pooling = _image_pooling(options)
            width = self.pooling.width
        elif options.pooling == "attention":
            self.pooling = SelfAttentionPooling(width)
        elif options.pooling == "mean":
            self.pooling = MeanPooling()
        else:
            self.pooling = AttentiveStatisticsPooling(width, options.attention)
            width = 2 * width
        self.embedding = nn.Linear(width, options.embedding)
        self.classifier = _classifier(options, len(labels))
        self.projection = nn.Sequential(
            nn.Linear(options.embedding, options.embedding),
            nn.SiLU(),
            nn.Linear(options.embedding, options.projection),
        )

    def forward(self, wave: Tensor, lengths: Tensor) -> Output:
        """`wave` (B, T) float32 at 16 kHz, zero-padded; `lengths` (B,) valid samples."""
        return self.forward_frames(*self.encode(wave, lengths))

    def forward_frames(self, frames: Tensor, mask: Tensor) -> Output:
        """All that stands on the encoder: (B, F, D) `frames` and their (B, F) `mask`."""
        embedding = self.pool(frames, mask)
        projection = self.projection(F.silu(embedding))
        return Output(frames, mask, embedding, self.classify(embedding), projection)

    def embed(self, wave: Tensor, lengths: Tensor) -> Tensor:
        """The (B, E) embeddings of a batch of clips."""
        return self.pool(*self.encode(wave, lengths))

    def encode(self, wave: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The encoder's (B, F, D) frames and their (B, F) mask; for an image, of one length."""
        if self.options.image:
            wave, lengths = pad_or_trim(wave, lengths, self.options.image_samples)
        frames, mask = self.encoder(wave, lengths)
        return frames, mask

    def encode_batch(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The (B, F, D) frames of a batch and their (B, F) mask: its cached ones where it has them."""
        if batch.frames is None:
            return self.encode(batch.wave, batch.lengths)
        return batch.frames, length_mask(batch.lengths, batch.frames.shape[1])

    def embed_batch(self, batch: Batch) -> Tensor:
        """The (B, E) embeddings of a batch, of its cached frames where it has them."""
        return self.pool(*self.encode_batch(batch))

    def pool(self, frames: Tensor, mask: Tensor) -> Tensor:
        """(B, F, D) frames of the encoder and their (B, F) mask -> (B, E) embeddings."""
        embedding: Tensor = self.embedding(self.pooling(frames, mask))
        return embedding

    def logits(self, wave: Tensor, lengths: Tensor) -> Tensor:
        """The (B, C) logits of a batch of clips, float32."""
        return self.classify(self.embed(wave, lengths))

    def classify(self, embedding: Tensor) -> Tensor:
        """(B, E) embeddings -> (B, C) logits, float32."""
        logits: Tensor = self.classifier(F.silu(embedding)).float()
        return logits


class _NoClassifier(nn.Module):
    """(B, E) -> (B, 0): nothing to train or to keep."""

    def forward(self, embedding: Tensor) -> Tensor:
        return embedding[:, :0]


def _image_pooling(options: HeadOptions) -> ImagePooling:
    if options.pooling == "efficientnet":
        return EfficientNet(options.image_side, options.image_dropout)
    return ImageCNN(options.image_side, options.cnn_layers, options.image_dropout)


def _classifier(options: HeadOptions, classes: int) -> nn.Module:
    if not classes:
        return _NoClassifier()
    if not options.classifier_width:
        return nn.Linear(options.embedding, classes)
    return nn.Sequential(
        nn.Linear(options.embedding, options.classifier_width),
        nn.ReLU(),
        nn.Linear(options.classifier_width, classes),
    )
