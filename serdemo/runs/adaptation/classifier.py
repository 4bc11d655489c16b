"""A classifier moved towards one voice by a few clips of it, and checked by leave-one-out.

The last linear layer of a model is taught anew by logistic regression whose prior is the layer as
it was: the fewer the clips, and the less they ask for, the less it moves (a maximum a posteriori
estimate). An emotion that no clip was given of keeps its own weights, and is rehearsed where this
voice can be expected to utter it, lest the others spread over its place. Functions on arrays alone.
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

# How dear a change of weights is, where a clip lies at a distance of 1 from the voice's mean. On the
# selection speakers dearer ones were hardly ever better, but at times chosen by chance.
L2_STRENGTHS = (0.003, 0.001)
MIN_CLIPS = 2  # clips of an emotion: of a single one, left out, nothing would be left to learn from
MAX_FOLDS = 48  # more clips than these are left out several at a time
MAX_ITERATIONS = 200  # of the optimiser, at most
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
    """What a few clips made of a head, and what that is worth.

    `before` (N, C) are the logits that the head as it was gives to the N clips; `after` (N, C) those
    of heads taught without the clip in question, their penalty chosen without it too. `heads` is how
    many of these there were: N for leave-one-out. `penalty` is infinite where no change helped, so
    that the head is as it was but for its temperature.
    """

    head: Head
    before: Floats
    after: Floats
    heads: int
    penalty: float


def adapt_classifier(head: Head, features: ArrayLike, truth_index: ArrayLike) -> AdaptedHead:
    """Move a head towards the voice of N clips with features (N, V, E) and true classes (N,) below C.

    V are ways in which each clip was heard, the first as it is; the others are learnt from too, but
    never judged by. The result is decided by these arrays alone. Raises UsageError unless there are
    two classes and every class has two clips, SerdemoError for arrays that do not fit together.
    """
    views, truth = _checked(head, features, truth_index)
    count, ways = views.shape[:2]
    classes, which, counts = np.unique(truth, return_inverse=True, return_counts=True)
    if len(classes) < 2 or counts.min() < MIN_CLIPS:
        raise UsageError(TOO_FEW_CLIPS)
    every = np.eye(len(head.bias))
    absent = np.setdiff1d(np.arange(len(head.bias)), classes)
    heard = views.transpose(1, 0, 2).reshape(-1, views.shape[2])  # all as they are, then the others
    space = _Space.of(heard, _pseudo_samples(head, heard, absent))
    right = every[np.concatenate([np.tile(truth, ways), absent])]
    offset = head.logits(space.rows)
    before = offset[:count]

    groups = _groups(which)
    number = int(groups.max()) + 1
    kept = groups[None, :] != np.arange(number + 1)[:, None]  # by the last head all are
    weights = np.stack([_balanced(which, one, ways, len(absent)) for one in kept])

    # The first of the changes is none at all, as if the penalty were infinite.
    moved = np.zeros((number + 1, space.points.shape[1], len(classes)))
    found, answers = [moved], [before]
    for penalty in L2_STRENGTHS:
        moved = _fit(space.points, offset, every[classes], right, weights, penalty, moved)
        found.append(moved)
        change = np.einsum("nr,nrk->nk", space.points[:count], moved[groups])
        answers.append(before + change @ every[classes])

    # Brier's score: proper, and no single clip that is plainly misheard outweighs all the others.
    wrong = softmax(np.stack(answers), axis=2) - right[:count]
    misfit = weights[-1, :count] * (wrong**2).sum(2)  # (penalties, N)
    # A clip has no say in the penalty of the head by which it is judged.
    chosen = (misfit.sum(1, keepdims=True) - misfit).argmin(0)
    after = np.stack(answers)[chosen, np.arange(count)]
    best = int(misfit.sum(1).argmin())

    weight, bias = head.weight.copy(), head.bias.copy()
    step, shift = space.unfolded(found[best][-1])
    weight[classes] += head.temperature * step
    bias[classes] += head.temperature * shift
    # Few clips can show that the answers are too sure, but hardly that they are not sure enough.
    cooler = max(1.0, calibration.fit_temperature(after, truth))
    return AdaptedHead(
        head=Head(weight, bias, head.temperature * cooler),
        before=before,
        after=after / cooler,
        heads=number,
        penalty=(np.inf, *L2_STRENGTHS)[best],
    )


def recall(logits: Floats, truth_index: ArrayLike) -> float:
    """Unweighted average recall of the largest of (N, C) logits, over the classes in the truth."""
    rows, truth = calibration.check_rows(logits, truth_index)
    right = rows.argmax(1) == truth
    return float(np.mean([right[truth == one].mean() for one in np.unique(truth)]))


def _pseudo_samples(head: Head, features: Floats, absent: Indices) -> Floats:
    """Where this voice can be expected to utter what it gave no clip of: (len(absent), E).

    In a trained classifier the mean of a class lies in the direction of its weights (neural
    collapse, arXiv 2008.08186). How far out, the spread of the clips in these directions tells.
    """
    mean = features.mean(0)
    directions = head.weight - head.weight.mean(0)
    _, lengths, axes = np.linalg.svd(directions, full_matrices=False)
    across = (features - mean) @ axes[lengths > 1e-6 * max(lengths[0], 1e-12)].T
    size = np.sqrt((directions**2).sum(1).mean()) or 1.0
    reach = np.sqrt((across**2).sum(1).mean()) / size
    expected: Floats = mean + reach * directions[absent]
    return expected


@dataclass(frozen=True, slots=True, eq=False)
class _Space:
    """Clips and rehearsed ones, as `rows` (M, E) of features and as `points` (M, R), in which a
    penalty means the same for every model.

    The points are features about the mean of the clips, which lie at a distance of 1 from it, turned
    onto their own axes (R - 1, E); the last coordinate is 1, for the bias. No label is looked at.
    """

    rows: Floats
    points: Floats
    axes: Floats
    mean: Floats
    scale: float

    @classmethod
    def of(cls, features: Floats, rehearsed: Floats) -> _Space:
        rows, mean = np.concatenate([features, rehearsed]), features.mean(0)
        scale = float(np.sqrt(((features - mean) ** 2).sum(1).mean())) or 1.0
        _, _, axes = np.linalg.svd(rows - mean, full_matrices=False)
        points = np.concatenate([(rows - mean) @ axes.T / scale, np.ones((len(rows), 1))], axis=1)
        return cls(rows, points, axes, mean, scale)

    def unfolded(self, moved: Floats) -> tuple[Floats, Floats]:
        """What a change (R, K) is to weights (K, E) and to biases (K,)."""
        step = moved[:-1].T @ self.axes / self.scale
        return step, moved[-1] - step @ self.mean


def _fit(
    points: Floats,
    offset: Floats,
    columns: Floats,
    right: Floats,
    weights: Floats,
    penalty: float,
    start: Floats,
) -> Floats:
    """The changes (G, R, K) that G sets of weights (G, M) ask for, of K `columns` (K, C) of logits.

    Each set minimises its weighted cross-entropy of `offset` (M, C) plus the change, against `right`
    (M, C), and half the penalty times the change's squared length.
    """
    aims = weights[:, :, None] * right

    def loss(flat: Floats) -> tuple[float, Floats]:
        moved = flat.reshape(start.shape)
        logs = log_softmax(offset + points @ moved @ columns, axis=2)
        pull = (weights[:, :, None] * np.exp(logs) - aims) @ columns.T
        gradient = points.T @ pull + penalty * moved
        return -float((aims * logs).sum()) + penalty / 2 * float(flat @ flat), gradient.ravel()

    options = {"maxiter": MAX_ITERATIONS, "ftol": 1e-10}
    found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    moved: Floats = found.x.reshape(start.shape)
    return moved


def _balanced(which: Indices, kept: NDArray[np.bool_], ways: int, absent: int) -> Floats:
    """Weights (M,) summing to 1 of the clips kept, heard in so many ways, and of the `absent`
    classes rehearsed: each class alike."""
    counts = np.bincount(which[kept], minlength=int(which.max()) + 1)
    clips = np.where(kept, 1.0 / np.maximum(counts[which], 1) / ways, 0.0)
    weights: Floats = np.concatenate([np.tile(clips, ways), np.ones(absent)])
    return weights / (len(counts) + absent)


def _groups(which: Indices) -> Indices:
    """Which clips are left out together: each alone, else as few of a class at once as can be."""
    groups = np.empty(len(which), dtype=np.intp)
    groups[np.argsort(which, kind="stable")] = np.arange(len(which)) % MAX_FOLDS
    return groups


def _checked(head: Head, features: ArrayLike, truth_index: ArrayLike) -> tuple[Floats, Indices]:
    views = np.asarray(features, dtype=np.float64)
    if views.ndim != 3 or not views.size or views.shape[2] != head.weight.shape[1]:
        raise SerdemoError(
            f"Features of shape {views.shape} do not fit: (clips, ways, {head.weight.shape[1]}) with"
            " at least one clip are needed."
        )
    if not np.isfinite(views).all():
        raise SerdemoError("The features hold values that are not finite.")
    _, truth = calibration.check_rows(head.logits(views[:, 0]), truth_index)
    return views, truth
