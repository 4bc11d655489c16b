"""One voice and the model it teaches: clips heard once by the frozen network, the last layer moved.

See `personal` for how it is moved. What is heard of a clip here is what `Predictor` answers it by.
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
from scipy.stats import binomtest
from torch import nn
from torch.nn import functional

from serdemo import __version__
from serdemo.audio import waveform
from serdemo.audio.waveform import SAMPLE_RATE, Samples
from serdemo.data.splits import Split
from serdemo.inference.aggregation import aggregate
from serdemo.inference.predictor import Predictor
from serdemo.nn import checkpoint, provenance
from serdemo.nn.description import Description
from serdemo.runs.adaptation import classifier as personal
from serdemo.runs.adaptation.classifier import AdaptedHead, Floats, Head
from serdemo.schema.errors import UsageError
from serdemo.schema.types import Utterance

# How fast a clip is heard once more to learn from, pitch and pace together. Chosen on the selection
# speakers, where more speeds, noise, rooms and parts of a clip brought nothing beside them.
SPEEDS = (0.86, 1.15)
BATCH_SIZE = 4  # clips that go through the network together


@dataclass(frozen=True, slots=True, eq=False)
class ClipFeatures:
    """A clip as the last layer is given it: `rows` (W, E) of its windows, which count by `weights`
    (W,) summing to 1, and `others` (V, E), of the clip heard faster and slower.

    `speech` says whether a voice was found in it at all.
    """

    rows: Floats
    weights: Floats
    others: Floats
    speech: bool

    @property
    def ways(self) -> Floats:
        """(1 + V, E): as it is, then the other ways; what `personal.teach` learns from."""
        whole: Floats = np.concatenate([(self.weights @ self.rows)[None], self.others])
        return whole

    def answer(self, head: Head) -> Floats:
        """The probabilities (C,) that a model with this last layer gives."""
        shares: Floats = self.weights @ softmax(head.logits(self.rows), axis=1)
        return shares


def extract_features(
    predictor: Predictor, clips: Sequence[waveform.Clip]
) -> Iterator[ClipFeatures]:
    """Each clip as the last layer of this model is given it, some at a time."""
    for start in range(0, len(clips), BATCH_SIZE):
        outputs = predictor.score_clips(clips[start : start + BATCH_SIZE], segments=True)
        # That with most speech, or that which holds all of a short sound.
        fullest = [
            max(output.windows, key=lambda window: (window.whole, window.speech_ratio))
            for output in outputs
        ]
        perturbed = [wave for window in fullest for wave in _speed_perturbed(window.wave)]
        others = _hidden(predictor, predictor.embeddings(perturbed))
        for output, own in zip(outputs, np.split(others, len(outputs)), strict=True):
            windows = output.windows
            rows = _hidden(predictor, output.window_embeddings)
            weights = aggregate(windows, np.eye(len(windows)))
            has_speech = any(window.speech_ratio > 0 for window in windows)
            yield ClipFeatures(rows, weights, own, has_speech)


def head_of(predictor: Predictor) -> Head:
    """The last layer of a model, with its temperature."""
    _, last = _layers(predictor.model.classifier)
    weight, bias = (p.detach().cpu().double().numpy() for p in (last.weight, last.bias))
    return Head(weight, bias, predictor.description.temperature)


@dataclass(frozen=True, slots=True, eq=False)
class AdaptationReport:
    """What a voice taught a model: `truth` (N,) are the clips' classes among `labels`."""

    labels: tuple[str, ...]
    truth: tuple[int, ...]
    taught: AdaptedHead

    @property
    def clips(self) -> dict[str, int]:
        """How many clips of which emotion."""
        count = Counter(self.truth)
        return {self.labels[one]: count[one] for one in sorted(count)}

    @property
    def right(self) -> tuple[int, int]:
        """How many clips are answered rightly by the model as it was, and by one taught without
        the clip in question."""
        truth = np.array(self.truth)
        before, after = (
            int((logits.argmax(1) == truth).sum())
            for logits in (self.taught.before, self.taught.after)
        )
        return before, after

    @property
    def recalls(self) -> tuple[float, float]:
        """The same as unweighted average recalls."""
        before, after = self.taught.before, self.taught.after
        return personal.recall(before, self.truth), personal.recall(after, self.truth)

    @property
    def sure(self) -> bool:
        """Whether that is more than chance: an exact sign test of the clips that only one of the
        two answers rightly, at 5 %."""
        right = np.stack([self.taught.before.argmax(1), self.taught.after.argmax(1)]) == self.truth
        lost, gained = (int((right[i] & ~right[1 - i]).sum()) for i in (0, 1))
        return bool(gained + lost and binomtest(gained, gained + lost).pvalue < 0.05)

    def to_json(self) -> dict[str, Any]:
        """As `model.json` keeps it."""
        (before, after), (right_before, right_after) = self.recalls, self.right
        return {
            "clips": self.clips,
            "left_out_uar_before": before,
            "left_out_uar": after,
            "right_before": right_before,
            "right": right_after,
            "sure": self.sure,
            "n": len(self.truth),
            "heads": self.taught.heads,
        }


def adapt(
    predictor: Predictor, voiced: Sequence[ClipFeatures], truth: Sequence[int]
) -> AdaptationReport:
    """Teach a model a voice by clips and their classes; raises as `personal.teach`."""
    if not voiced:
        raise UsageError(personal.TOO_FEW_CLIPS)
    ways = np.stack([one.ways for one in voiced])
    found = personal.adapt_classifier(head_of(predictor), ways, list(truth))
    return AdaptationReport(predictor.labels, tuple(truth), found)


def save(
    predictor: Predictor, lesson: AdaptationReport, clips: Sequence[Utterance], folder: Path
) -> Description:
    """Write the model that was taught as a checkpoint, named after the folder that holds it, and
    return its description.

    Its test figures are not taken over: they are those of another model. Raises SerdemoError when it
    cannot be written.
    """
    model, start = checkpoint.load(predictor.folder)
    _, last = _layers(model.classifier)
    head = lesson.taught.head
    with torch.no_grad():
        last.weight.copy_(torch.from_numpy(head.weight))
        last.bias.copy_(torch.from_numpy(head.bias))
    described = replace(
        start,
        name=folder.parent.name,
        recipe="personal",
        options={"init_from": start.name},
        temperature=head.temperature,
        trained_on=provenance.merge_tables(start.trained_on, provenance.speakers_of(clips)),
        split=Split(train=tuple(clips)).fingerprint,
        metrics={
            "parameters": sum(p.numel() for p in model.parameters()),
            "voice": {"start": start.name, **lesson.to_json()},
        },
        code_version=__version__,
    )
    checkpoint.save(folder, model, described)
    return described


def _speed_perturbed(wave: Samples) -> list[Samples]:
    return [soxr.resample(wave, SAMPLE_RATE * f, SAMPLE_RATE) for f in SPEEDS]


def _hidden(predictor: Predictor, embeddings: NDArray[np.float32]) -> Floats:
    """Input (n, H) of the last linear layer for embeddings (n, E)."""
    before, _ = _layers(predictor.model.classifier)
    with torch.inference_mode():
        rows = torch.from_numpy(embeddings).to(predictor.device)
        found: Floats = before(functional.silu(rows)).cpu().double().numpy()
    return found


def _layers(classifier: nn.Module) -> tuple[nn.Module, nn.Linear]:
    """All of a classifier but its last layer, and that."""
    before: nn.Module = nn.Identity()
    if isinstance(classifier, nn.Sequential):
        before, classifier = classifier[:-1], classifier[-1]
    assert isinstance(classifier, nn.Linear)
    return before, classifier
