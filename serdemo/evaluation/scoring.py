"""Score a checkpoint on a corpus, as its user would meet it: through the Predictor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import softmax

from serdemo.data.splits import select
from serdemo.evaluation.predictions import PredictionSet, predict_dataset, score
from serdemo.inference.predictor import Predictor
from serdemo.metrics import calibration
from serdemo.metrics.scores import Scores
from serdemo.nn.description import Description
from serdemo.nn.provenance import seen_speakers
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.types import Utterance


@dataclass(frozen=True)
class Report:
    """Scores with what they are scores of; rates are fractions.

    `unseen_speakers` is True only when the checkpoint was neither trained nor selected on any of
    the scored speakers. `refused` names clips that could not be read, with the reason. Where the
    clips are of several corpora, `by_corpus` has the report of each by itself.
    """

    checkpoint: str
    corpus: str
    scores: Scores
    unseen_speakers: bool
    refused: tuple[str, ...] = ()
    by_corpus: tuple[Report, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The keys that the command line documents."""
        figures = {**self.scores.to_json(), "unseen_speakers": self.unseen_speakers}
        return {
            "checkpoint": self.checkpoint,
            "corpus": self.corpus,
            **figures,
            "refused": list(self.refused),
            **({"by_corpus": [one.to_json() for one in self.by_corpus]} if self.by_corpus else {}),
        }


def select_test_clips(
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
    try:
        found = predict_dataset(predictor, utterances)
    except SerdemoError:
        return predictor.description
    if not found.files:
        return predictor.description
    truth = [labels.index(name) for name in found.truth]
    logits = before * np.log(np.clip(found.probabilities, 1e-12, None))
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
    present. Clips of several corpora are scored together and each corpus by itself as well. Raises
    UsageError without clips, SerdemoError when none can be scored.
    """
    found = predict_dataset(predictor, utterances, progress=progress)
    if not found.files:
        raise UsageError(
            f"None of these clips carries an emotion that {predictor.name} knows"
            f" ({', '.join(predictor.labels)})."
        )
    seen = seen_speakers(predictor.description)

    def report(name: str, answers: PredictionSet, parts: tuple[Report, ...] = ()) -> Report:
        scores = score(answers)
        assert scores is not None  # there is a clip, and each is of a class of the model
        unseen = not seen.intersection(answers.speakers)
        refused = tuple(told for _, told in answers.refused)
        return Report(predictor.name, name, scores, unseen, refused, parts)

    several = sorted(set(found.corpora)) if len(set(found.corpora)) > 1 else []
    return report(corpus, found, tuple(report(name, found.of(name)) for name in several))
