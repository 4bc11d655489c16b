"""Compact encoder: a small conformer (Gulati et al., arXiv 2005.08100) on log-mel frames.

Three strided 3 x 3 convolutions subsample 100 frames a second to 12.5 before the costly layers.
There is no positional encoding: the depthwise convolutions carry local order, for clips of any
length. Only layer norms are used, no batch norms, so a clip's output does not depend on its batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from serdemo.audio.features import LogMel
from serdemo.nn.padding import length_mask
from serdemo.schema.errors import UsageError
from serdemo.schema.options import Options, option


@dataclass(frozen=True)
class ConformerOptions(Options):
    """Options of the compact encoder: size and regularisation."""

    width: int = option(192, "channels of every frame", low=16, high=512)
    layers: int = option(5, "conformer blocks", low=1, high=16)
    heads: int = option(4, "attention heads", low=1, high=16)
    expansion: int = option(4, "feed-forward width as a multiple of the frame width", low=1, high=8)
    kernel: int = option(11, "frames seen by each depthwise convolution (odd)", low=3, high=63)
    dropout: float = option(0.1, "dropout in every block", low=0.0, high=0.9)
    time_mask: int = option(
        20, "SpecAugment: longest masked span, in 10 ms frames", low=0, high=200
    )
    mel_mask: int = option(12, "SpecAugment: widest masked band, in mel bins", low=0, high=60)
    masks: int = option(2, "SpecAugment: masks of each kind", low=0, high=8)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.heads:
            raise UsageError(f"--heads must divide --width: {self.heads} does not {self.width}.")
        if self.kernel % 2 == 0:
            raise UsageError(f"--kernel must be odd, not {self.kernel}.")


class ConvSubsampling(nn.Module):
    """Convolutional subsampling, padding zeroed: features (B, F, mels) -> frames (B, F / 8, width)."""

    CHANNELS = (1, 32, 64, 96)

    def __init__(self, width: int) -> None:
        super().__init__()
        convolutions = [nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(self.CHANNELS)]
        self.convolutions = nn.ModuleList(convolutions)
        self.projection = nn.Linear(self.CHANNELS[-1] * (LogMel.MELS // 8), width)
        self.norm = nn.LayerNorm(width)
        for convolution in convolutions:
            # With torch's default initialisation the signal fades to a tenth, below the biases.
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        x = features[:, None]
        for convolution in self.convolutions:
            x = F.silu(convolution(x))
            lengths = (lengths + 1) // 2
            x = x * length_mask(lengths, x.shape[2])[:, None, :, None]
        return self.norm(self.projection(x.transpose(1, 2).flatten(2))), lengths


class ChannelDropout(nn.Module):
    """Dropout of whole channels over all frames of a clip, (B, F, D) -> (B, F, D).

    Neighbouring frames are so similar that a channel dropped in one frame is known from the next,
    and on a CPU the random numbers of element-wise dropout took two fifths of a training step.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.probability == 0:
            return x
        keep = x.new_empty(x.shape[0], 1, x.shape[2]).bernoulli_(1 - self.probability)
        return x * keep.div_(1 - self.probability)


class FeedForward(nn.Sequential):
    """Feed-forward module with layer norm and SiLU, (B, F, D) -> (B, F, D)."""

    def __init__(self, width: int, expansion: int, dropout: float) -> None:
        super().__init__(
            nn.LayerNorm(width),
            nn.Linear(width, width * expansion),
            nn.SiLU(),
            ChannelDropout(dropout),
            nn.Linear(width * expansion, width),
            ChannelDropout(dropout),
        )


class Attention(nn.Module):
    """Multi-head self-attention over valid frames: x (B, F, D), mask (B, F) -> (B, F, D)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.dropout = ChannelDropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, frames, width = x.shape
        qkv = self.qkv(self.norm(x)).view(batch, frames, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        # Not the fused kernel: for so few frames its backward pass takes twice as long.
        score = (q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])).float()
        weight = score.masked_fill(~mask[:, None, None, :], float("-inf")).softmax(dim=3)
        attended = weight.to(v.dtype) @ v
        return self.dropout(self.out(attended.transpose(1, 2).reshape(batch, frames, width)))


class Convolution(nn.Module):
    """Convolution module: GLU, depthwise convolution over time, SiLU; (B, F, D) -> (B, F, D)."""

    def __init__(self, width: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.gate = nn.Linear(width, 2 * width)
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.depthwise_norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, width)
        self.dropout = ChannelDropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = F.glu(self.gate(self.norm(x)), dim=-1) * mask[:, :, None]
        x = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        return self.dropout(self.out(F.silu(self.depthwise_norm(x))))


class Block(nn.Module):
    """Conformer block: half-step feed-forward, attention, convolution, half-step feed-forward."""

    def __init__(self, options: ConformerOptions) -> None:
        super().__init__()
        width, dropout = options.width, options.dropout
        self.ff1 = FeedForward(width, options.expansion, dropout)
        self.attention = Attention(width, options.heads, dropout)
        self.convolution = Convolution(width, options.kernel, dropout)
        self.ff2 = FeedForward(width, options.expansion, dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + 0.5 * self.ff1(x)
        x = x + self.attention(x, mask)
        x = x + self.convolution(x, mask)
        x = x + 0.5 * self.ff2(x)
        return self.norm(x)


class ConformerEncoder(nn.Module):
    """Waveform to frames, 12.5 a second."""

    def __init__(self, options: ConformerOptions) -> None:
        super().__init__()
        self.options = options
        self.width = options.width
        self.features = LogMel()
        self.subsampling = ConvSubsampling(options.width)
        self.blocks = nn.ModuleList(Block(options) for _ in range(options.layers))

    def forward(self, wave: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        features, frames = self.features(wave, lengths)
        if self.training:
            features = self._spec_augment(features, frames)
        x, frames = self.subsampling(features, frames)
        mask = length_mask(frames, x.shape[1])
        for block in self.blocks:
            x = block(x, mask)
        return x, mask

    def trainable(self) -> list[nn.Parameter]:
        """Parameters that training updates: all."""
        return list(self.parameters())

    def _spec_augment(self, features: Tensor, frames: Tensor) -> Tensor:
        """SpecAugment (Park et al., arXiv 1904.08779) with separate masks for each clip."""
        batch, size, mels = features.shape
        time = torch.arange(size, device=features.device)[None, :]
        mel = torch.arange(mels, device=features.device)[None, :]
        keep = torch.ones_like(features, dtype=torch.bool)
        for _ in range(self.options.masks):
            for axis, limit, length in (
                (time, self.options.time_mask, frames),
                (mel, self.options.mel_mask, mels),
            ):
                span = torch.rand(batch, 1, device=features.device) * limit
                start = torch.rand(batch, 1, device=features.device) * (
                    length if isinstance(length, int) else length[:, None]
                )
                masked = (axis >= start) & (axis < start + span)
                keep &= ~(masked[:, :, None] if axis is time else masked[:, None, :])
        return features * keep
