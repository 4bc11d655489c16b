"""Adaptation of a linear classifier to one speaker, cross-validated; functions on arrays.

The logits of the original layer are divided by a temperature fitted to the clips, so that it counts
as much as it understands this voice. The layer is then refitted by logistic regression with that as
prior mean (a maximum a posteriori estimate): the better the clips fit, the less it moves.
Classes without clips keep their weights; a pseudo-sample at their expected position keeps the other
classes from taking over that region.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from serdemo.metrics import calibration
from serdemo.runs.adaptation.gain import GainEstimate, estimate_gain
from serdemo.schema.errors import SerdemoError, UsageError

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

# L2 penalties on the change of the weights, for features scaled to an RMS distance of 1 from the
# speaker's mean: for voices that the model does not understand, and for those that it does.
L2_STRENGTHS = (0.001, 0.1)
MIN_CLIPS = 2  # per class: one must be left to learn from when the other is held out
PARTITIONS = 4  # into folds, at random: the mean over them varies less
MAX_FOLDS = 10  # with more clips of a class, several are held out at a time
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
    """An adapted head and its cross-validation.

    `before` (N, C) are the logits of the original head for the N clips; `after` (PARTITIONS, N, C)
    those of heads fitted without the clip in question, by partition. `gain` is what the head should
    gain on other clips of the speaker. `l2_strength` is the penalty that
    predicted held-out clips best, `n_heads` counts the heads of a partition.
    """

    head: Head
    before: Floats
    after: Floats
    gain: GainEstimate
    l2_strength: float
    n_heads: int


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

    fold_of_clip = _partitions(class_of_clip, before[np.arange(n_clips), truth])
    # (G + 1, N): clips to train on for each fold of each partition; the last row trains on all.
    training = np.concatenate(
        [fold_of_clip != fold for fold in range(fold_of_clip.max() + 1)]
        + [np.ones((1, n_clips), bool)]
    )
    weights = np.stack([_balanced(class_of_clip, row, n_views, len(absent)) for row in training])
    # Few clips can show overconfidence, but hardly underconfidence.
    temperatures = np.array(
        [max(1.0, calibration.fit_temperature(before[row], truth[row])) for row in training]
    )
    prior = offset / temperatures[:, None, None]
    held_out = fold_of_clip * PARTITIONS + np.arange(PARTITIONS)[:, None]  # rows of `training`
    fits = []
    for strength in L2_STRENGTHS:
        change = _fit(space.points, prior, one_hot[classes], targets, weights, strength)
        logits = prior[:, :n_clips] + space.points[:n_clips] @ change @ one_hot[classes]
        after = logits[held_out, np.arange(n_clips)]
        likelihood = log_softmax(after, axis=2)[:, np.arange(n_clips), truth].mean()
        fits.append((float(likelihood), strength, change[-1], after))
    _, l2_strength, change, after = max(fits, key=lambda fit: fit[0])
    train_counts = np.stack(
        [np.bincount(class_of_clip[row], minlength=len(classes)) for row in training]
    )
    gain = estimate_gain(
        before.argmax(1) == truth,
        (after.argmax(2) == truth).mean(0),
        truth,
        train_counts[held_out, class_of_clip].mean(0),
    )

    weight, bias = head.weight.copy(), head.bias.copy()
    weight_change, bias_change = space.to_weights(change)
    scale = head.temperature * temperatures[-1]
    weight[classes] += scale * weight_change
    bias[classes] += scale * bias_change
    temperature = max(
        1.0, calibration.fit_temperature(after.reshape(-1, len(bias)), np.tile(truth, PARTITIONS))
    )
    return AdaptedHead(
        head=Head(weight, bias, scale * temperature),
        before=before,
        after=after / temperature,
        gain=gain,
        l2_strength=l2_strength,
        n_heads=int(fold_of_clip.max()) + 1,
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
    prior: Floats,
    columns: Floats,
    targets: Floats,
    weights: Floats,
    l2_strength: float,
) -> Floats:
    """Fit changes (G, R, K) of K `columns` (K, C) of logits for G sets of sample weights (G, M).

    Each minimises the weighted cross-entropy of its `prior` logits (G, M, C) plus the change against
    `targets` (M, C), plus `l2_strength` / 2 times the squared norm of the change.
    """
    shape = (len(weights), points.shape[1], len(columns))
    weighted_targets = weights[:, :, None] * targets

    def loss(flat: Floats) -> tuple[float, Floats]:
        change = flat.reshape(shape)
        log_probs = log_softmax(prior + points @ change @ columns, axis=2)
        residual = (weights[:, :, None] * np.exp(log_probs) - weighted_targets) @ columns.T
        gradient = points.T @ residual + l2_strength * change
        penalty = l2_strength / 2 * float(flat @ flat)
        return -float((weighted_targets * log_probs).sum()) + penalty, gradient.ravel()

    options = {"maxiter": MAX_ITERATIONS, "ftol": 1e-10}
    solution = minimize(loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options=options)
    change: Floats = solution.x.reshape(shape)
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


def _partitions(class_of_clip: Indices, order: Floats) -> Indices:
    """Fold of each clip (PARTITIONS, N), with one clip of every class in a fold where there are at most
    `MAX_FOLDS`. Clips are drawn in the order of `order` (N,), not in that of the rows."""
    rng = np.random.default_rng(0)
    folds = np.empty((PARTITIONS, len(class_of_clip)), dtype=np.intp)
    for label in range(class_of_clip.max() + 1):
        own = np.flatnonzero(class_of_clip == label)
        own = own[np.argsort(order[own], kind="stable")]
        for row in folds:
            row[rng.permutation(own)] = np.arange(len(own)) % MAX_FOLDS
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
