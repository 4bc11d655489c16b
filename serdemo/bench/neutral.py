"""Does calibration to a speaker's neutral voice pay? Recall with and without, on unseen speakers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serdemo import audio, metrics
from serdemo.audio import SAMPLE_RATE, Clip, from_array
from serdemo.neutral import NEUTRAL, STRENGTH, neutral_voice
from serdemo.predict import Predictor
from serdemo.schema import SerdemoError, Utterance
from serdemo.tally import Tally


class HeardClip:
    """A clip with the embeddings of its windows, to be answered under any shift."""

    def __init__(self, predictor: Predictor, utterance: Utterance) -> None:
        self.utterance, self.predictor = utterance, predictor
        self.clip = audio.decode(utterance.path)
        self.truth = metrics.class_of(utterance.emotion, predictor.labels)
        self.windows = predictor.windows(self.clip)
        self.embeddings = predictor.embeddings([window.wave for window in self.windows])

    def answer(self, shift: np.ndarray | float) -> str:
        """The label when `shift` (E,) is taken away from every embedding."""
        return self.predictor.labels[int(self.probabilities(shift).argmax())]

    def probabilities(self, shift: np.ndarray | float) -> NDArray[np.float64]:
        """The probabilities (C,) when `shift` (E,) is taken away from every embedding."""
        rows = self.predictor.classify(self.embeddings - np.float32(shift))
        tally = Tally(len(self.predictor.labels))
        for window, row in zip(self.windows, rows, strict=True):
            tally.add(window, row)
        assert tally.answer is not None  # a clip has a window
        return tally.answer


def measure(
    predictor: Predictor,
    utterances: Sequence[Utterance],
    *,
    draws: int = 20,
    seconds: float = 6.0,
    strength: float = STRENGTH,
) -> dict[str, dict[str, Any]]:
    """For each corpus, UAR (fractions) with and without calibration of every speaker.

    In each of `draws` a speaker's neutral clips are put together at random until they last
    `seconds`; they calibrate, and all of this speaker's other clips are scored both ways. A corpus
    whose speakers have too little neutral speech says so.
    """
    found: dict[str, dict[str, Any]] = {}
    for corpus in sorted({u.corpus for u in utterances}):
        clips = [HeardClip(predictor, u) for u in utterances if u.corpus == corpus]
        clips = [one for one in clips if one.truth]
        rng = np.random.default_rng(0)
        pairs = [_draw(predictor, clips, seconds, strength, rng) for _ in range(draws)]
        kept = [pair for pair in pairs if pair is not None]
        if not kept:
            found[corpus] = {"note": "too little neutral speech to calibrate by"}
            continue
        without, calibrated = np.array(kept).T
        gain = calibrated - without
        found[corpus] = {
            "draws": len(kept),
            "uar": float(without.mean()),
            "uar_calibrated": float(calibrated.mean()),
            "gain": float(gain.mean()),
            "gain_p05_p95": [float(x) for x in np.quantile(gain, (0.05, 0.95))],
        }
    return found


def _draw(
    predictor: Predictor,
    clips: Sequence[HeardClip],
    seconds: float,
    strength: float,
    rng: np.random.Generator,
) -> tuple[float, float] | None:
    """UAR without and with, over the speakers with enough neutral speech; None without any."""
    truth: list[str] = []
    plain: list[str] = []
    shifted: list[str] = []
    for speaker in sorted({one.utterance.speaker for one in clips}):
        own = [one for one in clips if one.utterance.speaker == speaker]
        taken, shift = calibrate(predictor, own, seconds, strength, rng)
        if shift is None:
            continue
        for one in own:
            if one not in taken:
                truth.append(one.truth or "")
                plain.append(one.answer(0.0))
                shifted.append(one.answer(shift))
    if not truth:
        return None
    without, calibrated = (
        metrics.uar(metrics.confusion(truth, said, predictor.labels)) for said in (plain, shifted)
    )
    return without, calibrated


def calibrate(
    predictor: Predictor,
    own: Sequence[HeardClip],
    seconds: float,
    strength: float,
    rng: np.random.Generator,
) -> tuple[list[HeardClip], NDArray[np.float32] | None]:
    """A speaker's neutral clips drawn at random until they last `seconds`, and the shift (E,) that
    they give; no clip and None where there is too little neutral speech."""
    neutral = [one for one in own if one.utterance.emotion in NEUTRAL]
    taken: list[HeardClip] = []
    for place in rng.permutation(len(neutral)):
        if sum(one.clip.duration_s for one in taken) < seconds:
            taken.append(neutral[place])
    if not taken or sum(one.clip.duration_s for one in taken) < seconds:
        return [], None
    try:
        voice = neutral_voice(predictor, _joined([one.clip for one in taken]), strength)
    except SerdemoError:
        return [], None
    return taken, voice.shift


def _joined(clips: Sequence[Clip]) -> Clip:
    return from_array(np.concatenate([one.samples for one in clips]), SAMPLE_RATE)
