"""An encoder with what stands on it: attention pooling, embedding, projection, classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from serdemo.options import Options, option


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
        "how frames become one vector: attentive mean and deviation, or self-attention's mean",
        choices=("statistics", "attention"),
    )
    hidden: int = option(
        0, "width of a classifier of two layers with ReLU; 0 for one layer", low=0, high=4096
    )


class AttentiveStatistics(nn.Module):
    """Attentive statistics pooling (Okabe et al., arXiv 1803.10963), a softmax per channel.

    (B, F, D) frames and (B, F) mask -> (B, 2 D): weighted mean and standard deviation.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, hidden)
        self.outer = nn.Linear(hidden, width, bias=False)  # a bias would leave the softmax alone

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        frames = frames.float()
        score = self.outer(torch.tanh(self.inner(frames))).float()
        weight = score.masked_fill(~mask[:, :, None], float("-inf")).softmax(dim=1)
        mean = (weight * frames).sum(1)
        variance = (weight * frames.square()).sum(1) - mean.square()
        return torch.cat((mean, variance.clamp_min(1e-5).sqrt()), dim=1)


class SelfAttention(nn.Module):
    """Self-attention pooling (Safari et al., arXiv 2008.01077): one softmax over the valid frames.

    (B, F, D) frames and (B, F) mask -> (B, D): c = sum_t a_t h_t with a = softmax(H w).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        frames = frames.float()
        score = self.score(frames).float().masked_fill(~mask[:, :, None], float("-inf"))
        return (score.softmax(dim=1) * frames).sum(1)


@dataclass(frozen=True, slots=True)
class Output:
    """One forward pass: `embedding` (B, E), `logits` (B, C), `projection` (B, P)."""

    embedding: Tensor
    logits: Tensor
    projection: Tensor


class Model(nn.Module):
    """Waveform to emotion. `labels` name the columns of the logits."""

    def __init__(self, encoder: nn.Module, labels: tuple[str, ...], options: HeadOptions) -> None:
        super().__init__()
        self.labels, self.options = labels, options
        width: int = encoder.width  # type: ignore[assignment]
        self.encoder = encoder
        self.pooling: nn.Module
        if options.pooling == "attention":
            self.pooling = SelfAttention(width)
            self.embedding = nn.Linear(width, options.embedding)
        else:
            self.pooling = AttentiveStatistics(width, options.attention)
            self.embedding = nn.Linear(2 * width, options.embedding)
        self.classifier = _classifier(options, len(labels))
        self.projection = nn.Sequential(
            nn.Linear(options.embedding, options.embedding),
            nn.SiLU(),
            nn.Linear(options.embedding, options.projection),
        )

    def forward(self, wave: Tensor, lengths: Tensor) -> Output:
        """`wave` (B, T) float32 at 16 kHz, zero-padded; `lengths` (B,) valid samples."""
        embedding = self.embed(wave, lengths)
        return Output(embedding, self.classify(embedding), self.projection(F.silu(embedding)))

    def embed(self, wave: Tensor, lengths: Tensor) -> Tensor:
        """The (B, E) embeddings of a batch of clips."""
        frames, mask = self.encoder(wave, lengths)
        embedding: Tensor = self.embedding(self.pooling(frames, mask))
        return embedding

    def logits(self, wave: Tensor, lengths: Tensor) -> Tensor:
        """The (B, C) logits of a batch of clips, float32."""
        return self.classify(self.embed(wave, lengths))

    def classify(self, embedding: Tensor) -> Tensor:
        """(B, E) embeddings -> (B, C) logits, float32."""
        logits: Tensor = self.classifier(F.silu(embedding)).float()
        return logits


def _classifier(options: HeadOptions, classes: int) -> nn.Module:
    if not options.hidden:
        return nn.Linear(options.embedding, classes)
    return nn.Sequential(
        nn.Linear(options.embedding, options.hidden),
        nn.ReLU(),
        nn.Linear(options.hidden, classes),
    )
