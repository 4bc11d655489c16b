"""Leave-one-corpus-out runs beside each other, and what a speaker's neutral seconds add to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np

from serdemo.cli.options import JSON, PATH, print_json
from serdemo.evaluation.predictions import PredictionSet, concat
from serdemo.experiments.neutral import HeardClip, calibrate
from serdemo.experiments.paired import Paired, pair
from serdemo.inference.predictor import Predictor
from serdemo.inference.speaker_normalization import NEUTRAL, STRENGTH
from serdemo.metrics.bootstrap import Bounds, percentile_interval
from serdemo.runs.crossval import PREDICTIONS, PROTOCOL
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import read_json, write_json
from serdemo.schema.types import Utterance

CALIBRATED = "answers-neutral.json"
SECONDS = 6.0  # of neutral speech, of each speaker


@dataclass(frozen=True, slots=True)
class Row:
    """A run, with or without neutral seconds: UAR (fractions) of each left-out corpus, their mean, and
    how much more that is than the first run's on the clips that both answered, with its 95 % interval.
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
    progress: Callable[[str], None] = lambda told: None,
) -> list[Row]:
    """A row for every run, the first being what the others are compared with; with `neutral` one more
    for every run, its models calibrated to each speaker by `SECONDS` of neutral speech.

    Calibrated answers are kept beside the models. Raises UsageError for a folder that is no such run,
    SerdemoError for one that is not finished or lacks what its models answered.
    """
    plain = [_answers(run) for run in runs]
    rows = [_row(run, False, plain[0], said) for run, said in zip(runs, plain, strict=True)]
    for run in runs if neutral else ():
        said = [_with_neutral(place, progress) for place in _models(run)]
        rows.append(_row(run, True, plain[0], _by_seed(run, said)))
    return rows


def _models(run: Path) -> list[Path]:
    """The folders of a run's models, one for each corpus and seed."""
    if not (run / PROTOCOL).exists():
        raise UsageError(f"{run} holds no cross-validation.")
    protocol = read_json(run / PROTOCOL)
    if not isinstance(protocol, dict) or protocol.get("by") != "one-corpus-out":
        raise UsageError(f"{run} was not made with --by one-corpus-out.")
    found = sorted(run.glob("*/seed-*"))
    if not found or not all((place / PREDICTIONS).exists() for place in found):
        raise SerdemoError(f"Not all models of {run} are finished; go on with --resume.")
    return found


def _answers(run: Path) -> list[PredictionSet]:
    found = [PredictionSet.from_json(read_json(place / PREDICTIONS)) for place in _models(run)]
    return _by_seed(run, found)


def _by_seed(run: Path, said: Sequence[PredictionSet]) -> list[PredictionSet]:
    """What each seed's models said to all corpora."""
    names = [place.name for place in _models(run)]
    return [
        concat([one for one, name in zip(said, names, strict=True) if name == seed])
        for seed in sorted(set(names))
    ]


def _row(run: Path, neutral: bool, base: list[PredictionSet], said: list[PredictionSet]) -> Row:
    pairs: dict[str, Paired] = {}
    for corpus in sorted(set(said[0].corpora)):
        found = pair(corpus, base, said)
        if found is None:
            raise SerdemoError(f"{run} and the first run have answered no clip of {corpus} both.")
        pairs[corpus] = found
    missing = {name for one in base for name in one.corpora} - pairs.keys()
    if missing:
        raise SerdemoError(f"{run} has not left out {', '.join(sorted(missing))}.")
    uar = {name: float(np.mean(one.other)) for name, one in pairs.items()}
    return Row(
        run=run.name,
        neutral=neutral,
        seeds=len(said),
        uar=uar,
        mean=float(np.mean(list(uar.values()))),
        difference=float(np.mean([one.difference for one in pairs.values()])),
        ci95=percentile_interval(np.mean([one.drawn for one in pairs.values()], axis=0)),
    )


def _with_neutral(place: Path, progress: Callable[[str], None]) -> PredictionSet:
    """What the model says to the clips it answered once each speaker's neutral seconds are known;
    these are not answered, and who has too few is answered as before."""
    kept = place / CALIBRATED
    settings = {"seconds": SECONDS, "strength": STRENGTH}
    if kept.exists():
        found = read_json(kept)
        if isinstance(found, dict) and found.get("settings") == settings:
            return PredictionSet.from_json(found.get("answers"))
    said = PredictionSet.from_json(read_json(place / PREDICTIONS))
    progress(f"{place.parent.parent.name}: {place.parent.name}, {place.name}")
    predictor = Predictor(place / "checkpoint")
    clips = [
        Utterance(Path(file), corpus, key.removeprefix(f"{corpus}/"), truth, truth)
        for file, corpus, key, truth in zip(
            said.files, said.corpora, said.speakers, said.truth, strict=True
        )
    ]
    rows = dict(zip(said.files, said.probabilities, strict=True))
    rng = np.random.default_rng(0)
    for speaker in sorted({u.speaker_key for u in clips if u.emotion in NEUTRAL}):
        own = [HeardClip(predictor, u) for u in clips if u.speaker_key == speaker]
        taken, shift = calibrate(predictor, own, SECONDS, STRENGTH, rng)
        if shift is None:
            continue
        for one in own:
            file = one.utterance.path.as_posix()
            if one in taken:
                del rows[file]
            else:
                rows[file] = tuple(map(float, one.probabilities(shift)))
    places = [at for at, file in enumerate(said.files) if file in rows]
    answered = PredictionSet(
        predictor.labels,
        files=tuple(said.files[at] for at in places),
        corpora=tuple(said.corpora[at] for at in places),
        speakers=tuple(said.speakers[at] for at in places),
        truth=tuple(said.truth[at] for at in places),
        probabilities=tuple(rows[said.files[at]] for at in places),
    )
    write_json(kept, {"settings": settings, "answers": answered.to_json()})
    return answered


@click.command("unseen")
@click.argument("runs", nargs=-1, required=True, type=PATH, metavar="BASE [RUN]...")
@click.option("--neutral", is_flag=True, help="Also with 6 s of each speaker's neutral speech.")
@JSON
def command(runs: tuple[Path, ...], neutral: bool, as_json: bool) -> None:
    """Leave-one-corpus-out runs of `crossval` beside the first of them."""

    rows = measure(
        runs,
        neutral=neutral,
        progress=lambda told: click.echo(told, err=True),
    )
    if as_json:
        print_json([row.to_json() for row in rows])
        return
    for row in rows:
        low, high = (100 * bound for bound in row.ci95)
        each = ", ".join(f"{corpus} {100 * uar:.1f}" for corpus, uar in row.uar.items())
        click.echo(
            f"{row.run}{' with neutral seconds' if row.neutral else ''}: UAR {row.mean:.1%}, "
            f"{100 * row.difference:+.1f} points ({low:+.1f} to {high:+.1f}); {each}"
        )
