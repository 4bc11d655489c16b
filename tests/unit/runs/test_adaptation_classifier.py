"""A head taught by few clips: hand-made cases, what must not matter, and whether it fools itself."""

from __future__ import annotations

import numpy as np
import pytest

from serdemo.runs.adaptation import classifier
from serdemo.runs.adaptation.classifier import Head, adapt_classifier, recall
from serdemo.schema.errors import SerdemoError

CLASSES = 4


def head_for(width: int = 6, seed: int = 0) -> Head:
    """A head whose classes lie along the first axes."""
    rng = np.random.default_rng(seed)
    weight = 3 * np.eye(CLASSES, width) + 0.1 * rng.standard_normal((CLASSES, width))
    return Head(weight, 0.1 * rng.standard_normal(CLASSES), 1.3)


def clips_of(
    head: Head,
    each: int = 6,
    moved: float = 0.0,
    classes: int = CLASSES,
    seed: int = 1,
    noise: float = 0.15,
) -> tuple[np.ndarray, np.ndarray]:
    """Clips (N, 1, E) near the weights of their class, a voice's all `moved` towards the first."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(classes), each)
    rows = head.weight[truth] / 3 + noise * rng.standard_normal((len(truth), head.weight.shape[1]))
    return (rows + moved * head.weight[0] / 3)[:, None], truth


def test_a_voice_that_lies_elsewhere_is_learnt() -> None:
    head = head_for()
    rows, truth = clips_of(head, moved=1.5)
    found = adapt_classifier(head, rows, truth)
    np.testing.assert_allclose(found.before, head.logits(rows[:, 0]))
    assert recall(found.before, truth) <= 0.5
    assert recall(found.after[0], truth) == 1.0
    assert recall(found.head.logits(rows[:, 0]), truth) == 1.0
    assert found.n_heads == 6  # one clip of each class is held out
    assert found.gain.low > 0
    # New clips of that voice, which taught nothing, are understood too.
    others, theirs = clips_of(head, each=40, moved=1.5, seed=2)
    assert recall(head.logits(others[:, 0]), theirs) <= 0.5
    assert recall(found.head.logits(others[:, 0]), theirs) > 0.95


def test_a_voice_that_is_understood_is_left_nearly_as_it_is() -> None:
    head = head_for()
    rows, truth = clips_of(head, each=5)
    found = adapt_classifier(head, rows, truth)
    assert recall(found.before, truth) == recall(found.after[0], truth) == 1.0
    others, theirs = clips_of(head, each=40, seed=3)
    assert recall(found.head.logits(others[:, 0]), theirs) > 0.97


def test_what_was_not_taught_keeps_its_weights_and_its_place() -> None:
    head = head_for()
    rows, truth = clips_of(head, moved=1.0, classes=2)
    found = adapt_classifier(head, rows, truth)
    np.testing.assert_array_equal(found.head.weight[2:], head.weight[2:])
    np.testing.assert_array_equal(found.head.bias[2:], head.bias[2:])
    assert np.abs(found.head.weight[:2] - head.weight[:2]).max() > 0.01
    others, theirs = clips_of(head, each=40, moved=1.0, seed=2)
    absent = theirs >= 2
    before, after = (
        recall(one.logits(others[absent, 0]), theirs[absent]) for one in (head, found.head)
    )
    assert after >= before - 0.05


def test_order_does_not_matter() -> None:
    head = head_for()
    rows, truth = clips_of(head, moved=1.2)
    order = np.random.default_rng(5).permutation(len(truth))
    first, second = (
        adapt_classifier(head, rows, truth),
        adapt_classifier(head, rows[order], truth[order]),
    )
    np.testing.assert_allclose(second.after, first.after[:, order], atol=2e-3)
    np.testing.assert_allclose(second.head.weight, first.head.weight, atol=2e-3)


def test_the_axes_of_an_embedding_do_not_matter() -> None:
    """Features turned, stretched and shifted, with a head that answers them alike."""
    head = head_for()
    rows, truth = clips_of(head, moved=1.2)
    turn, _ = np.linalg.qr(np.random.default_rng(3).standard_normal((6, 6)))
    stretch, shift = 7.0, np.arange(6.0)
    weight = head.weight @ turn / stretch
    other = Head(weight, head.bias - weight @ shift, head.temperature)
    moved = stretch * rows @ turn + shift
    np.testing.assert_allclose(other.logits(moved[:, 0]), head.logits(rows[:, 0]))
    first, second = adapt_classifier(head, rows, truth), adapt_classifier(other, moved, truth)
    np.testing.assert_allclose(second.after, first.after, atol=5e-3)
    assert second.l2_strength == first.l2_strength
    assert second.gain.gain == pytest.approx(first.gain.gain)


def test_a_temperature_that_is_folded_into_the_weights_changes_nothing() -> None:
    head = head_for()
    rows, truth = clips_of(head, moved=1.2)
    folded = Head(head.weight / head.temperature, head.bias / head.temperature)
    first, second = adapt_classifier(head, rows, truth), adapt_classifier(folded, rows, truth)
    np.testing.assert_allclose(second.after, first.after, atol=2e-3)
    np.testing.assert_allclose(
        second.head.logits(rows[:, 0]), first.head.logits(rows[:, 0]), atol=2e-3
    )


def test_other_ways_are_learnt_from_and_never_judged_by() -> None:
    head = head_for()
    rows, truth = clips_of(head, moved=1.2)
    ways = np.concatenate([rows, rows + 0.1, rows - 0.1], axis=1)
    found, alone = adapt_classifier(head, ways, truth), adapt_classifier(head, rows, truth)
    np.testing.assert_array_equal(found.before, alone.before)
    assert found.after.shape == (classifier.PARTITIONS, len(truth), CLASSES)
    assert np.abs(found.head.weight - alone.head.weight).max() > 1e-3


@pytest.mark.parametrize("each", [2, 4, 20])
def test_labels_that_mean_nothing_promise_nothing(each: int) -> None:
    """Though the clips themselves are learnt by heart."""
    gains, by_heart, heads = [], [], set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        head = head_for(width=24, seed=seed)
        truth = rng.permutation(np.repeat(np.arange(3), each))
        rows = rng.standard_normal((len(truth), 1, 24))
        found = adapt_classifier(head, rows, truth)
        gains.append(found.gain.gain)
        assert found.gain.low < 0.15
        by_heart.append(recall(_resubstituted(rows, truth), truth))
        heads.add(found.n_heads)
    assert np.mean(by_heart) > 0.7
    assert np.mean(gains) < 0.15
    assert heads == {min(each, classifier.MAX_FOLDS)}


@pytest.mark.parametrize("moved", [0.0, 0.8, 1.5])
def test_the_gain_on_other_clips_is_about_what_the_clips_promise(moved: float) -> None:
    """Overlapping classes; the other clips are 400 of the same voice."""
    estimates, gains, inside = [], [], []
    for seed in range(16):
        head = head_for()
        rows, truth = clips_of(head, each=5, moved=moved, seed=seed, noise=0.5)
        others, theirs = clips_of(head, each=100, moved=moved, seed=100 + seed, noise=0.5)
        found = adapt_classifier(head, rows, truth)
        before, after = (recall(one.logits(others[:, 0]), theirs) for one in (head, found.head))
        gains.append(after - before)
        estimates.append(found.gain.gain)
        inside.append(found.gain.low <= gains[-1] <= found.gain.high)
    assert abs(np.mean(estimates) - np.mean(gains)) < 0.12
    assert np.mean(inside) >= 0.8


def _resubstituted(rows: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Log-probabilities (N, 3) of the very clips that a logistic regression was fitted to."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1000.0, max_iter=2000).fit(rows[:, 0], truth)
    found: np.ndarray = model.predict_log_proba(rows[:, 0])
    return found


def test_one_clip_of_every_class_is_held_out_and_of_many_several() -> None:
    which = np.repeat([0, 1, 2], [60, 5, 2])
    partitions = classifier._partitions(which, np.arange(67.0))
    assert partitions.shape == (classifier.PARTITIONS, 67)
    assert len(np.unique(partitions, axis=0)) == classifier.PARTITIONS
    for folds in partitions:
        counts = [np.bincount(folds[which == label], minlength=10).tolist() for label in range(3)]
        assert counts == [[6] * 10, [1] * 5 + [0] * 5, [1] * 2 + [0] * 8]


def test_recall_counts_every_class_alike() -> None:
    logits = np.array([[2.0, 1], [2, 1], [2, 1], [2, 1]])
    assert recall(logits, [0, 0, 0, 1]) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("features", "truth", "words"),
    [
        (np.zeros((4, 6)), [0, 0, 1, 1], "do not fit"),
        (np.zeros((4, 1, 5)), [0, 0, 1, 1], "do not fit"),
        (np.zeros((0, 1, 6)), [], "at least one clip"),
        (np.full((4, 1, 6), np.nan), [0, 0, 1, 1], "not finite"),
        (np.full((4, 1, 6), np.inf), [0, 0, 1, 1], "not finite"),
        (np.ones((1, 1, 6)), [0], "at least two clips each of two emotions"),
        (np.ones((4, 1, 6)), [0, 0, 0, 0], "at least two clips each of two emotions"),
        (np.ones((3, 1, 6)), [0, 0, 1], "at least two clips each of two emotions"),
        (np.ones((4, 1, 6)), [0, 0, 1], "do not fit"),
        (np.ones((4, 1, 6)), [0, 0, 1, 4], "true index"),
        (np.ones((4, 1, 6)), [0, 0, 1, -1], "true index"),
        (np.ones((4, 1, 6)), [0.0, 0, 1, 1], "true index"),
    ],
)
def test_bad_input_is_one_sentence(features: np.ndarray, truth: list[int], words: str) -> None:
    with pytest.raises(SerdemoError, match=words) as told:
        adapt_classifier(head_for(), features, truth)
    assert "\n" not in str(told.value)


def test_clips_that_are_all_the_same_teach_nothing_and_break_nothing() -> None:
    head = head_for()
    found = adapt_classifier(head, np.ones((6, 2, 6)), [0, 0, 0, 1, 1, 1])
    assert np.isfinite(found.head.weight).all() and np.isfinite(found.after).all()
    assert recall(found.after[0], [0, 0, 0, 1, 1, 1]) <= 0.5
