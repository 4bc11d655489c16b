"""Does teaching a model one's voice pay? Recall before and after, on speakers it never heard."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from serdemo.audio import waveform
from serdemo.cli.options import CHECKPOINT, JSON, ROOT, checkpoint_folder, print_json
from serdemo.inference.predictor import Predictor
from serdemo.metrics import classification
from serdemo.metrics.bootstrap import percentile_interval
from serdemo.runs.adaptation import classifier as personal
from serdemo.runs.adaptation import features
from serdemo.runs.adaptation.classifier import Head
from serdemo.runs.adaptation.features import ClipFeatures
from serdemo.schema.errors import SerdemoError
from serdemo.schema.settings import data_root
from serdemo.schema.types import Utterance

INTERVAL_DRAWS = 5000


@dataclass(frozen=True, slots=True)
class Voice:
    """One speaker, all as means over the draws: UAR of the clips not taught by, with the model as
    it was and as it was taught; what leave-one-out expected of both; seconds of a teaching."""

    speaker: str
    clips: int
    uar_before: float
    uar: float
    left_out_uar_before: float
    left_out_uar: float
    seconds: float


def measure(
    predictor: Predictor,
    utterances: Sequence[Utterance],
    *,
    shots: int = 5,
    draws: int = 20,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """Teach the model each speaker's voice by `shots` clips of every emotion, test it on the rest.

    In each of `draws` other clips teach; of an emotion with fewer than twice as many clips, half do.
    `gain_ci95` is a bootstrap over speakers, and over the draws of each; `gain_p025_p975` is what the
    speakers' mean gain of 95 % of the draws lies between. Seconds are those it takes to hear the
    clips and to teach, leave-one-out included. `progress` is told the number of clips heard. Raises
    SerdemoError when no speaker has clips enough.
    """
    speakers: dict[str, list[Utterance]] = {}
    for one in utterances:
        if classification.class_of(one.emotion, predictor.labels) is not None:
            speakers.setdefault(one.speaker_key, []).append(one)
    head, heard = features.head_of(predictor), 0
    voices, runs = [], []
    for speaker, clips in sorted(speakers.items()):
        named = [classification.class_of(u.emotion, predictor.labels) or "" for u in clips]
        truth = np.array([predictor.labels.index(name) for name in named])
        if (
            len(set(truth)) < 2
            or np.bincount(truth)[np.unique(truth)].min() < 2 * personal.MIN_CLIPS
        ):
            continue
        voiced: list[ClipFeatures] = []
        spent = []
        for clip in clips:
            sound = waveform.decode(clip.path)
            began = time.perf_counter()
            voiced += features.extract_features(predictor, [sound])
            spent.append(time.perf_counter() - began)
            heard += 1
            progress(heard)
        rng = np.random.default_rng(seed)
        found = [_draw(predictor, head, voiced, truth, spent, shots, rng) for _ in range(draws)]
        runs.append(np.array(found))
        voices.append(Voice(speaker, len(clips), *(float(x) for x in runs[-1].mean(axis=0))))
    if not voices:
        raise SerdemoError(
            "No speaker here has four clips each of two emotions that the model knows, two to teach"
            " by and two to test on: give other speakers."
        )
    before, after = (np.stack([run[:, column] for run in runs]) for column in (0, 1))
    gains = after - before
    return {
        "checkpoint": predictor.name,
        "shots": shots,
        "draws": draws,
        "uar_before": float(before.mean()),
        "uar": float(after.mean()),
        "gain": float(gains.mean()),
        "gain_ci95": list(interval(gains, seed)),
        "gain_p025_p975": [float(x) for x in np.quantile(gains.mean(axis=0), (0.025, 0.975))],
        "seconds": float(np.mean([run[:, 4].mean() for run in runs])),
        "most_seconds": float(max(run[:, 4].max() for run in runs)),
        "speakers": [asdict(one) for one in voices],
    }


def interval(gains: NDArray[np.float64], seed: int = 0) -> tuple[float, float]:
    """The 95 % bootstrap interval of the mean of gains (speakers, draws): speakers are drawn with
    replacement, and of each of them draws."""
    rng, (speakers, draws) = np.random.default_rng(seed), gains.shape
    who = rng.integers(speakers, size=(INTERVAL_DRAWS, speakers, 1))
    which = rng.integers(draws, size=(INTERVAL_DRAWS, speakers, draws))
    return percentile_interval(gains[who, which].mean(axis=(1, 2)))


def _draw(
    predictor: Predictor,
    head: Head,
    voiced: Sequence[ClipFeatures],
    truth: NDArray[np.intp],
    spent: Sequence[float],
    shots: int,
    rng: np.random.Generator,
) -> tuple[float, float, float, float, float]:
    """The figures of a `Voice`, of one draw."""
    chosen: list[int] = []
    for one in np.unique(truth):
        places = rng.permutation(np.flatnonzero(truth == one))
        chosen += places[: min(shots, len(places) // 2)].tolist()
    rest = np.setdiff1d(np.arange(len(truth)), chosen)
    began = time.perf_counter()
    lesson = features.adapt(predictor, [voiced[i] for i in chosen], truth[chosen].tolist())
    seconds = time.perf_counter() - began + sum(spent[i] for i in chosen)
    before, after = (
        personal.recall(np.stack([voiced[i].answer(one) for i in rest]), truth[rest])
        for one in (head, lesson.taught.head)
    )
    return before, after, *lesson.recalls, seconds


@click.command("personal")
@CHECKPOINT
@ROOT
@click.option(
    "--corpus", default="aesdd,ravdess", show_default=True, help="Names, folders or CSV files."
)
@click.option(
    "--speakers",
    default="unseen",
    show_default=True,
    help="unseen, all, or ids with commas between.",
)
@click.option(
    "--shots",
    default=5,
    show_default=True,
    type=click.IntRange(2, 1000),
    help="Clips of an emotion to teach by.",
)
@click.option(
    "--draws", default=20, show_default=True, type=click.IntRange(1, 1000), help="Draws of clips."
)
@click.option(
    "--threads", default=2, show_default=True, type=click.IntRange(1, 256), help="CPU threads."
)
@JSON
def command(
    checkpoint: Path | None,
    root: Path | None,
    corpus: str,
    speakers: str,
    shots: int,
    draws: int,
    threads: int,
    as_json: bool,
) -> None:
    """UAR of each unseen speaker's clips, before and after a few of them have taught the model."""
    import torch
    from threadpoolctl import threadpool_limits

    from serdemo.cli.views.console import progress
    from serdemo.data import corpora
    from serdemo.evaluation.scoring import select_test_clips

    pass
    from serdemo.inference.predictor import Predictor

    torch.set_num_threads(threads)
    predictor = Predictor(checkpoint and checkpoint_folder(checkpoint), device="cpu")
    clips = select_test_clips(
        corpora.load_many(corpus, data_root(root)), speakers, predictor.description
    )
    with (
        threadpool_limits(threads),
        progress("Hearing", len(clips), hidden=as_json) as advance,
    ):
        found = measure(predictor, clips, shots=shots, draws=draws, progress=advance)
    found["threads"] = threads
    if as_json:
        print_json(found)
        return
    for row in found["speakers"]:
        click.echo(
            f"{row['speaker']:14} {row['clips']:4} clips: UAR {row['uar_before']:.1%} before,"
            f" {row['uar']:.1%} after; left out in turn {row['left_out_uar_before']:.1%} and"
            f" {row['left_out_uar']:.1%}"
        )
    low, high = found["gain_ci95"]
    worst, best = found["gain_p025_p975"]
    click.echo(
        f"{len(found['speakers'])} speakers, {shots} clips of each emotion, {draws} draws: UAR"
        f" {found['uar_before']:.1%} before, {found['uar']:.1%} after; gain"
        f" {100 * found['gain']:+.1f} points (95 % interval over speakers {100 * low:+.1f} to"
        f" {100 * high:+.1f}; 95 % of the draws {100 * worst:+.1f} to {100 * best:+.1f});"
        f" {found['seconds']:.1f} s for a teaching ({found['most_seconds']:.1f} at most) on"
        f" {threads} threads"
    )
