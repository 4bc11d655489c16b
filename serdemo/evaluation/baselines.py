"""What a trained network is compared with, on the same clips: the commonest emotion, an SVM, and
other networks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serdemo.audio import waveform
from serdemo.data.splits import Split
from serdemo.evaluation import functionals
from serdemo.evaluation.predictions import PredictionSet
from serdemo.metrics import classification
from serdemo.metrics import scores as metrics_scores
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import Utterance

REPORT = "report.json"
RATES = ("n", "speakers", "uar", "uar_ci95", "ci95_over", "wa", "macro_f1")
GRID = tuple(
    {"kernel": kernel, "C": cost}
    for kernel, costs in (("rbf", (0.1, 1.0, 10.0, 100.0)), ("linear", (1e-4, 1e-3, 1e-2, 0.1)))
    for cost in costs
)
WITHOUT_CHOICE = {"kernel": "rbf", "C": 1.0}


@dataclass(frozen=True)
class BaselineResult:
    """Another method on the same split: its `figures` by corpus, or why it was `not_run`."""

    name: str
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    not_run: str = ""

    def of(self, corpus: str) -> dict[str, Any]:
        """What `report.json` says of it beside a corpus's own figures."""
        if self.not_run or corpus not in self.figures:
            return {"name": self.name, "not_run": self.not_run or "no clip of a class it knows"}
        found = self.figures[corpus]
        return {"name": self.name, **{rate: found[rate] for rate in RATES}}


@dataclass(frozen=True)
class Table:
    """Clips of classes that are known as `rows` (N, D) of numbers, with what is known of them."""

    rows: NDArray[np.float64]
    truth: tuple[str, ...]
    clips: tuple[Utterance, ...]


def simple(split: Split, labels: Sequence[str]) -> list[BaselineResult]:
    """The commonest emotion of the training clips for an answer, and an SVM on functionals.

    Clips whose emotion is not among `labels`, and those that cannot be read, are left out. Raises
    SerdemoError when nothing of the training clips is left.
    """
    name, describe = functionals.default_functionals()
    train, valid, test = (table(part, labels, describe) for part in split.parts.values())
    if not train.clips:
        raise SerdemoError("None of the training clips could be read, so there is no baseline.")
    commonest = Counter(train.truth).most_common(1)[0][0]
    told = f"always {commonest}, the commonest in training"
    found = [BaselineResult(told, _figures([commonest] * len(test.truth), test, labels))]
    if len(set(train.truth)) > 1 and test.clips:
        answers, chosen = fit_svm(train, valid, test)
        described = f"SVM ({chosen['kernel']}, C {chosen['C']:g}) on {name}"
        found.append(BaselineResult(described, _figures(answers, test, labels)))
    return found


def svm_predictions(split: Split, labels: Sequence[str]) -> PredictionSet:
    """What an SVM on functionals, trained on a split, says to its test clips: all or nothing.

    Raises SerdemoError where no training or no test clip could be read.
    """
    train, valid, test = (
        table(part, labels, functionals.default_functionals()[1]) for part in split.parts.values()
    )
    if not train.clips or not test.clips:
        raise SerdemoError("None of the clips could be read, so there is no baseline.")
    said, _ = fit_svm(train, valid, test)
    return PredictionSet(
        tuple(labels),
        files=tuple(clip.path.as_posix() for clip in test.clips),
        corpora=tuple(clip.corpus for clip in test.clips),
        speakers=tuple(clip.speaker_key for clip in test.clips),
        truth=test.truth,
        probabilities=tuple(tuple(float(name == one) for name in labels) for one in said),
    )


def fit_svm(train: Table, valid: Table, test: Table) -> tuple[list[str], dict[str, Any]]:
    """The answers of an SVM to the test clips, and the kernel and C that it was given.

    They are those of `GRID` with the best UAR on `valid`; without such clips a usual choice. Every
    feature is scaled to the training clips' mean and variance, classes weigh alike.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    def fitted(chosen: dict[str, Any]) -> Any:
        machine = SVC(**chosen, class_weight="balanced", random_state=0)
        return make_pipeline(StandardScaler(), machine).fit(train.rows, train.truth)

    def worth(chosen: dict[str, Any]) -> float:
        guess = fitted(chosen).predict(valid.rows).tolist()
        names = sorted({*valid.truth, *guess})
        return classification.uar(classification.confusion(valid.truth, guess, names))

    best = max(GRID, key=worth) if valid.clips else WITHOUT_CHOICE
    return fitted(best).predict(test.rows).tolist(), best


def table(utterances: Sequence[Utterance], labels: Sequence[str], describe: Any) -> Table:
    """The clips of these classes as `describe` makes numbers of their samples; others are left out."""
    kept: list[tuple[Any, str, Utterance]] = []
    for clip in utterances:
        label = classification.class_of(clip.emotion, labels)
        if label is None:
            continue
        try:
            kept.append((describe(waveform.decode(clip.path).samples), label, clip))
        except SerdemoError:
            continue  # told where the network is scored
    rows, truth, clips = zip(*kept, strict=True) if kept else ((), (), ())
    return Table(np.array(rows), tuple(truth), tuple(clips))


def _figures(answers: Sequence[str], test: Table, labels: Sequence[str]) -> dict[str, Any]:
    """The rates of answers to the test clips, by corpus."""
    found = {}
    corpora = np.array([clip.corpus for clip in test.clips])
    for corpus in sorted(set(corpora.tolist())):
        own = np.flatnonzero(corpora == corpus).tolist()
        sure = np.array([[float(label == answers[at]) for label in labels] for at in own])
        speakers = [test.clips[at].speaker_key for at in own]
        scores = metrics_scores.score([test.truth[at] for at in own], sure, labels, speakers)
        found[corpus] = scores.to_json()
    return found
