"""Predictions on labelled clips, one row per clip, so that folds and seeds can be pooled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serdemo.data.shards import sound_path
from serdemo.inference.clip_outputs import ClipOutput
from serdemo.inference.predictor import Predictor, Source
from serdemo.metrics import bootstrap, classification
from serdemo.metrics import scores as metrics_scores
from serdemo.metrics.scores import Scores
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import Utterance

_COLUMNS = ("files", "corpora", "speakers", "truth", "probabilities")
# Keys of saved predictions that differ from the names of the fields.
_KEYS = {"unreadable": "refused", "skipped": "left_out"}


@dataclass(frozen=True)
class PredictionSet:
    """Predictions on N clips as columns: file, corpus, speaker (`corpus/speaker`), true class, and the
    probabilities (C,) of `labels`.

    `unreadable` has (corpus, error) for clips that could not be read; `skipped` counts, by corpus,
    clips whose emotion is not among the classes scored.
    """

    labels: tuple[str, ...]
    files: tuple[str, ...] = ()
    corpora: tuple[str, ...] = ()
    speakers: tuple[str, ...] = ()
    truth: tuple[str, ...] = ()
    probabilities: tuple[tuple[float, ...], ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()
    skipped: dict[str, int] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes present in the truth, in the order of the labels."""
        return tuple(label for label in self.labels if label in self.truth)

    @property
    def predicted(self) -> list[str]:
        """The most probable label of each clip."""
        return [self.labels[int(np.argmax(row))] for row in self.probabilities]

    def of(self, corpus: str) -> PredictionSet:
        """The part of one corpus."""
        rows = [row for row, name in enumerate(self.corpora) if name == corpus]
        return PredictionSet(
            self.labels,
            **{name: tuple(getattr(self, name)[row] for row in rows) for name in _COLUMNS},
            unreadable=tuple(error for error in self.unreadable if error[0] == corpus),
            skipped={corpus: self.skipped.get(corpus, 0)},
        )

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary, ready for JSON."""
        return {_KEYS.get(name, name): value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """Inverse of `to_json`; raises SerdemoError for anything else."""
        try:
            predictions = cls(
                **{name: tuple(values[name]) for name in ("labels", *_COLUMNS[:-1])},
                probabilities=tuple(tuple(map(float, row)) for row in values["probabilities"]),
                unreadable=tuple((corpus, error) for corpus, error in values["refused"]),
                skipped={corpus: int(count) for corpus, count in values["left_out"].items()},
            )
            lengths = {len(getattr(predictions, name)) for name in _COLUMNS}
            widths = {len(predictions.labels), *map(len, predictions.probabilities)}
            if len(lengths) != 1 or len(widths) != 1:
                raise ValueError("columns of different lengths")
        except (AttributeError, KeyError, TypeError, ValueError) as problem:
            raise SerdemoError("The saved answers are damaged.") from problem
        return predictions


def predict_dataset(
    predictor: Predictor,
    utterances: Sequence[Utterance],
    classes: Collection[str] | None = None,
    progress: Callable[[int], None] = lambda done: None,
    source_of: Callable[[Utterance], Source] = sound_path,
    on_output: Callable[[ClipOutput], object] = lambda output: None,
) -> PredictionSet:
    """Predict the clips of the given classes (all classes of the model where None).

    `progress` gets the number of clips done; `source_of` returns the sound to score for a clip;
    `on_output` gets the output of each clip that has a row.
    Raises SerdemoError when there are such clips and none of them can be read.
    """
    labels = predictor.labels
    scored = set(labels if classes is None else classes)
    named = [(u, classification.class_of(u.emotion, labels)) for u in utterances]
    clips = [(u, name) for u, name in named if name in scored]
    rows: list[tuple[Any, ...]] = []
    unreadable: list[tuple[str, str]] = []
    outputs = predictor.embed_many(source_of(u) for u, _ in clips)
    for done, ((clip, name), output) in enumerate(zip(clips, outputs, strict=True), start=1):
        if isinstance(output, SerdemoError):
            unreadable.append((clip.corpus, str(output)))
        else:
            on_output(output)
            probabilities = tuple(output.probabilities.tolist())
            rows.append((clip.path.as_posix(), clip.corpus, clip.speaker_key, name, probabilities))
        progress(done)
    if clips and not rows:
        raise SerdemoError(
            f"None of the {len(clips)} clips could be read; the first: {unreadable[0][1]}"
        )
    columns = dict(zip(_COLUMNS, zip(*rows, strict=True), strict=True)) if rows else {}
    skipped = Counter(u.corpus for u, name in named if name not in scored)
    return PredictionSet(labels, **columns, unreadable=tuple(unreadable), skipped=dict(skipped))


def concat(parts: Sequence[PredictionSet]) -> PredictionSet:
    """All predictions in one set, over the labels of any part: a label a model lacks has probability 0."""
    labels = tuple(dict.fromkeys(label for part in parts for label in part.labels))
    rows: list[tuple[float, ...]] = []
    for part in parts:
        columns = [part.labels.index(name) if name in part.labels else None for name in labels]
        rows += [tuple(0.0 if c is None else row[c] for c in columns) for row in part.probabilities]
    joined = {
        name: tuple(value for part in parts for value in getattr(part, name))
        for name in (*_COLUMNS[:-1], "unreadable")
    }
    skipped = sum((Counter(part.skipped) for part in parts), Counter())
    return PredictionSet(labels, **joined, probabilities=tuple(rows), skipped=dict(skipped))


def score(predictions: PredictionSet, *, repeated: bool = False) -> Scores | None:
    """Scores of predictions; None where there is none.

    With `repeated`, a clip predicted by several models (seeds) counts in the confusion matrix as
    often, and in `n` once; UAR and WA are then the means over the models.
    """
    if not predictions.files:
        return None
    return metrics_scores.score(
        predictions.truth,
        np.array(predictions.probabilities),
        predictions.labels,
        predictions.speakers,
        clips=predictions.files if repeated else None,
    )


def mean_of_corpora(seeds: Sequence[PredictionSet]) -> dict[str, Any] | None:
    """Mean UAR of the corpora with equal weight, and its 95 % interval; None without predictions.

    `seeds` are the predictions of one model per seed on the same clips. Each bootstrap draw
    resamples the speakers of every corpus (of a corpus of one speaker, its clips).
    """
    whole = concat(seeds)
    corpora: list[tuple[float, NDArray[np.float64]]] = []  # UAR, and its draws
    for name in sorted(set(whole.corpora)):
        part = whole.of(name)
        matrix = classification.confusion(part.truth, part.predicted, part.labels)
        draws, _, _ = bootstrap.bootstrap_draws(
            part.truth, part.predicted, part.speakers, clips=part.files, seed=len(corpora)
        )
        corpora.append((classification.uar(matrix), draws))
    if not corpora:
        return None
    means = np.mean([draws for _, draws in corpora], axis=0)
    return {
        "uar": float(np.mean([uar for uar, _ in corpora])),
        "uar_ci95": list(bootstrap.percentile_interval(means)),
        "corpora": len(corpora),
    }


def mean_std(values: Sequence[float]) -> dict[str, Any]:
    """Mean and sample standard deviation; with one value the deviation is None (not known)."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "sd": deviation, "values": list(values)}


def scores_over_seeds(seeds: Sequence[PredictionSet]) -> dict[str, Any] | None:
    """Scores of the same clips as predicted by one model per seed, ready for JSON.

    The keys of `Scores` over all seeds together (so `confusion` is their sum, and the interval is
    of the mean), with `classes`, `left_out` and `refused` of one seed, and `over_seeds`: mean, sd
    and values of each rate. None without a clip to score.
    """
    pooled = score(concat(seeds), repeated=True)
    if pooled is None:
        return None
    scores = [own for part in seeds if (own := score(part)) is not None]
    return {
        **pooled.to_json(),
        "classes": list(seeds[0].classes),
        "left_out": sum(seeds[0].skipped.values()),
        "refused": [error for _, error in seeds[0].unreadable],
        "over_seeds": {
            rate: mean_std([getattr(own, rate) for own in scores])
            for rate in ("uar", "wa", "macro_f1", "ece")
        },
    }
