"""Pooling over time: (B, F, D) frames and their (B, F) mask to one vector per clip."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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


class Mean(nn.Module):
    """The mean of the valid frames: (B, F, D) frames and (B, F) mask -> (B, D)."""

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        kept = mask[:, :, None].float()
        return (frames.float() * kept).sum(1) / kept.sum(1)
