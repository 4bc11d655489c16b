"""Functionals of a recording, one row of features: openSMILE's eGeMAPS, or statistics of MFCC."""

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
MIN_SAMPLES = SAMPLE_RATE // 4  # openSMILE has no features of a shorter sound

Row = NDArray[np.float64]


def default_functionals() -> tuple[str, Callable[[Samples], Row]]:
    """Name and function of the eGeMAPS functionals if openSMILE is installed, else of the MFCC ones."""
    if importlib.util.find_spec("opensmile") is None:
        return "MFCC functionals", MfccFunctionals()
    return "eGeMAPS functionals", EGeMAPS()


class MfccFunctionals:
    """840 features of samples (N,) at 16 kHz: mean, standard deviation and 5 percentiles over time of
    40 MFCC and their first and second derivatives."""

    def __init__(self) -> None:
        self.encoder = SpectralEncoder("mfcc")

    @torch.inference_mode()
    def __call__(self, samples: Samples) -> Row:
        wave = torch.from_numpy(samples)[None]
        frames, _ = self.encoder(wave, torch.tensor([len(samples)]))
        mfcc = frames[0].T
        delta = torchaudio.functional.compute_deltas(mfcc)
        acceleration = torchaudio.functional.compute_deltas(delta)
        values = torch.cat((mfcc, delta, acceleration)).double().numpy()
        percentiles = np.percentile(values, PERCENTILES, axis=1)
        return np.concatenate((values.mean(1), values.std(1), *percentiles))


class EGeMAPS:
    """The 88 eGeMAPS features (Eyben et al. 2016) of samples (N,) at 16 kHz, by openSMILE."""

    def __init__(self) -> None:
        import opensmile

        self.smile: Any = opensmile.Smile(
            feature_set=opensmile.FeatureSet.eGeMAPSv02,
            feature_level=opensmile.FeatureLevel.Functionals,
        )

    def __call__(self, samples: Samples) -> Row:
        padded = np.pad(samples, (0, max(0, MIN_SAMPLES - len(samples))))
        with warnings.catch_warnings(action="ignore"):  # of pandas, inside
            row = self.smile.process_signal(padded, SAMPLE_RATE).to_numpy()[0]
        return np.nan_to_num(row.astype(np.float64), posinf=0.0, neginf=0.0)
