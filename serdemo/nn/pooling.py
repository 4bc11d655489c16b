"""Pooling over time: frames (B, F, D) and their mask (B, F) -> one vector per clip."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AttentiveStatisticsPooling(nn.Module):
    """Attentive statistics pooling (Okabe et al., arXiv 1803.10963), with a softmax per channel.

    Frames (B, F, D), mask (B, F) -> weighted mean and standard deviation (B, 2 D).
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.width = 2 * width
        self.hidden = nn.Linear(width, hidden)
        self.score = nn.Linear(hidden, width, bias=False)  # a bias would cancel in the softmax

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        frames = frames.float()
        score = self.score(torch.tanh(self.hidden(frames))).float()
        weight = score.masked_fill(~mask[:, :, None], float("-inf")).softmax(dim=1)
        mean = (weight * frames).sum(1)
        variance = (weight * frames.square()).sum(1) - mean.square()
        return torch.cat((mean, variance.clamp_min(1e-5).sqrt()), dim=1)


class SelfAttentionPooling(nn.Module):
    """Self-attention pooling (Safari et al., arXiv 2008.01077), with one softmax over valid frames.

    Frames (B, F, D), mask (B, F) -> c (B, D): c = sum_t a_t h_t with a = softmax(H w).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        frames = frames.float()
        score = self.score(frames).float().masked_fill(~mask[:, :, None], float("-inf"))
        return (score.softmax(dim=1) * frames).sum(1)


class MeanPooling(nn.Module):
    """Mean over the valid frames: frames (B, F, D), mask (B, F) -> (B, D)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        weight = mask[:, :, None].float()
        return (frames.float() * weight).sum(1) / weight.sum(1)


def mean_and_deviation(frames: Tensor, mask: Tensor) -> Tensor:
    """Mean and population standard deviation (B, 2 D) over the valid frames of (B, F, D).

    A deviation is at least 1e-4, so that its gradient is finite.
    """
    weight = mask[:, :, None].float()
    weight = weight / weight.sum(1, keepdim=True)
    frames = frames.float()
    mean = (weight * frames).sum(1)
    variance = (weight * (frames - mean[:, None]).square()).sum(1)
    return torch.cat((mean, variance.clamp_min(1e-8).sqrt()), dim=1)


class MeanDeviationPooling(nn.Module):
    """Mean and standard deviation over the valid frames, standardised.

    Frames (B, F, D), mask (B, F) -> ((mean, deviation) - `shift`) / `scale` (B, 2 D). `shift` and
    `scale` (2 D) are constants of the model, 0 and 1 until `standardise` sets them. Folded into the
    next layer, they would leave it badly conditioned for AdamW and for storage in 8 bits.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = 2 * width
        self.register_buffer("shift", torch.zeros(self.width))
        self.register_buffer("scale", torch.ones(self.width))

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        return (mean_and_deviation(frames, mask) - self.shift) / self.scale

    @property
    def is_standardised(self) -> bool:
        """Whether `standardise` has been called."""
        return bool(self.shift.any())

    def standardise(self, statistics: Tensor) -> None:
        """Set the constants to mean and deviation of the `statistics` (N, 2 D) of N clips.

        They are rounded to half precision, in which checkpoints are stored. A channel that varies by
        less than a hundredth of its mean is not blown up: rounded weights shift it by as much.
        """
        mean, deviation = statistics.mean(0), statistics.std(0, correction=0)
        floor = (0.01 * mean.abs()).clamp_min(1e-3)
        self.shift.copy_(mean.half())
        self.scale.copy_(torch.maximum(deviation, floor).half())
