"""Does calibration to a speaker's neutral voice pay? Recall with and without, on unseen speakers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from serdemo.audio import waveform
from serdemo.audio.waveform import SAMPLE_RATE, Clip, from_array
from serdemo.cli.options import CHECKPOINT, JSON, ROOT, checkpoint_folder, print_json
from serdemo.inference.aggregation import aggregate
from serdemo.inference.predictor import Predictor
from serdemo.inference.speaker_normalization import NEUTRAL, STRENGTH, estimate_speaker_offset
from serdemo.metrics import classification
from serdemo.schema.errors import SerdemoError
from serdemo.schema.settings import data_root
from serdemo.schema.types import Utterance


class HeardClip:
    """A clip with the embeddings of its windows, to be answered under any shift."""

    def __init__(self, predictor: Predictor, utterance: Utterance) -> None:
        self.utterance, self.predictor = utterance, predictor
        self.clip = waveform.decode(utterance.path)
        self.truth = classification.class_of(utterance.emotion, predictor.labels)
        (self.output,) = predictor.score_clips([self.clip])

    def answer(self, shift: np.ndarray | float) -> str:
        """The label when `shift` (E,) is taken away from every embedding."""
        return self.predictor.labels[int(self.probabilities(shift).argmax())]

    def probabilities(self, shift: np.ndarray | float) -> NDArray[np.float64]:
        """The probabilities (C,) when `shift` (E,) is taken away from every embedding."""
        rows = self.predictor.classify(self.output.window_embeddings - np.float32(shift))
        return aggregate(self.output.windows, rows)


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
        classification.uar(classification.confusion(truth, said, predictor.labels))
        for said in (plain, shifted)
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
        voice = estimate_speaker_offset(predictor, _joined([one.clip for one in taken]), strength)
    except SerdemoError:
        return [], None
    return taken, voice.offset


def _joined(clips: Sequence[Clip]) -> Clip:
    return from_array(np.concatenate([one.samples for one in clips]), SAMPLE_RATE)


@click.command("neutral")
@CHECKPOINT
@ROOT
@click.option(
    "--corpus",
    default="ravdess,emodb,aesdd",
    show_default=True,
    help="Names, folders or CSV files.",
)
@click.option(
    "--draws", default=20, show_default=True, type=click.IntRange(1, 1000), help="Draws of speech."
)
@click.option(
    "--seconds",
    default=6.0,
    show_default=True,
    type=click.FloatRange(1, 60),
    help="Neutral speech of each speaker.",
)
@click.option(
    "--strength",
    type=click.FloatRange(0, 1),
    help="How much of the offset is taken away [default: as the page does].",
)
@JSON
def command(
    checkpoint: Path | None,
    root: Path | None,
    corpus: str,
    draws: int,
    seconds: float,
    strength: float | None,
    as_json: bool,
) -> None:
    """UAR with and without calibration to each unseen speaker's neutral voice."""
    from serdemo.data import corpora
    from serdemo.evaluation.scoring import select_test_clips
    from serdemo.inference.predictor import Predictor
    from serdemo.inference.speaker_normalization import STRENGTH

    predictor = Predictor(checkpoint and checkpoint_folder(checkpoint))
    unseen = select_test_clips(
        corpora.load_many(corpus, data_root(root)), "unseen", predictor.description
    )
    share = STRENGTH if strength is None else strength
    found = measure(predictor, unseen, draws=draws, seconds=seconds, strength=share)
    if as_json:
        print_json(found)
        return
    for name, row in found.items():
        if "note" in row:
            click.echo(f"{name}: {row['note']}")
            continue
        low, high = row["gain_p05_p95"]
        click.echo(
            f"{name}: UAR {row['uar']:.1%} without, {row['uar_calibrated']:.1%} with; gain"
            f" {100 * row['gain']:+.1f} points (5 to 95 % of draws: {100 * low:+.1f} to"
            f" {100 * high:+.1f})"
        )
