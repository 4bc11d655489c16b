"""Features of one speaker's clips, the adaptation of a model to them, and the saved checkpoint.

The network stays frozen: each clip goes through it once, by the windows that `Predictor` scores.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import nn
from torch.nn import functional

from serdemo import __version__
from serdemo.audio import waveform
from serdemo.audio.waveform import SAMPLE_RATE
from serdemo.data.splits import Split
from serdemo.inference.aggregation import aggregate
from serdemo.inference.predictor import Predictor
from serdemo.nn import checkpoint, provenance
from serdemo.nn.description import Description
from serdemo.runs.adaptation.classifier import (
    TOO_FEW_CLIPS,
    AdaptedHead,
    Floats,
    Head,
    adapt_classifier,
    recall,
)
from serdemo.schema.errors import UsageError
from serdemo.schema.types import Utterance

# Speed perturbation of the views that are trained on besides the clip, pitch and pace together.
# Selected on the selection speakers, where further speeds, noise, rooms and crops did not help.
SPEEDS = (0.86, 1.15)
BATCH_SIZE = 4  # clips that go through the network together


@dataclass(frozen=True, slots=True, eq=False)
class ClipFeatures:
    """Input of the last layer for a clip: `windows` (W, E), and `perturbed` (V, E) of the clip at
    other speeds.

    `weights` (W,) of the windows sum to 1. `has_speech` says whether speech was found in the clip.
    """

    windows: Floats
    weights: Floats
    perturbed: Floats
    has_speech: bool

    @property
    def views(self) -> Floats:
        """(1 + V, E): the clip, then its perturbed versions; input of `adapt_classifier`."""
        stacked: Floats = np.concatenate([(self.weights @ self.windows)[None], self.perturbed])
        return stacked

    def probabilities(self, head: Head) -> Floats:
        """Probabilities (C,) of the clip by a model with this last layer."""
        mean: Floats = self.weights @ softmax(head.logits(self.windows), axis=1)
        return mean


def extract_features(
    predictor: Predictor, clips: Sequence[waveform.Clip]
) -> Iterator[ClipFeatures]:
    """Features of each clip, computed in batches."""
    for start in range(0, len(clips), BATCH_SIZE):
        outputs = predictor.score_clips(clips[start : start + BATCH_SIZE], segments=True)
        # The window with most speech, or that which holds all of a short clip.
        fullest = [
            max(output.windows, key=lambda window: (window.whole, window.speech_ratio))
            for output in outputs
        ]
        waves = [
            soxr.resample(window.wave, SAMPLE_RATE * factor, SAMPLE_RATE)
            for window in fullest
            for factor in SPEEDS
        ]
        perturbed = _hidden(predictor, predictor.embeddings(waves))
        for output, views in zip(outputs, np.split(perturbed, len(outputs)), strict=True):
            yield ClipFeatures(
                _hidden(predictor, output.window_embeddings),
                aggregate(output.windows, np.eye(len(output.windows))),
                views,
                any(window.speech_ratio > 0 for window in output.windows),
            )


def head_of(predictor: Predictor) -> Head:
    """The last layer of a model, with its temperature."""
    _, last = _layers(predictor.own_model.classifier)
    weight, bias = (p.detach().cpu().double().numpy() for p in (last.weight, last.bias))
    return Head(weight, bias, predictor.description.temperature)


@dataclass(frozen=True, slots=True, eq=False)
class AdaptationReport:
    """An adapted model and its cross-validation: `truth` (N,) are the clips' classes, as indices into
    `labels`."""

    labels: tuple[str, ...]
    truth: tuple[int, ...]
    adapted: AdaptedHead

    @property
    def clips(self) -> dict[str, int]:
        """The number of clips of each emotion."""
        counts = Counter(self.truth)
        return {self.labels[index]: counts[index] for index in sorted(counts)}

    @property
    def recalls(self) -> tuple[float, float]:
        """Unweighted average recall before and after, by heads fitted without the clip in question."""
        after = [recall(logits, self.truth) for logits in self.adapted.after]
        return recall(self.adapted.before, self.truth), float(np.mean(after))

    def to_json(self) -> dict[str, Any]:
        """The report as stored in `model.json`."""
        (uar_before, uar), gain = self.recalls, self.adapted.gain
        return {
            "clips": self.clips,
            "left_out_uar_before": uar_before,
            "left_out_uar": uar,
            "gain": gain.gain,
            "gain_ci95": [gain.low, gain.high],
            "n": len(self.truth),
            "heads": self.adapted.n_heads,
        }


def adapt(
    predictor: Predictor, features: Sequence[ClipFeatures], truth: Sequence[int]
) -> AdaptationReport:
    """Adapt a model to clips of one speaker with these classes; raises as `adapt_classifier`."""
    if not features:
        raise UsageError(TOO_FEW_CLIPS)
    views = np.stack([clip.views for clip in features])
    adapted = adapt_classifier(head_of(predictor), views, list(truth))
    return AdaptationReport(predictor.labels, tuple(truth), adapted)


def save(
    predictor: Predictor, report: AdaptationReport, clips: Sequence[Utterance], folder: Path
) -> Description:
    """Save the adapted model as a checkpoint, named after the parent of `folder`, without the test results of the
    original model; returns its description. Raises SerdemoError when it cannot be written."""
    model, start = checkpoint.load(predictor.folder)
    _, last = _layers(model.classifier)
    head = report.adapted.head
    with torch.no_grad():
        last.weight.copy_(torch.from_numpy(head.weight))
        last.bias.copy_(torch.from_numpy(head.bias))
    description = replace(
        start,
        name=folder.parent.name,
        recipe="personal",
        options={"init_from": start.name},
        temperature=head.temperature,  # fitted to this voice, so that its novelty counts no more
        novelty={},
        trained_on=provenance.merge_tables(start.trained_on, provenance.speakers_of(clips)),
        split=Split(train=tuple(clips)).fingerprint,
        metrics={
            "parameters": sum(p.numel() for p in model.parameters()),
            "voice": {"start": start.name, **report.to_json()},
        },
        code_version=__version__,
    )
    checkpoint.save(folder, model, description)
    return description


def _hidden(predictor: Predictor, embeddings: NDArray[np.float32]) -> Floats:
    """Input (n, H) of the last linear layer for embeddings (n, E)."""
    first_layers, _ = _layers(predictor.own_model.classifier)
    with torch.inference_mode():
        rows = torch.from_numpy(embeddings).to(predictor.device)
        hidden: Floats = first_layers(functional.silu(rows)).cpu().double().numpy()
    return hidden


def _layers(classifier: nn.Module) -> tuple[nn.Module, nn.Linear]:
    """All layers of a classifier but the last, and the last."""
    first_layers: nn.Module = nn.Identity()
    if isinstance(classifier, nn.Sequential):
        first_layers, classifier = classifier[:-1], classifier[-1]
    assert isinstance(classifier, nn.Linear)
    return first_layers, classifier
