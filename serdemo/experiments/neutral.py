"""UAR on unseen speakers with and without adaptation to their neutral speech."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from serdemo.audio import waveform
from serdemo.cli.options import (
    CHECKPOINT,
    JSON,
    ROOT,
    corpus_option,
    number_option,
    print_json,
)
from serdemo.data import corpora
from serdemo.evaluation.scoring import select_test_clips
from serdemo.inference.aggregation import aggregate
from serdemo.inference.predictor import Predictor
from serdemo.inference.speaker_adaptation import NEUTRAL, estimate_speaker_offset
from serdemo.metrics import classification
from serdemo.schema.errors import SerdemoError
from serdemo.schema.settings import data_root
from serdemo.schema.types import Utterance


class ScoredClip:
    """A clip with the embeddings of its windows, to be classified under any speaker offset."""

    def __init__(self, predictor: Predictor, utterance: Utterance) -> None:
        self.utterance, self.predictor = utterance, predictor
        self.clip = waveform.decode(utterance.path)
        self.truth = classification.class_of(utterance.emotion, predictor.labels)
        (self.output,) = predictor.score_clips([self.clip])

    def label(self, shift: NDArray[np.float32] | float) -> str:
        """Predicted label after `shift` (E,) is subtracted from every embedding."""
        return self.predictor.labels[int(self.probabilities(shift).argmax())]

    def probabilities(self, shift: NDArray[np.float32] | float) -> NDArray[np.float64]:
        """Probabilities (C,) after `shift` (E,) is subtracted from every embedding."""
        rows = self.predictor.classify(self.output.window_embeddings - np.float32(shift))
        return aggregate(self.output.windows, rows)


def measure(
    predictor: Predictor,
    utterances: Sequence[Utterance],
    *,
    draws: int = 20,
    seconds: float = 6.0,
) -> dict[str, dict[str, Any]]:
    """UAR (fractions) with and without adaptation to neutral speech, by corpus.

    In each of `draws`, random neutral clips of a speaker that last `seconds` together calibrate, and
    all other clips of the speaker are scored both ways. A corpus whose speakers have too little
    neutral speech has a `note` instead.
    """
    results: dict[str, dict[str, Any]] = {}
    for corpus in sorted({u.corpus for u in utterances}):
        clips = [ScoredClip(predictor, u) for u in utterances if u.corpus == corpus]
        clips = [clip for clip in clips if clip.truth]
        rng = np.random.default_rng(0)
        pairs = [_draw(predictor, clips, seconds, rng) for _ in range(draws)]
        uars = np.array([pair for pair in pairs if pair is not None])
        if not len(uars):
            results[corpus] = {"note": "too little neutral speech to calibrate by"}
            continue
        plain, calibrated = uars.T
        gain = calibrated - plain
        results[corpus] = {
            "draws": len(uars),
            "uar": float(plain.mean()),
            "uar_calibrated": float(calibrated.mean()),
            "gain": float(gain.mean()),
            "gain_p05_p95": [float(x) for x in np.quantile(gain, (0.05, 0.95))],
        }
    return results


def _draw(
    predictor: Predictor,
    clips: Sequence[ScoredClip],
    seconds: float,
    rng: np.random.Generator,
) -> tuple[float, float] | None:
    """UAR without and with adaptation over the speakers with enough neutral speech, if any."""
    rows: list[tuple[str, str, str]] = []  # truth, label without, label with
    for speaker in sorted({clip.utterance.speaker for clip in clips}):
        own = [clip for clip in clips if clip.utterance.speaker == speaker]
        used, shift = calibrate(predictor, own, seconds, rng)
        if shift is not None:
            rows += [
                (clip.truth or "", clip.label(0.0), clip.label(shift))
                for clip in own
                if clip not in used
            ]
    if not rows:
        return None
    truth, plain, calibrated = zip(*rows, strict=True)
    without, after = (
        classification.uar(classification.confusion(truth, predicted, predictor.labels))
        for predicted in (plain, calibrated)
    )
    return without, after


def calibrate(
    predictor: Predictor,
    clips: Sequence[ScoredClip],
    seconds: float,
    rng: np.random.Generator,
) -> tuple[list[ScoredClip], NDArray[np.float32] | None]:
    """Estimate one speaker's offset (E,) from random neutral clips that last `seconds` together.

    Returns the clips used and the offset; no clip and None where there is too little neutral speech.
    """
    neutral = [clip for clip in clips if clip.utterance.emotion in NEUTRAL]
    used: list[ScoredClip] = []
    for index in rng.permutation(len(neutral)):
        if sum(clip.clip.duration_s for clip in used) < seconds:
            used.append(neutral[index])
    if not used or sum(clip.clip.duration_s for clip in used) < seconds:
        return [], None
    samples = np.concatenate([clip.clip.samples for clip in used])
    speech = replace(used[0].clip, samples=samples)
    try:
        found = estimate_speaker_offset(predictor, speech)
    except SerdemoError:
        return [], None
    return used, found.adapter.offset


@click.command("neutral")
@CHECKPOINT
@ROOT
@corpus_option("ravdess,emodb,aesdd")
@number_option("--draws", 20, 1, 1000, "Draws of neutral clips.")
@number_option("--seconds", 6.0, 1, 60, "Neutral speech of each speaker.")
@JSON
def command(
    checkpoint: Path | None,
    root: Path | None,
    corpus: str,
    draws: int,
    seconds: float,
    as_json: bool,
) -> None:
    """UAR of unseen speakers with and without adaptation to their neutral speech."""
    predictor = Predictor(checkpoint)
    clips = select_test_clips(
        corpora.load_many(corpus, data_root(root)), "unseen", predictor.description
    )
    results = measure(predictor, clips, draws=draws, seconds=seconds)
    if as_json:
        print_json(results)
        return
    for name, row in results.items():
        if "note" in row:
            click.echo(f"{name}: {row['note']}")
            continue
        low, high = row["gain_p05_p95"]
        click.echo(
            f"{name}: UAR {row['uar']:.1%} without, {row['uar_calibrated']:.1%} with; gain"
            f" {100 * row['gain']:+.1f} points (5 to 95 % of draws: {100 * low:+.1f} to"
            f" {100 * high:+.1f})"
        )
