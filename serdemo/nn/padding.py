"""Padded batches: masks of valid positions, clips cut to one length, normalised waveforms."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def length_mask(lengths: Tensor, size: int) -> Tensor:
    """Mask (B, `size`) that is True at the first `lengths` (B,) positions of each row."""
    return torch.arange(size, device=lengths.device)[None, :] < lengths[:, None]


def normalise(wave: Tensor, lengths: Tensor) -> Tensor:
    """Scale clips `wave` (B, T) to mean 0 and variance 1 over their `lengths` (B,); padding is 0."""
    mask = length_mask(lengths, wave.shape[1])
    count = lengths.clamp_min(1)[:, None]
    centred = (wave - (wave * mask).sum(1, keepdim=True) / count) * mask
    variance = centred.square().sum(1, keepdim=True) / count
    return centred / (variance + 1e-7).sqrt()


def pad_or_trim(wave: Tensor, lengths: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Cut or zero-pad clips `wave` (B, T) of `lengths` (B,) to `size` samples.

    Returns (B, `size`) samples and their new lengths (B,), all `size`: padding counts as sound.
    """
    wave = F.pad(wave[:, :size], (0, max(0, size - wave.shape[1])))
    return wave * length_mask(lengths, size), torch.full_like(lengths, size)
