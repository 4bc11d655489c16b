"""Score a checkpoint on a corpus, as its user would meet it: through the Predictor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import softmax

from serdemo import calibration, metrics
from serdemo.checkpoint import Description
from serdemo.corpora import normalise_speaker
from serdemo.metrics import Scores
from serdemo.predict import Predictor
from serdemo.schema import SerdemoError, UsageError, Utterance
from serdemo.splits import select


@dataclass(frozen=True)
class Report:
    """Scores with what they are scores of; rates are fractions.

    `unseen_speakers` is True only when the checkpoint was neither trained nor selected on any of
    the scored speakers. `refused` names clips that could not be read, with the reason.
    """

    checkpoint: str
    corpus: str
    scores: Scores
    unseen_speakers: bool
    refused: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The keys that the command line documents."""
        figures = {**self.scores.to_json(), "unseen_speakers": self.unseen_speakers}
        return {
            "checkpoint": self.checkpoint,
            "corpus": self.corpus,
            **figures,
            "refused": list(self.refused),
        }


def seen_speakers(description: Description) -> frozenset[str]:
    """`corpus/speaker` keys that the checkpoint was trained on or selected on."""
    return frozenset(
        f"{corpus}/{normalise_speaker(corpus, speaker)}"
        for part in (description.trained_on, description.selected_on)
        for corpus, speakers in part.items()
        for speaker in speakers
    )


def choose(
    utterances: Sequence[Utterance], speakers: str, description: Description
) -> tuple[Utterance, ...]:
    """The clips of `all` speakers, of those `unseen` by the checkpoint, or of a list of ids.

    Raises SerdemoError when no speaker is unseen, UsageError for an id that is not there.
    """
    if speakers == "all":
        return tuple(utterances)
    if speakers != "unseen":
        if not speakers.replace(",", "").strip():
            raise UsageError(
                "--speakers names nobody: give unseen, all, or ids with commas between."
            )
        return select(utterances, speakers)
    seen = seen_speakers(description)
    left = tuple(u for u in utterances if u.speaker_key not in seen)
    if not left:
        raise SerdemoError(
            f"{description.name} was trained or selected on every speaker here, so none is unseen;"
            " give --speakers all to score it on them all the same."
        )
    return left


def calibrate(
    predictor: Predictor, utterances: Sequence[Utterance], coverage: float = calibration.COVERAGE
) -> Description:
    """The predictor's description with temperature and `unsure_below` fitted on labelled clips.

    Fitted on the answers a user gets, windows and all, so give clips the model was not trained on.
    At least the share `coverage` of them stays sure. Without a clip that has an emotion the model
    knows, the description comes back as it is.
    """
    labels, before = predictor.labels, predictor.description.temperature
    known = [u for u in utterances if metrics.class_of(u.emotion, labels)]
    answers = predictor.predict_many(u.path for u in known)
    rows, truth = [], []
    for utterance, answer in zip(known, answers, strict=True):
        if not isinstance(answer, SerdemoError):
            rows.append([answer.probabilities[label] for label in labels])
            truth.append(labels.index(metrics.class_of(utterance.emotion, labels) or ""))
    if not rows:
        return predictor.description
    logits = before * np.log(np.clip(rows, 1e-12, None))
    temperature = calibration.fit_temperature(logits, truth)
    confidence = softmax(logits / temperature, axis=1).max(axis=1)
    return replace(
        predictor.description,
        temperature=temperature,
        unsure_below=calibration.threshold_for_coverage(confidence, coverage),
    )


def evaluate(
    predictor: Predictor,
    corpus: str,
    utterances: Sequence[Utterance],
    progress: Callable[[int], None] = lambda done: None,
) -> Report:
    """Score a checkpoint on labelled clips; `progress` is told the number of clips done.

    The answer is the argmax over all labels of the checkpoint; recall is averaged over the classes
    present. Raises UsageError without clips, SerdemoError when none can be scored.
    """
    known = [u for u in utterances if metrics.class_of(u.emotion, predictor.labels)]
    if not known:
        raise UsageError(
            f"None of these clips carries an emotion that {predictor.name} knows"
            f" ({', '.join(predictor.labels)})."
        )
    rows, scored, refused = [], [], []
    answers = predictor.predict_many(u.path for u in known)
    for done, (utterance, answer) in enumerate(zip(known, answers, strict=True), start=1):
        if isinstance(answer, SerdemoError):
            refused.append(str(answer))
        else:
            rows.append([answer.probabilities[label] for label in predictor.labels])
            scored.append(utterance)
        progress(done)
    if not scored:
        raise SerdemoError(f"None of the {len(known)} clips could be read; the first: {refused[0]}")
    scores = metrics.score(
        [u.emotion for u in scored],
        np.array(rows),
        predictor.labels,
        [u.speaker_key for u in scored],
    )
    seen = seen_speakers(predictor.description)
    unseen = not any(u.speaker_key in seen for u in scored)
    return Report(predictor.name, corpus, scores, unseen, tuple(refused))
