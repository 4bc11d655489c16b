"""Features that nobody trained, behind the contract of an encoder: log-mel, and their cepstrum."""

from __future__ import annotations

import torchaudio
from torch import Tensor, nn

from serdemo.audio.features import LogMel
from serdemo.nn.encoders.conformer import length_mask

COEFFICIENTS = 40


class SpectralEncoder(nn.Module):
    """100 frames a second: of kind `mel` 80 log-mel bands, of kind `mfcc` 40 cepstral coefficients.

    `forward(wave (B, T) float32 at 16 kHz, lengths (B,) samples)` returns frames
    (B, F, width) and their mask (B, F), True where a frame belongs to the clip.
    """

    cosines: Tensor | None

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.features = LogMel()
        cosines = None
        if kind == "mfcc":
            cosines = torchaudio.functional.create_dct(COEFFICIENTS, LogMel.MELS, norm="ortho")
        self.register_buffer("cosines", cosines, persistent=False)
        self.width = LogMel.MELS if cosines is None else COEFFICIENTS

    def forward(self, wave: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        features, frames = self.features(wave, lengths)
        if self.cosines is not None:
            features = features @ self.cosines
        return features, length_mask(frames, features.shape[1])

    def trainable(self) -> list[nn.Parameter]:
        """The parameters that training may change: none."""
        return []
