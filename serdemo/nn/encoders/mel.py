"""Untrained spectral features as encoders: log-mel bands and MFCCs."""

from __future__ import annotations

import torchaudio
from torch import Tensor, nn

from serdemo.audio.features import LogMel
from serdemo.nn.padding import length_mask

COEFFICIENTS = 40


class SpectralEncoder(nn.Module):
    """Spectral frames, 100 a second: 80 log-mel bands (`mel`) or 40 cepstral coefficients (`mfcc`)."""

    dct: Tensor | None

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.features = LogMel()
        dct = None
        if kind == "mfcc":
            dct = torchaudio.functional.create_dct(COEFFICIENTS, LogMel.MELS, norm="ortho")
        self.register_buffer("dct", dct, persistent=False)
        self.width = LogMel.MELS if dct is None else COEFFICIENTS

    def forward(self, wave: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        features, frames = self.features(wave, lengths)
        if self.dct is not None:
            features = features @ self.dct
        return features, length_mask(frames, features.shape[1])

    def trainable(self) -> list[nn.Parameter]:
        """Parameters that training updates: none."""
        return []
