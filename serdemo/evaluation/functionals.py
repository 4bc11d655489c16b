"""A recording as one row of numbers: openSMILE's eGeMAPS, or statistics of cepstral coefficients."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torchaudio
from numpy.typing import NDArray

from serdemo.audio.waveform import SAMPLE_RATE, Samples
from serdemo.nn.encoders.mel import SpectralEncoder

PERCENTILES = (5, 25, 50, 75, 95)
LEAST = SAMPLE_RATE // 4  # samples, below which openSMILE has nothing to say

Row = NDArray[np.float64]


def default_functionals() -> tuple[str, Callable[[Samples], Row]]:
    """The name and the function of eGeMAPS where openSMILE is installed, else those of MFCC."""
    if importlib.util.find_spec("opensmile") is None:
        return "MFCC functionals", Cepstral()
    return "eGeMAPS functionals", EGeMAPS()


class Cepstral:
    """840 numbers of samples (N,) at 16 kHz: of 40 MFCC, their first and their second derivative,
    each the mean, the standard deviation and 5 percentiles over time."""

    def __init__(self) -> None:
        self.encoder = SpectralEncoder("mfcc")

    @torch.inference_mode()
    def __call__(self, samples: Samples) -> Row:
        wave = torch.from_numpy(samples)[None]
        frames, _ = self.encoder(wave, torch.tensor([len(samples)]))
        found = frames[0].T
        first = torchaudio.functional.compute_deltas(found)
        second = torchaudio.functional.compute_deltas(first)
        values = torch.cat((found, first, second)).double().numpy()
        percentiles = np.percentile(values, PERCENTILES, axis=1)
        return np.concatenate((values.mean(1), values.std(1), *percentiles))


class EGeMAPS:
    """The 88 numbers of eGeMAPS (Eyben et al. 2016) of samples (N,) at 16 kHz, by openSMILE."""

    def __init__(self) -> None:
        import opensmile

        self.smile: Any = opensmile.Smile(
            feature_set=opensmile.FeatureSet.eGeMAPSv02,
            feature_level=opensmile.FeatureLevel.Functionals,
        )

    def __call__(self, samples: Samples) -> Row:
        padded = np.pad(samples, (0, max(0, LEAST - len(samples))))
        with warnings.catch_warnings(action="ignore"):  # of pandas, inside
            row = self.smile.process_signal(padded, SAMPLE_RATE).to_numpy()[0]
        return np.nan_to_num(row.astype(np.float64), posinf=0.0, neginf=0.0)
