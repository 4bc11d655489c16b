"""UAR on unseen speakers before and after few-shot adaptation to each of them, and the gain that the
adaptation clips promise."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from serdemo.audio import waveform
from serdemo.cli.options import (
    CHECKPOINT,
    JSON,
    PATH,
    ROOT,
    SPEAKERS,
    THREADS,
    corpus_option,
    number_option,
    print_json,
)
from serdemo.cli.views.console import progress as progress_bar
from serdemo.data import corpora
from serdemo.evaluation.scoring import select_test_clips
from serdemo.experiments.unseen import cross_validated_models, left_out_clips
from serdemo.inference.predictor import Predictor
from serdemo.metrics import classification
from serdemo.metrics.bootstrap import percentile_interval
from serdemo.runs.adaptation import classifier, features
from serdemo.runs.adaptation.features import ClipFeatures
from serdemo.schema.errors import SerdemoError
from serdemo.schema.settings import data_root
from serdemo.schema.types import Utterance

INTERVAL_DRAWS = 5000
MIN_GAIN = 0.05  # that must not be denied


@dataclass(frozen=True, slots=True)
class SpeakerResult:
    """Means over the draws for one speaker.

    `uar_before` and `uar` are those of the test clips with the original and the adapted classifier,
    `estimated_gain` that promised by the adaptation clips. `coverage` is the share of draws in whose
    95 % interval the gain on the test clips lies, `denied` that in which a gain of 5 points or more was
    called no help. `seconds` is the duration of an adaptation.
    """

    speaker: str
    clips: int
    uar_before: float
    uar: float
    estimated_gain: float
    coverage: float
    denied: float
    seconds: float


def measure(
    predictor: Predictor,
    utterances: Sequence[Utterance],
    *,
    shots: int = 5,
    draws: int = 20,
    max_clips: int = 30,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """Adapt the model to each speaker by `shots` clips of every emotion, and test it on the others.

    Each of `draws` takes other clips, at most half of an emotion's. Of an emotion and speaker no more
    than `max_clips` are used. `gain_ci95` is a bootstrap over
    speakers and the draws of each, `gain_p025_p975` are quantiles over draws of the speakers' mean gain.
    Seconds include feature extraction and cross-validation. `progress` receives the number of clips done.
    Raises SerdemoError when no speaker has enough clips.
    """
    by_speaker: dict[str, list[tuple[Utterance, int]]] = {}
    for clip in utterances:
        label = classification.class_of(clip.emotion, predictor.labels)
        if label is not None:
            labelled = (clip, predictor.labels.index(label))
            by_speaker.setdefault(clip.speaker_key, []).append(labelled)
    rng = np.random.default_rng(seed)
    n_done = 0
    speakers, figures = [], []
    for speaker, all_clips in sorted(by_speaker.items()):
        labelled_clips = _limited(all_clips, max_clips, rng)
        truth = np.array([index for _, index in labelled_clips])
        counts = np.unique(truth, return_counts=True)[1]
        if len(counts) < 2 or counts.min() < 2 * classifier.MIN_CLIPS:
            continue
        clip_features: list[ClipFeatures] = []
        extraction_s = []
        for clip, _ in labelled_clips:
            sound = waveform.decode(clip.path)
            began = time.perf_counter()
            clip_features += features.extract_features(predictor, [sound])
            extraction_s.append(time.perf_counter() - began)
            n_done += 1
            progress(n_done)
        draw_rng = np.random.default_rng(seed)
        rows = [
            _draw(predictor, clip_features, truth, extraction_s, shots, draw_rng)
            for _ in range(draws)
        ]
        figures.append(rows)
        speakers.append(SpeakerResult(speaker, len(truth), *np.mean(rows, axis=0).tolist()))
    if not speakers:
        raise SerdemoError(
            "No speaker here has four clips each of two emotions that the model knows, two to teach"
            " by and two to test on: give other speakers."
        )
    before, after, estimates, coverage, denied, seconds = np.moveaxis(
        np.array(figures), 2, 0
    )  # (speakers, draws) each
    gains = after - before
    return {
        "checkpoint": predictor.name,
        "shots": shots,
        "draws": draws,
        "uar_before": float(before.mean()),
        "uar": float(after.mean()),
        "gain": float(gains.mean()),
        "gain_ci95": list(interval(gains, seed)),
        "estimated_gain": float(estimates.mean()),
        "coverage": float(coverage.mean()),
        "denied": float(denied.mean()),
        "gain_p025_p975": [float(x) for x in np.quantile(gains.mean(axis=0), (0.025, 0.975))],
        "seconds": float(seconds.mean()),
        "most_seconds": float(seconds.max()),
        "speakers": [asdict(speaker) for speaker in speakers],
    }


def interval(gains: NDArray[np.float64], seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the mean of gains (speakers, draws), both resampled."""
    rng, (speakers, draws) = np.random.default_rng(seed), gains.shape
    speaker = rng.integers(speakers, size=(INTERVAL_DRAWS, speakers, 1))
    draw = rng.integers(draws, size=(INTERVAL_DRAWS, speakers, draws))
    return percentile_interval(gains[speaker, draw].mean(axis=(1, 2)))


def _draw(
    predictor: Predictor,
    clip_features: Sequence[ClipFeatures],
    truth: NDArray[np.intp],
    extraction_s: Sequence[float],
    shots: int,
    rng: np.random.Generator,
) -> tuple[float, float, float, float, float, float]:
    """The last six fields of a `SpeakerResult`, for one draw."""
    chosen: list[int] = []
    for label in np.unique(truth):
        shuffled = rng.permutation(np.flatnonzero(truth == label))
        chosen += shuffled[: min(shots, len(shuffled) // 2)].tolist()
    test = np.setdiff1d(np.arange(len(truth)), chosen)
    began = time.perf_counter()
    report = features.adapt(predictor, [clip_features[i] for i in chosen], truth[chosen].tolist())
    seconds = time.perf_counter() - began + sum(extraction_s[i] for i in chosen)
    before, after = (
        classifier.recall(
            np.stack([clip_features[i].probabilities(head) for i in test]), truth[test]
        )
        for head in (features.head_of(predictor), report.adapted.head)
    )
    promised, gain = report.adapted.gain, after - before
    covered = promised.low <= gain <= promised.high
    denied = gain >= MIN_GAIN and promised.is_no_help
    return before, after, promised.gain, float(covered), float(denied), seconds


def _limited(
    clips: Sequence[tuple[Utterance, int]], limit: int, rng: np.random.Generator
) -> list[tuple[Utterance, int]]:
    """At most `limit` clips of each class, drawn at random, in the order given."""
    truth = np.array([index for _, index in clips])
    chosen = [rng.permutation(np.flatnonzero(truth == label))[:limit] for label in np.unique(truth)]
    return [clips[row] for row in np.sort(np.concatenate(chosen))]


@click.command("personal")
@CHECKPOINT
@click.option(
    "--left-out",
    type=PATH,
    metavar="RUN",
    help="Every model of a `crossval --by one-corpus-out` instead, on the corpus that it left out.",
)
@ROOT
@corpus_option("aesdd,ravdess")
@SPEAKERS
@number_option("--shots", 5, 2, 1000, "Clips of each emotion to adapt by.")
@number_option("--draws", 20, 1, 1000, "Draws of these clips.")
@number_option(
    "--max-clips", 30, 4, 10000, "Clips of an emotion and speaker that are used at most."
)
@THREADS
@JSON
def command(
    checkpoint: Path | None,
    left_out: Path | None,
    root: Path | None,
    corpus: str,
    speakers: str,
    shots: int,
    draws: int,
    max_clips: int,
    threads: int,
    as_json: bool,
) -> None:
    """UAR of each unseen speaker's clips before and after few-shot speaker adaptation."""
    torch.set_num_threads(threads)
    if left_out is None:
        predictor = Predictor(checkpoint, device="cpu")
        clips = select_test_clips(
            corpora.load_many(corpus, data_root(root)), speakers, predictor.description
        )
        tests = [(predictor, clips)]
    else:
        tests = [
            (Predictor(model / "checkpoint", device="cpu"), tuple(left_out_clips(model)))
            for model in cross_validated_models(left_out)
        ]
    all_results = []
    for predictor, clips in tests:
        with (
            threadpool_limits(threads),
            progress_bar("Extracting", len(clips), hidden=as_json) as advance,
        ):
            try:
                results = measure(
                    predictor,
                    clips,
                    shots=shots,
                    draws=draws,
                    max_clips=max_clips,
                    progress=advance,
                )
            except SerdemoError as problem:
                if left_out is None:
                    raise
                click.echo(f"{clips[0].corpus}: {problem}", err=True)
                continue
        all_results.append({"corpora": sorted({u.corpus for u in clips}), **results})
        if not as_json:
            _print(all_results[-1], threads)
    if as_json:
        print_json(all_results if left_out else {**all_results[0], "threads": threads})
    elif all_results and left_out:
        gain, estimate = (
            100 * np.mean([results[key] for results in all_results])
            for key in ("gain", "estimated_gain")
        )
        click.echo(
            f"Mean of {len(all_results)} models: gain {gain:+.1f} points, {estimate:+.1f} estimated"
        )


def _print(results: dict[str, Any], threads: int) -> None:
    """Print a row for each speaker and the summary."""
    for row in results["speakers"]:
        click.echo(
            f"{row['speaker']:14} {row['clips']:4} clips: UAR {row['uar_before']:.1%} before,"
            f" {row['uar']:.1%} after; gain {100 * (row['uar'] - row['uar_before']):+.1f} points,"
            f" {100 * row['estimated_gain']:+.1f} estimated"
        )
    low, high = results["gain_ci95"]
    low_draw, high_draw = results["gain_p025_p975"]
    click.echo(
        f"{', '.join(results['corpora'])}: {len(results['speakers'])} speakers,"
        f" {results['shots']} clips of each emotion, {results['draws']} draws: UAR"
        f" {results['uar_before']:.1%} before, {results['uar']:.1%} after; gain"
        f" {100 * results['gain']:+.1f} points (95 % interval over speakers {100 * low:+.1f} to"
        f" {100 * high:+.1f}; 95 % of the draws {100 * low_draw:+.1f} to {100 * high_draw:+.1f}),"
        f" {100 * results['estimated_gain']:+.1f} estimated from the adaptation clips, whose intervals"
        f" hold the gain in {results['coverage']:.0%} of the draws and deny a gain of 5 points in"
        f" {results['denied']:.1%}; {results['seconds']:.1f} s for an adaptation"
        f" ({results['most_seconds']:.1f} at most) on {threads} threads"
    )
