"""What recipes share: which classes count, and how a model is scored on speakers left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from serdemo.data.dataset import ClipDataset
from serdemo.data.loader import scoring_batches
from serdemo.metrics import calibration, classification
from serdemo.nn.model import Model
from serdemo.schema.errors import UsageError
from serdemo.schema.options import Options, option
from serdemo.schema.types import EMOTIONS, Utterance
from serdemo.training.recipes.base import Validation

SCORED_SECONDS = 6.0


@dataclass(frozen=True)
class ClassOptions(Options):
    """Which emotions are classes."""

    seven: bool = option(True, "seven classes: calm counts as neutral, boredom is left out")

    def classes(self, utterances: Sequence[Utterance]) -> tuple[Utterance, ...]:
        """The utterances with their class as the emotion; those without one are left out."""
        if not self.seven:
            return tuple(utterances)
        classes = [classification.class_of(u.emotion, EMOTIONS) for u in utterances]
        return tuple(replace(u, emotion=c) for u, c in zip(utterances, classes, strict=True) if c)

    def labels(self, train: Sequence[Utterance]) -> tuple[str, ...]:
        """The outputs of a model trained on these; raises UsageError for fewer than two emotions."""
        found = {u.emotion for u in self.classes(train)}
        if len(found) < 2:
            raise UsageError(
                f"Training needs clips of at least two emotions; found {', '.join(found) or 'none'}."
            )
        return EMOTIONS if self.seven else tuple(sorted(found))

    def known(self, utterances: Sequence[Utterance], labels: Sequence[str]) -> list[Utterance]:
        """Those of the utterances whose class is among `labels`."""
        return [u for u in self.classes(utterances) if u.emotion in labels]


@torch.inference_mode()
def embed(model: Model, clips: ClipDataset, batch_size: int) -> np.ndarray:
    """The float32 (N, E) embeddings of whole clips (their first 6 s)."""
    device = next(model.parameters()).device
    rows = torch.zeros(len(clips), model.options.embedding)
    for batch in scoring_batches(clips, batch_size, SCORED_SECONDS):
        batch = batch.to(device)
        rows[batch.index.cpu()] = model.embed(batch.wave, batch.lengths).float().cpu()
    return rows.numpy()


@torch.inference_mode()
def validate(model: Model, clips: ClipDataset, batch_size: int) -> Validation | None:
    """Score whole clips (their first 6 s). The score is the mean of the corpora's UAR."""
    if not len(clips):
        return None
    device = next(model.parameters()).device
    logits = torch.zeros(len(clips), len(model.labels))
    for batch in scoring_batches(clips, batch_size, SCORED_SECONDS):
        batch = batch.to(device)
        logits[batch.index.cpu()] = model.logits(batch.wave, batch.lengths).float().cpu()
    return validation_metrics(logits, clips, model.labels)


def validation_metrics(
    logits: torch.Tensor, clips: ClipDataset, labels: Sequence[str]
) -> Validation:
    """What (N, C) logits of N clips are worth."""
    truth = clips.emotion.numpy()
    named = np.array(labels)
    guess = named[logits.argmax(1).numpy()]
    matrix = classification.confusion(named[truth], guess, labels)
    corpus = np.array([u.corpus for u in clips.utterances])
    by_corpus = {
        f"uar_{name}": classification.uar(
            classification.confusion(named[truth][corpus == name], guess[corpus == name], labels)
        )
        for name in sorted(set(corpus))
    }
    figures = {"uar": float(np.mean(list(by_corpus.values()))), **by_corpus}
    temperature = calibration.fit_temperature(logits.numpy(), truth)
    confidence = (logits / temperature).softmax(1).amax(1).numpy()
    return Validation(
        score=figures["uar"],
        metrics=figures,
        labels=tuple(labels),
        confusion=tuple(tuple(int(n) for n in row) for row in matrix),
        temperature=temperature,
        unsure_below=calibration.threshold_for_coverage(confidence, calibration.COVERAGE),
    )
