"""The encoder that ships: a small conformer (Gulati et al., arXiv 2005.08100) on log-mel frames.

Three strided 3 x 3 convolutions bring 100 frames a second down to 12.5 before anything costly
happens, so nearly all the work is in matrix products over few frames. There is no positional
table: the depthwise convolutions carry local order, and clips of any length are alike to it.
Only layer norms are used, never batch norms, so a clip's result cannot depend on its batch mates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from serdemo.audio.features import LogMel
from serdemo.schema.errors import UsageError
from serdemo.schema.options import Options, option


@dataclass(frozen=True)
class ConformerOptions(Options):
    """Size and regularisation of the compact encoder."""

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


def length_mask(lengths: Tensor, size: int) -> Tensor:
    """(B,) lengths -> (B, size) bool, True where a frame is valid."""
    return torch.arange(size, device=lengths.device)[None, :] < lengths[:, None]


class FrontEnd(nn.Module):
    """(B, F, mels) features -> (B, F / 8, width) frames; padding is zeroed before every step."""

    CHANNELS = (1, 32, 64, 96)

    def __init__(self, width: int) -> None:
        super().__init__()
        convolutions = [nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(self.CHANNELS)]
        self.convolutions = nn.ModuleList(convolutions)
        self.project = nn.Linear(self.CHANNELS[-1] * (LogMel.MELS // 8), width)
        self.norm = nn.LayerNorm(width)
        for convolution in convolutions:
            # With torch's own start the signal fades to a tenth and the biases drown it.
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        x = features[:, None]
        for convolution in self.convolutions:
            x = F.silu(convolution(x))
            lengths = (lengths + 1) // 2
            x = x * length_mask(lengths, x.shape[2])[:, None, :, None]
        return self.norm(self.project(x.transpose(1, 2).flatten(2))), lengths


class ClipDropout(nn.Module):
    """Dropout of whole channels for a whole clip, (B, F, D) -> (B, F, D).

    One draw per clip and channel in place of one per number: neighbouring frames are so alike
    that a channel hidden in one frame is known from the next, and on a CPU the random numbers
    of ordinary dropout took two fifths of a training step.
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
    """Norm, widen, SiLU, narrow: (B, F, D) -> (B, F, D)."""

    def __init__(self, width: int, expansion: int, dropout: float) -> None:
        super().__init__(
            nn.LayerNorm(width),
            nn.Linear(width, width * expansion),
            nn.SiLU(),
            ClipDropout(dropout),
            nn.Linear(width * expansion, width),
            ClipDropout(dropout),
        )


class Attention(nn.Module):
    """Multi-head self-attention over a clip's own frames: (B, F, D), (B, F) -> (B, F, D)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.dropout = ClipDropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, frames, width = x.shape
        qkv = self.qkv(self.norm(x)).view(batch, frames, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        # Written out: for so few frames the fused kernel's backward pass takes twice as long.
        score = (q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])).float()
        weight = score.masked_fill(~mask[:, None, None, :], float("-inf")).softmax(dim=3)
        mixed = weight.to(v.dtype) @ v
        return self.dropout(self.out(mixed.transpose(1, 2).reshape(batch, frames, width)))


class Convolution(nn.Module):
    """The conformer's convolution: gate, depthwise over time, SiLU: (B, F, D) -> (B, F, D)."""

    def __init__(self, width: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.gate = nn.Linear(width, 2 * width)
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.after = nn.LayerNorm(width)
        self.out = nn.Linear(width, width)
        self.dropout = ClipDropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = F.glu(self.gate(self.norm(x)), dim=-1) * mask[:, :, None]
        x = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        return self.dropout(self.out(F.silu(self.after(x))))


class Block(nn.Module):
    """A conformer block: half a feed-forward, attention, convolution, half a feed-forward."""

    def __init__(self, options: ConformerOptions) -> None:
        super().__init__()
        width, dropout = options.width, options.dropout
        self.before = FeedForward(width, options.expansion, dropout)
        self.attention = Attention(width, options.heads, dropout)
        self.convolution = Convolution(width, options.kernel, dropout)
        self.behind = FeedForward(width, options.expansion, dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + 0.5 * self.before(x)
        x = x + self.attention(x, mask)
        x = x + self.convolution(x, mask)
        x = x + 0.5 * self.behind(x)
        return self.norm(x)


class ConformerEncoder(nn.Module):
    """Waveform in, frames out, 12.5 a second.

    `forward(wave (B, T) float32 at 16 kHz, lengths (B,) samples)` returns frames
    (B, F, width) and their mask (B, F), True where a frame belongs to the clip.
    """

    def __init__(self, options: ConformerOptions) -> None:
        super().__init__()
        self.options = options
        self.width = options.width
        self.features = LogMel()
        self.front = FrontEnd(options.width)
        self.blocks = nn.ModuleList(Block(options) for _ in range(options.layers))

    def forward(self, wave: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        features, frames = self.features(wave, lengths)
        if self.training:
            features = self._spec_augment(features, frames)
        x, frames = self.front(features, frames)
        mask = length_mask(frames, x.shape[1])
        for block in self.blocks:
            x = block(x, mask)
        return x, mask

    def trainable(self) -> list[nn.Parameter]:
        """The parameters that training may change: all."""
        return list(self.parameters())

    def _spec_augment(self, features: Tensor, frames: Tensor) -> Tensor:
        """SpecAugment (Park et al., arXiv 1904.08779), each clip masked on its own."""
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
                hidden = (axis >= start) & (axis < start + span)
                keep &= ~(hidden[:, :, None] if axis is time else hidden[:, None, :])
        return features * keep
