"""Emotion classes, and the scores of a model on the validation speakers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from serdemo.data.dataset import ClipDataset
from serdemo.data.loader import scoring_batches
from serdemo.metrics import calibration, classification
from serdemo.nn.model import Model
from serdemo.schema.errors import UsageError
from serdemo.schema.options import Options, option
from serdemo.schema.types import EMOTIONS, Utterance
from serdemo.training.recipes.base import Validation

MAX_SECONDS = 6.0  # of each clip


@dataclass(frozen=True)
class ClassOptions(Options):
    """Which emotions are classes."""

    seven: bool = option(True, "seven classes: calm counts as neutral, boredom is left out")

    def classes(self, utterances: Sequence[Utterance]) -> tuple[Utterance, ...]:
        """The utterances with their class as the emotion; those without a class are left out."""
        if not self.seven:
            return tuple(utterances)
        classes = [classification.class_of(u.emotion, EMOTIONS) for u in utterances]
        return tuple(replace(u, emotion=c) for u, c in zip(utterances, classes, strict=True) if c)

    def labels(self, train: Sequence[Utterance]) -> tuple[str, ...]:
        """The labels of a model trained on these; raises UsageError for fewer than two emotions."""
        emotions = sorted({u.emotion for u in self.classes(train)})
        if len(emotions) < 2:
            raise UsageError(
                "Training needs clips of at least two emotions; found"
                f" {', '.join(emotions) or 'none'}."
            )
        return EMOTIONS if self.seven else tuple(emotions)

    def known(self, utterances: Sequence[Utterance], labels: Sequence[str]) -> list[Utterance]:
        """The utterances whose class is among `labels`, with it as the emotion."""
        return [u for u in self.classes(utterances) if u.emotion in labels]


@torch.inference_mode()
def embed(model: Model, clips: ClipDataset, batch_size: int) -> Tensor:
    """Embeddings (N, E), float32 on the CPU, of N clips (their first 6 s)."""
    device = next(model.parameters()).device
    rows = torch.zeros(len(clips), model.options.embedding)
    for batch in scoring_batches(clips, batch_size, MAX_SECONDS):
        rows[batch.index] = model.embed_batch(batch.to(device)).float().cpu()
    return rows


@torch.inference_mode()
def validate(model: Model, clips: ClipDataset, batch_size: int) -> Validation | None:
    """Score a model on clips (their first 6 s) by the mean UAR of their corpora; None without any."""
    if not len(clips):
        return None
    device = next(model.parameters()).device
    logits = torch.zeros(len(clips), len(model.labels))
    for batch in scoring_batches(clips, batch_size, MAX_SECONDS):
        embedding = model.embed_batch(batch.to(device))
        logits[batch.index] = model.classify(embedding).float().cpu()
    return validation_metrics(logits, clips, model.labels)


def validation_metrics(logits: Tensor, clips: ClipDataset, labels: Sequence[str]) -> Validation:
    """Scores of (N, C) logits of N clips, with a temperature and a threshold fitted on them."""
    names = np.array(labels)
    truth, predicted = names[clips.emotion.numpy()], names[logits.argmax(1).numpy()]
    matrix = classification.confusion(truth, predicted, labels)
    corpus = np.array([u.corpus for u in clips.utterances])
    by_corpus = {
        f"uar_{name}": classification.uar(
            classification.confusion(truth[corpus == name], predicted[corpus == name], labels)
        )
        for name in sorted(set(corpus))
    }
    metrics = {"uar": float(np.mean(list(by_corpus.values()))), **by_corpus}
    temperature = calibration.fit_temperature(logits.numpy(), clips.emotion.numpy())
    confidence = (logits / temperature).softmax(1).amax(1).numpy()
    return Validation(
        score=metrics["uar"],
        metrics=metrics,
        labels=tuple(labels),
        confusion=tuple(tuple(int(n) for n in row) for row in matrix),
        temperature=temperature,
        unsure_below=calibration.threshold_for_coverage(confidence, calibration.COVERAGE),
    )
