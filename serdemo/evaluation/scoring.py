"""Scores of a checkpoint on a corpus, by the same inference that a user gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import softmax

from serdemo.data.corpora.speakers import require_known
from serdemo.data.splits import select
from serdemo.evaluation.adaptation import AdaptationGain, AdaptationScores, compare_adapted
from serdemo.evaluation.predictions import PredictionSet, predict_dataset, score
from serdemo.inference.predictor import Predictor
from serdemo.metrics import calibration
from serdemo.metrics.scores import Scores
from serdemo.nn.description import Description, require_classifier
from serdemo.nn.provenance import are_unseen, seen_speakers
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.text import counted_speakers
from serdemo.schema.types import Utterance, is_known_speaker


@dataclass(frozen=True)
class Report:
    """Scores of a checkpoint on a corpus; rates are fractions.

    `unseen_speakers` is True only when the checkpoint was neither trained nor selected on any of
    the scored speakers; `unknown_speakers` counts the clips of which it is unknown. `unreadable` has the
    errors of clips that could not be read. For clips of several corpora, `by_corpus` has a report of
    each. Without `speakers_known`, as for a model of transformers, nothing is known of its training
    speakers. `adapted` has the UAR after adaptation to each
    speaker.
    """

    checkpoint: str
    corpus: str
    scores: Scores
    unseen_speakers: bool
    unreadable: tuple[str, ...] = ()
    by_corpus: tuple[Report, ...] = ()
    adapted: AdaptationGain | None = None
    unknown_speakers: int = 0
    speakers_known: bool = True

    @property
    def who(self) -> str:
        """The speakers as a phrase: how many, and whether they are new to the checkpoint."""
        speakers = counted_speakers(self.scores.speakers)
        if not self.speakers_known:
            return f"{speakers}; its training speakers are unknown"
        if self.unseen_speakers:
            return f"{speakers} unseen by it"
        may = " may be ones that" if self.unknown_speakers else ""
        return f"{speakers}, some of whom{may} it was trained or selected on"

    def to_json(self) -> dict[str, Any]:
        """The keys that the command line documents."""
        figures = {**self.scores.to_json(), "unseen_speakers": self.unseen_speakers}
        if not self.speakers_known:
            figures["training_speakers"] = "unknown"
        return {
            "checkpoint": self.checkpoint,
            "corpus": self.corpus,
            **figures,
            **({"unknown_speakers": self.unknown_speakers} if self.unknown_speakers else {}),
            "refused": list(self.unreadable),
            **({"adapted": self.adapted.to_json()} if self.adapted else {}),
            **(
                {"by_corpus": [part.to_json() for part in self.by_corpus]} if self.by_corpus else {}
            ),
        }


def select_test_clips(
    utterances: Sequence[Utterance], speakers: str, description: Description
) -> tuple[Utterance, ...]:
    """Clips of "all" speakers, of those "unseen" by the checkpoint, or of ids with commas between.

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
    unseen = tuple(u for u in utterances if u.speaker_key not in seen)
    if not unseen:
        raise SerdemoError(
            f"{description.name} was trained or selected on every speaker here, so none is unseen;"
            " give --speakers all to score it on them all the same."
        )
    return unseen


def calibrate(
    predictor: Predictor, utterances: Sequence[Utterance], coverage: float = calibration.COVERAGE
) -> Description:
    """Description with temperature and `unsure_below` fitted on labelled clips (temperature scaling).

    Fitted on the probabilities of whole clips, so give clips that the model was not trained on. At
    least the share `coverage` of them stays sure. Without a clip of a class of the model, the
    description is returned unchanged.
    """
    labels, before = predictor.labels, predictor.description.temperature
    try:
        predictions = predict_dataset(predictor, utterances)
    except SerdemoError:
        return predictor.description
    if not predictions.files:
        return predictor.description
    truth = [labels.index(name) for name in predictions.truth]
    logits = before * np.log(np.clip(predictions.probabilities, 1e-12, None))
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
    adapt: int = 0,
) -> Report:
    """Score a checkpoint on labelled clips; `progress` gets the number of clips done.

    With `adapt` they are also scored after unlabelled adaptation to so many other clips of each
    speaker.

    The predicted class is the argmax over all labels of the checkpoint; recall is averaged over the
    classes present. Clips of several corpora are scored together and per corpus. Raises UsageError
    without clips of a class of the model, SerdemoError when none can be read.
    """
    require_classifier(predictor.description)
    if adapt:
        require_known(utterances, "nothing can be adapted to each of them")
    scores_adapted = AdaptationScores(predictor) if adapt else None
    on_output = scores_adapted.add if scores_adapted else lambda output: None
    predictions = predict_dataset(predictor, utterances, progress=progress, on_output=on_output)
    if not predictions.files:
        raise UsageError(
            f"None of these clips carries an emotion that {predictor.name} knows"
            f" ({', '.join(predictor.labels)})."
        )
    seen = seen_speakers(predictor.description)
    speakers_known = not predictor.description.is_foreign
    adapted = scores_adapted and scores_adapted.adapted(predictions, adapt)

    def report(name: str, part: PredictionSet, by_corpus: tuple[Report, ...] = ()) -> Report:
        gain = None
        if adapted:
            other = adapted if part is predictions else adapted.of(name)
            gain = compare_adapted(part, other, adapt)
        scores = score(part)
        assert scores is not None  # there is a clip, and each is of a class of the model
        unseen = speakers_known and are_unseen(seen, part.speakers)
        errors = tuple(error for _, error in part.unreadable)
        unknown = sum(not is_known_speaker(key) for key in part.speakers)
        return Report(
            *(predictor.name, name, scores, unseen, errors, by_corpus, gain, unknown),
            speakers_known=speakers_known,
        )

    corpora = sorted(set(predictions.corpora))
    by_corpus = [report(name, predictions.of(name)) for name in corpora] if corpora[1:] else []
    return report(corpus, predictions, tuple(by_corpus))
