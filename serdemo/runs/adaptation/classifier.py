"""Adaptation of a linear classifier to one speaker, evaluated by leave-one-out; functions on arrays.

The last linear layer is refitted by logistic regression with the original layer as prior mean (a
maximum a posteriori estimate): the fewer the clips, and the better they fit, the less it moves.
Classes without clips keep their weights; a pseudo-sample at their expected position keeps the other
classes from taking over that region.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from serdemo.metrics import calibration
from serdemo.schema.errors import SerdemoError, UsageError

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

# Candidates for the L2 penalty on the change of the weights, for features scaled to an RMS distance
# of 1 from the speaker's mean. On the selection speakers larger ones hardly ever helped, but were
# sometimes selected by chance.
L2_STRENGTHS = (0.003, 0.001)
MIN_CLIPS = 2  # per class: one must be left to learn from when the other is left out
MAX_FOLDS = 48  # with more clips, several are left out at a time
MAX_ITERATIONS = 200
TOO_FEW_CLIPS = (
    "To learn a voice, at least two clips each of two emotions that the model knows are needed:"
    " record some more."
)


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A linear layer: `weight` (C, E), `bias` (C,), and the temperature that divides its logits."""

    weight: Floats
    bias: Floats
    temperature: float = 1.0

    def logits(self, features: Floats) -> Floats:
        """(N, E) features -> (N, C) logits, divided by the temperature."""
        scaled: Floats = (features @ self.weight.T + self.bias) / self.temperature
        return scaled


@dataclass(frozen=True, slots=True, eq=False)
class AdaptedHead:
    """An adapted head and its leave-one-out evaluation.

    `before` (N, C) are the logits of the original head for the N clips; `after` (N, C) those of heads
    fitted without the clip in question, their penalty selected without it too. `n_heads` counts these
    heads: N for leave-one-out. `l2_strength` is the selected penalty, infinite when no change helped;
    only the temperature then differs from the original head.
    """

    head: Head
    before: Floats
    after: Floats
    n_heads: int
    l2_strength: float


def adapt_classifier(head: Head, features: ArrayLike, truth_index: ArrayLike) -> AdaptedHead:
    """Adapt a head to a speaker's N clips with features (N, V, E) and true classes (N,) below C.

    The V views of a clip are the clip itself, then perturbed versions of it, which are trained on but
    not evaluated. Deterministic. Raises UsageError unless there are two classes and every class
    present has `MIN_CLIPS` clips, SerdemoError for arrays that do not fit together.
    """
    views, truth = _checked(head, features, truth_index)
    n_clips, n_views = views.shape[:2]
    classes, class_of_clip, counts = np.unique(truth, return_inverse=True, return_counts=True)
    if len(classes) < 2 or counts.min() < MIN_CLIPS:
        raise UsageError(TOO_FEW_CLIPS)
    one_hot = np.eye(len(head.bias))
    absent = np.setdiff1d(np.arange(len(head.bias)), classes)
    samples = views.transpose(1, 0, 2).reshape(-1, views.shape[2])  # the clips, then other views
    space = _Space.of(samples, _pseudo_samples(head, samples, absent))
    targets = one_hot[np.concatenate([np.tile(truth, n_views), absent])]
    offset = head.logits(space.rows)
    before = offset[:n_clips]

    fold_of_clip = _folds(class_of_clip)
    n_folds = int(fold_of_clip.max()) + 1
    # (n_folds + 1, N): clips to train on in each fold; the last row trains on all.
    training = fold_of_clip[None, :] != np.arange(n_folds + 1)[:, None]
    weights = np.stack([_balanced(class_of_clip, row, n_views, len(absent)) for row in training])

    # The first candidate is no change, as by an infinite penalty.
    change = np.zeros((n_folds + 1, space.points.shape[1], len(classes)))
    changes, logits = [change], [before]
    for strength in L2_STRENGTHS:
        change = _fit(space.points, offset, one_hot[classes], targets, weights, strength, change)
        changes.append(change)
        logit_change = np.einsum("nr,nrk->nk", space.points[:n_clips], change[fold_of_clip])
        logits.append(before + logit_change @ one_hot[classes])

    # Brier score: proper, and a single clip that is plainly wrong does not outweigh all the others.
    error = softmax(np.stack(logits), axis=2) - targets[:n_clips]
    brier = weights[-1, :n_clips] * (error**2).sum(2)  # (candidates, N)
    # The penalty for evaluating a clip is selected on the other clips.
    selected = (brier.sum(1, keepdims=True) - brier).argmin(0)
    after = np.stack(logits)[selected, np.arange(n_clips)]
    best = int(brier.sum(1).argmin())

    weight, bias = head.weight.copy(), head.bias.copy()
    weight_change, bias_change = space.to_weights(changes[best][-1])
    weight[classes] += head.temperature * weight_change
    bias[classes] += head.temperature * bias_change
    # A few clips can show overconfidence, but hardly underconfidence.
    temperature = max(1.0, calibration.fit_temperature(after, truth))
    return AdaptedHead(
        head=Head(weight, bias, head.temperature * temperature),
        before=before,
        after=after / temperature,
        n_heads=n_folds,
        l2_strength=(np.inf, *L2_STRENGTHS)[best],
    )


def recall(logits: Floats, truth_index: ArrayLike) -> float:
    """Unweighted average recall of the largest of (N, C) logits, over the classes in the truth."""
    rows, truth = calibration.check_rows(logits, truth_index)
    correct = rows.argmax(1) == truth
    return float(np.mean([correct[truth == label].mean() for label in np.unique(truth)]))


def _pseudo_samples(head: Head, features: Floats, absent: Indices) -> Floats:
    """Expected features of the speaker's classes without clips: (len(absent), E).

    In a trained classifier the mean of a class lies in the direction of its weights (neural
    collapse, arXiv 2008.08186). The distance is that of the clips' spread in these directions.
    """
    mean = features.mean(0)
    directions = head.weight - head.weight.mean(0)
    _, lengths, axes = np.linalg.svd(directions, full_matrices=False)
    projected = (features - mean) @ axes[lengths > 1e-6 * max(lengths[0], 1e-12)].T
    size = np.sqrt((directions**2).sum(1).mean()) or 1.0
    scale = np.sqrt((projected**2).sum(1).mean()) / size
    expected: Floats = mean + scale * directions[absent]
    return expected


@dataclass(frozen=True, slots=True, eq=False)
class _Space:
    """Clips and pseudo-samples as features `rows` (M, E), and as `points` (M, R) in coordinates in
    which a penalty means the same for every model.

    Points are features minus the mean of the clips, divided by the RMS distance of the clips from it,
    and rotated onto their principal axes (R - 1, E); the last coordinate is 1, for the bias. Labels
    are not used.
    """

    rows: Floats
    points: Floats
    axes: Floats
    mean: Floats
    scale: float

    @classmethod
    def of(cls, features: Floats, pseudo_samples: Floats) -> _Space:
        rows, mean = np.concatenate([features, pseudo_samples]), features.mean(0)
        scale = float(np.sqrt(((features - mean) ** 2).sum(1).mean())) or 1.0
        _, _, axes = np.linalg.svd(rows - mean, full_matrices=False)
        points = np.concatenate([(rows - mean) @ axes.T / scale, np.ones((len(rows), 1))], axis=1)
        return cls(rows, points, axes, mean, scale)

    def to_weights(self, change: Floats) -> tuple[Floats, Floats]:
        """A change (R, K) in these coordinates as one of weights (K, E) and biases (K,)."""
        weight_change = change[:-1].T @ self.axes / self.scale
        return weight_change, change[-1] - weight_change @ self.mean


def _fit(
    points: Floats,
    offset: Floats,
    columns: Floats,
    targets: Floats,
    weights: Floats,
    l2_strength: float,
    start: Floats,
) -> Floats:
    """Fit changes (G, R, K) of K `columns` (K, C) of logits for G sets of sample weights (G, M).

    Each minimises its weighted cross-entropy of the `offset` logits (M, C) plus the change against
    `targets` (M, C), plus `l2_strength` / 2 times the squared norm of the change.
    """
    weighted_targets = weights[:, :, None] * targets

    def loss(flat: Floats) -> tuple[float, Floats]:
        change = flat.reshape(start.shape)
        log_probs = log_softmax(offset + points @ change @ columns, axis=2)
        residual = (weights[:, :, None] * np.exp(log_probs) - weighted_targets) @ columns.T
        gradient = points.T @ residual + l2_strength * change
        penalty = l2_strength / 2 * float(flat @ flat)
        return -float((weighted_targets * log_probs).sum()) + penalty, gradient.ravel()

    options = {"maxiter": MAX_ITERATIONS, "ftol": 1e-10}
    solution = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    change: Floats = solution.x.reshape(start.shape)
    return change


def _balanced(
    class_of_clip: Indices, training: NDArray[np.bool_], n_views: int, n_absent: int
) -> Floats:
    """Sample weights (M,) that sum to 1, equal per class, of the views of the training clips and of
    one pseudo-sample per absent class."""
    counts = np.bincount(class_of_clip[training], minlength=int(class_of_clip.max()) + 1)
    clips = np.where(training, 1.0 / np.maximum(counts[class_of_clip], 1) / n_views, 0.0)
    weights: Floats = np.concatenate([np.tile(clips, n_views), np.ones(n_absent)])
    return weights / (len(counts) + n_absent)


def _folds(class_of_clip: Indices) -> Indices:
    """Fold of each clip: leave-one-out, with more clips `MAX_FOLDS` folds stratified by class."""
    folds = np.empty(len(class_of_clip), dtype=np.intp)
    folds[np.argsort(class_of_clip, kind="stable")] = np.arange(len(class_of_clip)) % MAX_FOLDS
    return folds


def _checked(head: Head, features: ArrayLike, truth_index: ArrayLike) -> tuple[Floats, Indices]:
    views = np.asarray(features, dtype=np.float64)
    if views.ndim != 3 or not views.size or views.shape[2] != head.weight.shape[1]:
        raise SerdemoError(
            f"Features of shape {views.shape} do not fit: (clips, views, {head.weight.shape[1]}) with"
            " at least one clip are needed."
        )
    if not np.isfinite(views).all():
        raise SerdemoError("The features hold values that are not finite.")
    _, truth = calibration.check_rows(head.logits(views[:, 0]), truth_index)
    return views, truth
