"""Leave-one-corpus-out runs beside each other, with and without adaptation to neutral speech."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np

from serdemo.cli.options import JSON, PATH, print_json
from serdemo.evaluation.predictions import PredictionSet, concat
from serdemo.experiments.neutral import ScoredClip, calibrate
from serdemo.experiments.paired import UarDifference, uar_difference
from serdemo.inference.predictor import Predictor
from serdemo.inference.speaker_adaptation import NEUTRAL
from serdemo.metrics.bootstrap import Bounds, percentile_interval
from serdemo.runs.crossval import PREDICTIONS, PROTOCOL
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import read_json, write_json
from serdemo.schema.types import Utterance

CALIBRATED = "answers-neutral.json"
SECONDS = 6.0  # of neutral speech of each speaker


@dataclass(frozen=True, slots=True)
class Row:
    """A run, with or without adaptation to neutral speech.

    `uar` are fractions by left-out corpus and `mean` is their mean; `difference` is the mean less that
    of the first run on the clips that both have predicted, and `ci95` its interval.
    """

    run: str
    neutral: bool
    seeds: int
    uar: dict[str, float]
    mean: float
    difference: float
    ci95: Bounds

    def to_json(self) -> dict[str, object]:
        """A plain dictionary, ready for JSON."""
        return asdict(self)


def measure(
    runs: Sequence[Path],
    *,
    neutral: bool = False,
    progress: Callable[[str], None] = lambda title: None,
) -> list[Row]:
    """Compare every run with the first; `neutral` adds a row for each run with its models adapted
    to each speaker by `SECONDS` of neutral speech.

    Calibrated predictions are saved beside the models. Raises UsageError for a folder that is no such
    run, SerdemoError for one that is not finished or has other corpora.
    """
    predictions = [
        _by_seed(run, [_read_predictions(model) for model in cross_validated_models(run)])
        for run in runs
    ]
    base = predictions[0]
    rows = [_row(run, False, base, own) for run, own in zip(runs, predictions, strict=True)]
    for run in runs if neutral else ():
        calibrated = [
            _calibrated_predictions(model, progress) for model in cross_validated_models(run)
        ]
        rows.append(_row(run, True, base, _by_seed(run, calibrated)))
    return rows


def cross_validated_models(run: Path) -> list[Path]:
    """Folders of a run's models, one for each corpus and seed.

    Raises UsageError for a folder that is no such run, SerdemoError for one that is not finished.
    """
    if not (run / PROTOCOL).exists():
        raise UsageError(f"{run} holds no cross-validation.")
    protocol = read_json(run / PROTOCOL)
    if not isinstance(protocol, dict) or protocol.get("by") != "one-corpus-out":
        raise UsageError(f"{run} was not made with --by one-corpus-out.")
    models = sorted(run.glob("*/seed-*"))
    if not models or not all((model / PREDICTIONS).exists() for model in models):
        raise SerdemoError(f"Not all models of {run} are finished; go on with --resume.")
    return models


def left_out_clips(model: Path) -> list[Utterance]:
    """The clips that a model of `cross_validated_models` was tested on."""
    plain = _read_predictions(model)
    return [
        Utterance(Path(file), corpus, key.removeprefix(f"{corpus}/"), truth, truth)
        for file, corpus, key, truth in zip(
            plain.files, plain.corpora, plain.speakers, plain.truth, strict=True
        )
    ]


def _read_predictions(model: Path) -> PredictionSet:
    return PredictionSet.from_json(read_json(model / PREDICTIONS))


def _by_seed(run: Path, predictions: Sequence[PredictionSet]) -> list[PredictionSet]:
    """Predictions of each seed's models, for all corpora together."""
    seeds = [model.name for model in cross_validated_models(run)]
    return [
        concat([part for part, name in zip(predictions, seeds, strict=True) if name == seed])
        for seed in sorted(set(seeds))
    ]


def _row(
    run: Path, neutral: bool, base: list[PredictionSet], predictions: list[PredictionSet]
) -> Row:
    differences: dict[str, UarDifference] = {}
    for corpus in sorted(set(predictions[0].corpora)):
        difference = uar_difference(corpus, base, predictions)
        if difference is None:
            raise SerdemoError(f"{run} and the first run have no clip of {corpus} in common.")
        differences[corpus] = difference
    missing = {corpus for seed in base for corpus in seed.corpora} - differences.keys()
    if missing:
        raise SerdemoError(f"{run} has not left out {', '.join(sorted(missing))}.")
    uar = {corpus: float(np.mean(row.uar_other)) for corpus, row in differences.items()}
    return Row(
        run=run.name,
        neutral=neutral,
        seeds=len(predictions),
        uar=uar,
        mean=float(np.mean(list(uar.values()))),
        difference=float(np.mean([row.difference for row in differences.values()])),
        ci95=percentile_interval(np.mean([row.draws for row in differences.values()], axis=0)),
    )


def _calibrated_predictions(model: Path, progress: Callable[[str], None]) -> PredictionSet:
    """A model's predictions after adaptation, read from disk where they are saved.

    The neutral clips used for calibration are left out. Speakers with too few keep their predictions.
    """
    path = model / CALIBRATED
    settings = {"seconds": SECONDS, "method": "speaker prior"}
    if path.exists():
        saved = read_json(path)
        if isinstance(saved, dict) and saved.get("settings") == settings:
            return PredictionSet.from_json(saved.get("answers"))
    plain = _read_predictions(model)
    progress(f"{model.parent.parent.name}: {model.parent.name}, {model.name}")
    predictor = Predictor(model / "checkpoint")
    clips = left_out_clips(model)
    rows = dict(zip(plain.files, plain.probabilities, strict=True))
    rng = np.random.default_rng(0)
    for speaker in sorted({clip.speaker_key for clip in clips if clip.emotion in NEUTRAL}):
        own = [ScoredClip(predictor, clip) for clip in clips if clip.speaker_key == speaker]
        used, shift = calibrate(predictor, own, SECONDS, rng)
        if shift is None:
            continue
        for clip in own:
            file = clip.utterance.path.as_posix()
            if clip in used:
                del rows[file]
            else:
                rows[file] = tuple(map(float, clip.probabilities(shift)))
    remaining = [index for index, file in enumerate(plain.files) if file in rows]
    calibrated = PredictionSet(
        predictor.labels,
        files=tuple(plain.files[index] for index in remaining),
        corpora=tuple(plain.corpora[index] for index in remaining),
        speakers=tuple(plain.speakers[index] for index in remaining),
        truth=tuple(plain.truth[index] for index in remaining),
        probabilities=tuple(rows[plain.files[index]] for index in remaining),
    )
    write_json(path, {"settings": settings, "answers": calibrated.to_json()})
    return calibrated


@click.command("unseen")
@click.argument("runs", nargs=-1, required=True, type=PATH, metavar="BASE [RUN]...")
@click.option("--neutral", is_flag=True, help="Also with 6 s of each speaker's neutral speech.")
@JSON
def command(runs: tuple[Path, ...], neutral: bool, as_json: bool) -> None:
    """Leave-one-corpus-out runs of `crossval`, each beside the first of them."""
    rows = measure(runs, neutral=neutral, progress=lambda title: click.echo(title, err=True))
    if as_json:
        print_json([row.to_json() for row in rows])
        return
    for row in rows:
        low, high = (100 * bound for bound in row.ci95)
        by_corpus = ", ".join(f"{corpus} {100 * uar:.1f}" for corpus, uar in row.uar.items())
        click.echo(
            f"{row.run}{' with neutral seconds' if row.neutral else ''}: UAR {row.mean:.1%}, "
            f"{100 * row.difference:+.1f} points ({low:+.1f} to {high:+.1f}); {by_corpus}"
        )
