"""Calibration for strangers: temperature and threshold from a leave-one-corpus-out run.

A temperature fitted on held-out speakers of the training corpora is too sure of voices, languages and
rooms that no corpus holds. Here the answers of models that never met a corpus stand for those, and
the checkpoint's own answers on its selection speakers for new speakers of known corpora; the slope
of the temperature over novelty is what tells the two apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from serdemo.audio import waveform
from serdemo.evaluation import model_card
from serdemo.inference.novelty import Novelty, measure_novelty
from serdemo.inference.predictor import Predictor
from serdemo.metrics.calibration import calibration_error
from serdemo.metrics.classification import class_of
from serdemo.nn.description import write_description
from serdemo.runs.crossval import PREDICTIONS, PROTOCOL
from serdemo.runs.report import predictor_kwargs
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import read_json, write_text
from serdemo.schema.types import Utterance
from serdemo.training.options import resolve_recipe

Floats = NDArray[np.float64]

MAX_CLIPS = 600  # of a corpus
MAX_S = 6.0  # of a clip
CARD = "README.md"
MIN_PRECISION = 2 / 3  # share of a stranger's sure answers that are right
START = (0.0, 0.5)  # log temperature and slope


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Logits (n, C), novelty (n,) and classes (n,) of one corpus's clips."""

    corpus: str
    stranger: bool
    logits: Floats
    novelty: Floats
    truth: NDArray[np.intp]

    def probabilities(self, log_temperature: float, slope: float) -> Floats:
        """Probabilities (n, C) at a temperature."""
        temperatures = np.exp(log_temperature + slope * self.novelty)
        rows: Floats = softmax(self.logits / temperatures[:, None], axis=1)
        return rows

    def loss(self, log_temperature: float, slope: float) -> float:
        """Mean negative log-likelihood at a temperature."""
        temperatures = np.exp(log_temperature + slope * self.novelty)
        scores = log_softmax(self.logits / temperatures[:, None], axis=1)
        return -float(scores[np.arange(len(self.truth)), self.truth].mean())


@dataclass(frozen=True, slots=True)
class CalibrationResult:
    """A fitted `temperature`, `slope` and threshold `unsure_below`, with the mean over corpora of the
    expected calibration error (fractions) on unseen speakers and on corpora left out."""

    temperature: float
    slope: float
    unsure_below: float
    ece_unseen: float
    ece_left_out: float
    ece_by_corpus: dict[str, float]


def calibrate_for_strangers(
    folder: Path,
    run: Path,
    utterances: Sequence[Utterance],
    progress: Callable[[str], None] = lambda title: None,
) -> CalibrationResult:
    """Fit temperature, slope and threshold of a checkpoint, and write them to its `model.json`.

    `run` is a finished `crossval --by one-corpus-out` of the same recipe, of which the first seed is
    read. `utterances` are the clips of its corpora; those of the checkpoint's test speakers are
    ignored. Raises UsageError for another run or without clips of selection speakers, SerdemoError
    for an unfinished run.
    """
    protocol = read_json(run / PROTOCOL) if (run / PROTOCOL).exists() else None
    if not isinstance(protocol, dict) or protocol.get("by") != "one-corpus-out":
        raise UsageError(f"{run} is no cross-validation made with --by one-corpus-out.")
    models = sorted(run.glob("*/seed-0"))
    if not models or not all((model / PREDICTIONS).exists() for model in models):
        raise SerdemoError(f"Not all models of {run} are finished; go on with --resume.")
    options = predictor_kwargs(*resolve_recipe(protocol["recipe"], protocol["options"]))
    predictor = Predictor(folder, **options)
    description = predictor.description
    selected = _of_speakers(utterances, description.selected_on)
    if not selected:
        raise UsageError(f"{description.name} has no selection speakers among these clips.")
    progress(description.name)
    entry = _measure(predictor, _of_speakers(utterances, description.trained_on))
    answers = _answers(predictor, selected, entry, stranger=False)
    known = [*_of_speakers(utterances, description.trained_on), *selected]
    for model in models:
        progress(model.parent.name)
        other = Predictor(model / "checkpoint", **options)
        trained = _of_speakers(utterances, other.description.trained_on)
        left_out = {clip.corpus for clip in utterances} - set(other.description.trained_on)
        clips = [clip for clip in known if clip.corpus in left_out]
        answers += _answers(other, clips, _measure(other, trained), stranger=True)
    result = fit_calibration(answers)
    calibrated = replace(
        description,
        temperature=result.temperature,
        unsure_below=result.unsure_below,
        novelty={**entry, "slope": result.slope},
    )
    write_description(folder, calibrated)
    if (card := folder / CARD).exists():
        text = card.read_text("utf-8")
        old, new = map(model_card.confidence_sentences, (description, calibrated))
        write_text(card, text.replace(old, new))
    return result


def fit_calibration(answers: Sequence[Answers]) -> CalibrationResult:
    """Fit temperature and slope by likelihood, unseen speakers and strangers with equal weight, every
    corpus within them likewise; the threshold is the lowest that two thirds of the strangers' sure
    answers bear out."""
    groups = [[a for a in answers if a.stranger == stranger] for stranger in (False, True)]
    groups = [group for group in groups if group]

    def loss(values: NDArray[np.float64]) -> float:
        means = [np.mean([answer.loss(*values) for answer in group]) for group in groups]
        return float(np.sum(means))

    best = minimize(loss, START, method="Nelder-Mead", bounds=[(-3.0, 3.0), (0.0, 5.0)])
    log_temperature, slope = map(float, best.x)
    ece = {
        f"{answer.corpus}{' left out' if answer.stranger else ''}": calibration_error(
            answer.probabilities(log_temperature, slope), answer.truth
        )
        for answer in answers
    }
    means = [
        float(
            np.mean([e for name, e in ece.items() if name.endswith(" left out") == stranger] or 0)
        )
        for stranger in (False, True)
    ]
    return CalibrationResult(
        temperature=float(np.exp(log_temperature)),
        slope=slope,
        unsure_below=_threshold(groups[-1], log_temperature, slope),
        ece_unseen=means[0],
        ece_left_out=means[1],
        ece_by_corpus=ece,
    )


def _threshold(answers: Sequence[Answers], log_temperature: float, slope: float) -> float:
    """Lowest confidence above which `MIN_PRECISION` of the answers are right, corpora weighted alike."""
    rows = [answer.probabilities(log_temperature, slope) for answer in answers]
    confidence = np.concatenate([row.max(axis=1) for row in rows])
    correct = np.concatenate(
        [row.argmax(axis=1) == answer.truth for row, answer in zip(rows, answers, strict=True)]
    )
    weight = np.concatenate([np.full(len(row), 1 / len(row)) for row in rows])
    order = np.argsort(-confidence)
    precision = np.cumsum((correct * weight)[order]) / np.cumsum(weight[order])
    reached = np.flatnonzero(precision >= MIN_PRECISION)
    return float(confidence[order][reached[-1]]) if len(reached) else 1.0


def _of_speakers(
    utterances: Sequence[Utterance], speakers: dict[str, list[str]]
) -> list[Utterance]:
    """The utterances of a table of speakers by corpus."""
    return [clip for clip in utterances if clip.speaker in speakers.get(clip.corpus, ())]


def _measure(predictor: Predictor, clips: Sequence[Utterance]) -> dict[str, object]:
    """The entry `novelty` of a model, from its training clips."""
    chosen = [clip for clip, _ in _evenly(predictor, clips)]
    return measure_novelty(_embed(predictor, chosen), [clip.corpus for clip in chosen])


def _answers(
    predictor: Predictor, clips: Sequence[Utterance], entry: dict[str, object], *, stranger: bool
) -> list[Answers]:
    """Answers on the clips of each corpus."""
    chosen = _evenly(predictor, clips)
    corpora = np.array([clip.corpus for clip, _ in chosen])
    truth = np.array([predictor.labels.index(label) for _, label in chosen])
    rows = _embed(predictor, [clip for clip, _ in chosen])
    measure = Novelty.from_json(entry)
    assert measure is not None
    novelty, logits = measure.of(rows), predictor.logits(rows)
    return [
        Answers(name, stranger, logits[own], novelty[own], truth[own])
        for name in sorted(set(corpora.tolist()))
        for own in [corpora == name]
    ]


def _evenly(predictor: Predictor, clips: Sequence[Utterance]) -> list[tuple[Utterance, str]]:
    """At most `MAX_CLIPS` clips of each corpus with their classes, evenly spaced."""
    classes = [(clip, class_of(clip.emotion, predictor.labels)) for clip in clips]
    known = [(clip, label) for clip, label in classes if label]
    counts = Counter(clip.corpus for clip, _ in known)
    steps = {corpus: max(1, -(-count // MAX_CLIPS)) for corpus, count in counts.items()}
    seen: Counter[str] = Counter()
    chosen = []
    for clip, label in known:
        if seen[clip.corpus] % steps[clip.corpus] == 0:
            chosen.append((clip, label))
        seen[clip.corpus] += 1
    return chosen


def _embed(predictor: Predictor, clips: Sequence[Utterance]) -> NDArray[np.float32]:
    """Embeddings (n, E) of the first `MAX_S` of clips."""
    limit = round(MAX_S * waveform.SAMPLE_RATE)
    blocks = [
        predictor.embeddings([waveform.decode(c.path).samples[:limit] for c in clips[at : at + 64]])
        for at in range(0, len(clips), 64)
    ]
    return np.concatenate(blocks)
