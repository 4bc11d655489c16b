"""Baselines on the same clips as a trained network: the majority class, and an SVM on functionals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serdemo.audio.waveform import Samples
from serdemo.data.shards import decode_clip
from serdemo.data.splits import Split
from serdemo.evaluation.functionals import default_functionals
from serdemo.evaluation.predictions import PredictionSet, score
from serdemo.metrics import classification
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import Utterance

RATES = ("n", "speakers", "uar", "uar_ci95", "ci95_over", "wa", "macro_f1")
GRID = tuple(
    {"kernel": kernel, "C": cost}
    for kernel, costs in (("rbf", (0.1, 1.0, 10.0, 100.0)), ("linear", (1e-4, 1e-3, 1e-2, 0.1)))
    for cost in costs
)
DEFAULT_SVM = {"kernel": "rbf", "C": 1.0}  # without validation clips


@dataclass(frozen=True)
class BaselineResult:
    """Another method on the same split: its `figures` by corpus, or the reason why it was `not_run`."""

    name: str
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    not_run: str = ""

    def of(self, corpus: str) -> dict[str, Any]:
        """Entry of `report.json` beside a corpus's own figures."""
        if self.not_run or corpus not in self.figures:
            return {"name": self.name, "not_run": self.not_run or "no clip of a class it knows"}
        figures = self.figures[corpus]
        return {"name": self.name, **{rate: figures[rate] for rate in RATES}}


@dataclass(frozen=True)
class FeatureTable:
    """Functionals `rows` (N, D) of N clips, with the true class and the utterance of each."""

    rows: NDArray[np.float64]
    truth: tuple[str, ...]
    clips: tuple[Utterance, ...]


def simple_baselines(split: Split, labels: Sequence[str]) -> list[BaselineResult]:
    """Results of the majority class of the training clips and of an SVM on functionals.

    Clips whose emotion is not among `labels`, and those that cannot be read, are left out. Raises
    SerdemoError when no training clip is left.
    """
    name, train, valid, test = _feature_tables(split, labels)
    if not train.clips:
        raise SerdemoError("None of the training clips could be read, so there is no baseline.")
    majority = Counter(train.truth).most_common(1)[0][0]
    predictions = _predictions([majority] * len(test.truth), test, labels)
    title = f"always {majority}, the commonest in training"
    results = [BaselineResult(title, _scores_by_corpus(predictions))]
    if len(set(train.truth)) > 1 and test.clips:
        predicted, options = fit_svm(train, valid, test)
        title = f"SVM ({options['kernel']}, C {options['C']:g}) on {name}"
        predictions = _predictions(predicted, test, labels)
        results.append(BaselineResult(title, _scores_by_corpus(predictions)))
    return results


def svm_predictions(split: Split, labels: Sequence[str]) -> PredictionSet:
    """Predictions of an SVM on functionals for a split's test clips, with probabilities 0 and 1.

    Raises SerdemoError where no training or no test clip could be read.
    """
    _, train, valid, test = _feature_tables(split, labels)
    if not train.clips or not test.clips:
        raise SerdemoError("None of the clips could be read, so there is no baseline.")
    predicted, _ = fit_svm(train, valid, test)
    return _predictions(predicted, test, labels)


def fit_svm(
    train: FeatureTable, valid: FeatureTable, test: FeatureTable
) -> tuple[list[str], dict[str, Any]]:
    """Fit an SVM; return its labels for the test clips and the options chosen.

    The options are those of `GRID` with the best UAR on `valid`, or `DEFAULT_SVM` without such
    clips. Features are scaled to the training clips' mean and variance; classes have equal weight.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    def fit(options: dict[str, Any]) -> Any:
        svm = SVC(**options, class_weight="balanced", random_state=0)
        return make_pipeline(StandardScaler(), svm).fit(train.rows, train.truth)

    def validation_uar(options: dict[str, Any]) -> float:
        predicted = fit(options).predict(valid.rows).tolist()
        names = sorted({*valid.truth, *predicted})
        return classification.uar(classification.confusion(valid.truth, predicted, names))

    best = max(GRID, key=validation_uar) if valid.clips else DEFAULT_SVM
    return fit(best).predict(test.rows).tolist(), best


def feature_table(
    utterances: Sequence[Utterance],
    labels: Sequence[str],
    functionals: Callable[[Samples], NDArray[np.float64]],
) -> FeatureTable:
    """Functionals of the readable clips whose class is among `labels`."""
    entries: list[tuple[Any, str, Utterance]] = []
    for clip in utterances:
        label = classification.class_of(clip.emotion, labels)
        if label is None:
            continue
        try:
            entries.append((functionals(decode_clip(clip).samples), label, clip))
        except SerdemoError:
            continue  # reported where the network is scored
    rows, truth, clips = zip(*entries, strict=True) if entries else ((), (), ())
    return FeatureTable(np.array(rows), tuple(truth), tuple(clips))


def _feature_tables(
    split: Split, labels: Sequence[str]
) -> tuple[str, FeatureTable, FeatureTable, FeatureTable]:
    """Name of the functionals, and the tables of the training, validation and test clips."""
    name, functionals = default_functionals()
    train, valid, test = (feature_table(part, labels, functionals) for part in split.parts.values())
    return name, train, valid, test


def _predictions(
    predicted: Sequence[str], test: FeatureTable, labels: Sequence[str]
) -> PredictionSet:
    return PredictionSet(
        tuple(labels),
        files=tuple(clip.path.as_posix() for clip in test.clips),
        corpora=tuple(clip.corpus for clip in test.clips),
        speakers=tuple(clip.speaker_key for clip in test.clips),
        truth=test.truth,
        probabilities=tuple(tuple(float(label == name) for label in labels) for name in predicted),
    )


def _scores_by_corpus(predictions: PredictionSet) -> dict[str, dict[str, Any]]:
    figures = {}
    for corpus in sorted(set(predictions.corpora)):
        scores = score(predictions.of(corpus))
        assert scores is not None  # each corpus here has a clip
        figures[corpus] = scores.to_json()
    return figures
