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
