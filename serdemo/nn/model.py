"""Model: an encoder with pooling, embedding, classifier and contrastive projection."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from serdemo.audio.waveform import SAMPLE_RATE
from serdemo.data.dataset import Batch
from serdemo.nn.image_pooling import CNN_LAYERS, MIN_EFFICIENTNET_SIDE, EfficientNet, ImageCNN
from serdemo.nn.padding import length_mask, pad_or_trim
from serdemo.nn.pooling import (
    AttentiveStatisticsPooling,
    MeanDeviationPooling,
    MeanPooling,
    SelfAttentionPooling,
)
from serdemo.schema.errors import UsageError
from serdemo.schema.options import Options, option


@dataclass(frozen=True)
class HeadOptions(Options):
    """Options of the layers after the encoder."""

    attention: int = option(128, "hidden width of the attention pooling", low=8, high=1024)
    embedding: int = option(192, "width of a clip's embedding", low=8, high=1024)
    projection: int = option(
        128, "width of the projection for contrastive losses", low=8, high=1024
    )
    pooling: str = option(
        "statistics",
        "how frames become one vector: attentive mean and deviation, self-attention's mean, the plain"
        " mean, the plain mean and deviation, or a network on the frames as an image",
        choices=("statistics", "attention", "mean", "mean-std", "cnn", "efficientnet"),
    )
    head_dropout: float = option(
        0.0, "dropout before the embedding and before the classifier", low=0.0, high=0.9
    )
    classifier_width: int = option(
        0, "width of a classifier of two layers with ReLU; 0 for one layer", low=0, high=4096
    )
    image_seconds: float = option(
        7.0, "length of clips for an image, cut or padded", low=0.1, high=60.0
    )
    image_side: int = option(300, "height and width of that image", low=16, high=1024)
    image_dropout: float = option(0.2, "dropout in the image network", low=0.0, high=0.9)
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
        """Whether pooling is by an image network."""
        return self.pooling in ("cnn", "efficientnet")

    @property
    def image_samples(self) -> int:
        """Length of clips for an image, in samples."""
        return round(self.image_seconds * SAMPLE_RATE)


@dataclass(frozen=True, slots=True)
class Output:
    """Outputs of a forward pass for a batch of B clips.

    `frames` (B, F, D) of the encoder with their `mask` (B, F), `embedding` (B, E), `logits` (B, C)
    and `projection` (B, P).
    """

    frames: Tensor
    mask: Tensor
    embedding: Tensor
    logits: Tensor
    projection: Tensor


class Model(nn.Module):
    """Network from waveform to emotion; `labels` name the logits. Without labels it only embeds."""

    def __init__(self, encoder: nn.Module, labels: tuple[str, ...], options: HeadOptions) -> None:
        super().__init__()
        self.labels, self.options = labels, options
        self.encoder = encoder
        self.pooling = _pooling(options, encoder.width)  # type: ignore[arg-type]
        self.embedding = nn.Linear(self.pooling.width, options.embedding)  # type: ignore[arg-type]
        self.classifier = _classifier(options, len(labels))
        self.projection = nn.Sequential(
            nn.Linear(options.embedding, options.embedding),
            nn.SiLU(),
            nn.Linear(options.embedding, options.projection),
        )

    def forward(self, wave: Tensor, lengths: Tensor) -> Output:
        """Run the model on `wave` (B, T) float32 at 16 kHz, zero-padded, of `lengths` (B,) samples."""
        return self.forward_frames(*self.encode(wave, lengths))

    def forward_frames(self, frames: Tensor, mask: Tensor) -> Output:
        """Run the layers after the encoder on `frames` (B, F, D) with `mask` (B, F)."""
        embedding = self.pool(frames, mask)
        projection = self.projection(F.silu(embedding))
        return Output(frames, mask, embedding, self.classify(embedding), projection)

    def embed(self, wave: Tensor, lengths: Tensor) -> Tensor:
        """Embeddings (B, E) of `wave` (B, T) with `lengths` (B,)."""
        return self.pool(*self.encode(wave, lengths))

    def encode(self, wave: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Frames (B, F, D) of the encoder and mask (B, F), of clips of one length for image pooling."""
        if self.options.image:
            wave, lengths = pad_or_trim(wave, lengths, self.options.image_samples)
        frames, mask = self.encoder(wave, lengths)
        return frames, mask

    def encode_batch(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Frames (B, F, D) of a batch and their mask (B, F); cached frames are used as they are."""
        if batch.frames is None:
            return self.encode(batch.wave, batch.lengths)
        return batch.frames, length_mask(batch.lengths, batch.frames.shape[1])

    def embed_batch(self, batch: Batch) -> Tensor:
        """Embeddings (B, E) of a batch, from its cached frames where it has them."""
        return self.pool(*self.encode_batch(batch))

    def pool(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Embeddings (B, E) of encoder `frames` (B, F, D) with `mask` (B, F)."""
        embedding: Tensor = self.embedding(self._dropout(self.pooling(frames, mask)))
        return embedding

    def logits(self, wave: Tensor, lengths: Tensor) -> Tensor:
        """Logits (B, C), float32, of `wave` (B, T) with `lengths` (B,)."""
        return self.classify(self.embed(wave, lengths))

    def classify(self, embedding: Tensor) -> Tensor:
        """Logits (B, C), float32, of `embedding` (B, E)."""
        logits: Tensor = self.classifier(self._dropout(F.silu(embedding))).float()
        return logits

    def _dropout(self, x: Tensor) -> Tensor:
        dropout = self.options.head_dropout
        return F.dropout(x, dropout) if dropout and self.training else x


class _NoClassifier(nn.Module):
    """Stand-in without parameters: (B, E) -> (B, 0)."""

    def forward(self, embedding: Tensor) -> Tensor:
        return embedding[:, :0]


def _pooling(options: HeadOptions, width: int) -> nn.Module:
    match options.pooling:
        case "efficientnet":
            return EfficientNet(options.image_side, options.image_dropout)
        case "cnn":
            return ImageCNN(options.image_side, options.cnn_layers, options.image_dropout)
        case "attention":
            return SelfAttentionPooling(width)
        case "mean":
            return MeanPooling(width)
        case "mean-std":
            return MeanDeviationPooling(width)
        case _:
            return AttentiveStatisticsPooling(width, options.attention)


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
