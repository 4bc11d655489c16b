from __future__ import annotations

from math import e, exp, log

import pytest
import torch
from torch import Tensor

from serdemo.nn.losses import cosine_pairs, cross_entropy, margin_softmax, supervised_contrastive

PAIRS = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
FAN = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])  # cosines 0, -1, 0
FAR = log(1 + exp(-1.0))  # what the outer two of the fan have below the line, temperature 1


def contrast(points: Tensor, labels: list[int], **more: object) -> float:
    return supervised_contrastive(points, torch.tensor(labels), **more).item()  # type: ignore[arg-type]


def test_two_pairs_by_hand() -> None:
    # Each anchor: one positive at cosine 1, two negatives at cosine 0.
    assert contrast(PAIRS, [0, 0, 1, 1], temperature=1.0) == pytest.approx(-1 + log(e + 2))
    assert contrast(PAIRS, [0, 0, 1, 1], temperature=0.5) == pytest.approx(-2 + log(e**2 + 2))
    # The other way about: the positive is at cosine 0, and so is one negative.
    assert contrast(PAIRS, [0, 1, 0, 1], temperature=1.0) == pytest.approx(log(e + 2))


def test_several_positives_are_averaged_outside_the_logarithm() -> None:
    ends = 0.5 + FAR  # -(0 + -1) / 2 + log(e^0 + e^-1)
    assert contrast(FAN, [0, 0, 0], temperature=1.0) == pytest.approx((2 * ends + log(2)) / 3)


def test_anchors_without_a_positive_are_left_out_of_the_mean() -> None:
    assert contrast(FAN, [0, 0, 1], temperature=1.0) == pytest.approx((FAR + log(2)) / 2)


def test_positives_across_groups_only() -> None:
    groups = torch.tensor([0, 0, 1])
    # Anchor 0: positive 2. Anchor 1: positive 2. Anchor 2: positives 0 and 1.
    # Of one label and one group are 0 and 1, so the line below holds the positives alone: for
    # anchors 0 and 1 that is the one positive, which gives log 1.
    expected = (0 + 0 + (0.5 + FAR)) / 3
    assert contrast(FAN, [0, 0, 0], temperature=1.0, groups=groups) == pytest.approx(expected)
    alone = contrast(FAN, [0, 0, 1], temperature=1.0, groups=groups)
    assert alone == 0.0  # the two of one label share a group


def test_an_unknown_label_is_nobodys_positive_but_still_a_negative() -> None:
    assert contrast(FAN, [-1, -1, -1]) == 0.0
    known = contrast(PAIRS, [0, 0, -1, -1], temperature=1.0)
    assert known == pytest.approx(-1 + log(e + 2))


def test_scale_and_order_do_not_count() -> None:
    points = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(12) % 3
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    value = supervised_contrastive(points, labels)
    scales = torch.linspace(0.01, 100, 12)[:, None]
    assert supervised_contrastive(points * scales, labels).item() == pytest.approx(
        value.item(), rel=1e-5
    )
    assert supervised_contrastive(points[order], labels[order]).item() == pytest.approx(
        value.item(), rel=1e-5
    )


def test_a_step_down_the_gradient_helps() -> None:
    points = torch.randn(12, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.arange(12) % 3
    before = supervised_contrastive(points, labels)
    (slope,) = torch.autograd.grad(before, points)
    after = supervised_contrastive(points - 0.05 * slope, labels)
    assert after < before - 0.01


DEGENERATE = {
    "no-positive": (torch.eye(3), [0, 1, 2], None, 0.0),
    "one-clip": (torch.ones(1, 4), [0], None, 0.0),
    "empty": (torch.ones(0, 4), [], None, 0.0),
    "one-group": (torch.eye(4), [0, 0, 1, 1], [5, 5, 5, 5], 0.0),
    "groups-without-positive": (torch.eye(4), [0, 0, 1, 1], [0, 0, 1, 1], 0.0),
    "one-class-one-place": (torch.ones(4, 3), [2, 2, 2, 2], None, log(3)),
    "zero-vectors": (torch.zeros(4, 3), [0, 0, 1, 1], None, log(3)),
    "huge": (torch.full((4, 3), 1e15), [0, 0, 1, 1], None, log(3)),
    "tiny": (torch.full((4, 3), 1e-20), [0, 0, 1, 1], None, log(3)),
}


@pytest.mark.parametrize(
    ("points", "labels", "groups", "expected"), DEGENERATE.values(), ids=DEGENERATE
)
def test_degenerate_batches_stay_finite(
    points: Tensor, labels: list[int], groups: list[int] | None, expected: float
) -> None:
    points = points.clone().requires_grad_()
    loss = supervised_contrastive(
        points,
        torch.tensor(labels, dtype=torch.long),
        groups=None if groups is None else torch.tensor(groups),
    )
    loss.backward()
    assert loss.item() == pytest.approx(expected, abs=1e-5)
    assert points.grad is not None
    assert torch.isfinite(points.grad).all()
    if expected == 0.0:
        assert not points.grad.any()


def test_the_contrast_is_not_coarsened_by_autocast() -> None:
    points = torch.randn(16, 32, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(16) % 4
    plain = supervised_contrastive(points, labels)
    with torch.autocast("cpu", torch.bfloat16):
        under = supervised_contrastive(points, labels)
    assert under.dtype == torch.float32
    assert under.item() == pytest.approx(plain.item(), rel=1e-6)


def test_cross_entropy_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0], [log(3), 0.0]])
    assert cross_entropy(logits, torch.tensor([0, 0])).item() == pytest.approx(
        (log(2) - log(0.75)) / 2
    )
    assert cross_entropy(logits, torch.tensor([0, -1])).item() == pytest.approx(log(2))
    smoothed = cross_entropy(logits, torch.tensor([-1, 0]), smoothing=0.2)
    assert smoothed.item() == pytest.approx(-0.9 * log(0.75) - 0.1 * log(0.25))


@pytest.mark.parametrize(
    "labels",
    [torch.tensor([-1, -1, -1]), torch.zeros(0, dtype=torch.long), torch.zeros(0, 4)],
    ids=["unknown", "no clips", "no shares"],
)
def test_cross_entropy_without_a_label_is_zero(labels: torch.Tensor) -> None:
    logits = torch.randn(len(labels), 4, requires_grad=True)
    loss = cross_entropy(logits, labels, smoothing=0.1)
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_cross_entropy_is_computed_in_full_precision() -> None:
    logits = torch.tensor([[6.0, 0.0]], dtype=torch.bfloat16)
    loss = cross_entropy(logits, torch.tensor([0]))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(log(1 + exp(-6.0)), rel=1e-3)


@pytest.mark.parametrize("temperature", [0.07, 0.1, 1.0])
@pytest.mark.parametrize("classes", [2, 7, 24])
def test_the_contrast_agrees_with_pytorch_metric_learning(temperature: float, classes: int) -> None:
    from pytorch_metric_learning.losses import SupConLoss

    seeded = torch.Generator().manual_seed(classes)
    points = torch.randn(24, 16, generator=seeded, dtype=torch.float64).float()
    labels = torch.arange(24) % classes  # with 24 classes no anchor has a positive
    ours = points.clone().requires_grad_()
    theirs = points.clone().requires_grad_()
    mine = supervised_contrastive(ours, labels, temperature)
    other = SupConLoss(temperature=temperature)(theirs, labels)
    assert mine.item() == pytest.approx(other.item(), abs=1e-6, rel=1e-6)
    mine.backward()
    other.backward()
    assert ours.grad is not None
    expected = torch.zeros_like(points) if theirs.grad is None else theirs.grad
    torch.testing.assert_close(ours.grad, expected, atol=1e-6, rtol=1e-5)


AXES = torch.eye(2)


def test_the_margin_softmax_by_hand() -> None:
    points = torch.tensor([[3.0, 0.0], [0.0, 0.1]])
    # Cosines are 1 and 0; the own one is lowered by the margin before scaling.
    loss = margin_softmax(points, 7 * AXES, torch.tensor([0, 1]), scale=2.0, margin=0.25)
    assert loss.item() == pytest.approx(log(1 + exp(-2 * 0.75)))
    wrong = margin_softmax(points, AXES, torch.tensor([1, -1]), scale=2.0, margin=0.25)
    assert wrong.item() == pytest.approx(log(1 + exp(2 * 1.25)))


def test_the_margin_costs_and_a_margin_of_zero_is_plain_cosine_softmax() -> None:
    points = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    prototypes = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(8) % 3
    plain = margin_softmax(points, prototypes, labels, margin=0.0)
    cosine = torch.nn.functional.cosine_similarity(points[:, None], prototypes[None], dim=2)
    assert plain.item() == pytest.approx(cross_entropy(30 * cosine, labels).item(), rel=1e-5)
    assert margin_softmax(points, prototypes, labels, margin=0.2) > plain


def test_cosine_pairs_by_hand() -> None:
    # One pair of a label at cosine 0; of two labels: cosines -1 and 0, of which 0 exceeds -0.5.
    loss = cosine_pairs(FAN, torch.tensor([0, 0, 1]), margin=-0.5)
    assert loss.item() == pytest.approx((1 + (0 + 0.5) / 2) / 2)
    assert cosine_pairs(PAIRS, torch.tensor([0, 0, 1, 1])).item() == pytest.approx(0.0)
    assert cosine_pairs(PAIRS, torch.tensor([0, 1, -1, -1]), margin=0.2).item() == pytest.approx(
        0.8
    )


@pytest.mark.parametrize("labels", [[], [0], [-1, -1], [0, -1], [0, 0], [0, 1]])
@pytest.mark.parametrize("loss", ["margin", "pairs"])
@pytest.mark.parametrize("scale", [0.0, 1e-20, 1.0, 1e15])
def test_degenerate_batches_of_the_margin_losses(
    labels: list[int], loss: str, scale: float
) -> None:
    points = (torch.ones(len(labels), 3) * scale).requires_grad_()
    truth = torch.tensor(labels, dtype=torch.long)
    if loss == "margin":
        value = margin_softmax(points, torch.eye(2, 3), truth)
    else:
        value = cosine_pairs(points, truth)
    value.backward()
    assert torch.isfinite(value)
    assert points.grad is not None
    assert torch.isfinite(points.grad).all()
    if not any(label >= 0 for label in labels):
        assert value.item() == 0.0
