"""Novelty of recordings, and the temperature that grows with it."""

from __future__ import annotations

import numpy as np
import pytest

from serdemo.inference.novelty import RANGE, Novelty, measure_novelty
from serdemo.inference.predictor import Predictor, bundled_checkpoint
from serdemo.nn.description import Description, read_description
from serdemo.schema.errors import SerdemoError

RNG = np.random.default_rng(0)
CENTRES = np.array([[0.0, 0, 0, 0], [10, 10, 10, 10]])


def measured(slope: float = 1.0) -> dict[str, object]:
    rows = np.concatenate([c + RNG.normal(size=(500, 4)) for c in CENTRES]).astype(np.float32)
    return measure_novelty(rows, ["near"] * 500 + ["far"] * 500, slope)


def test_novelty_is_the_log_distance_to_the_nearest_corpus() -> None:
    entry = measured()
    assert np.allclose(entry["centroids"]["far"], 10, atol=0.2)  # type: ignore[index]
    assert np.allclose(entry["scales"], 1, atol=0.1)  # type: ignore[arg-type]
    novelty = Novelty.from_json(entry)
    assert novelty is not None
    values = novelty.of([[2.0, 2, 2, 2], [11.5, 8.5, 11.5, 8.5], [5, 5, 5, 5], [0, 0, 0, 0]])
    assert values == pytest.approx([np.log(2), np.log(1.5), RANGE[1], RANGE[0]], abs=0.15)
    assert len(novelty.of(np.zeros((0, 4)))) == 0


def test_temperature_grows_by_the_slope() -> None:
    novelty = Novelty.from_json(measured(slope=2.0))
    assert novelty is not None
    rows = [[1.0, 1, 1, 1], [2.0, 2, 2, 2]]
    assert novelty.temperatures(rows) == pytest.approx([1, 4], rel=0.25)
    flat = Novelty.from_json(measured(slope=0.0))
    assert flat is not None and flat.temperatures(rows) == pytest.approx([1, 1])
    assert Novelty.from_json({}) is None


def test_a_predictor_is_less_sure_of_what_is_far_away() -> None:
    predictor = Predictor(bundled_checkpoint("compact"))
    size = predictor.model.options.embedding
    rows = RNG.normal(size=(20, size)).astype(np.float32)
    predictor.novelty = None
    before = predictor.classify(rows)
    predictor.novelty = Novelty(np.zeros((1, size)), np.full(size, 0.5), 1.0)
    after = predictor.classify(rows)
    assert (after.max(1) < before.max(1)).all()
    assert (after.argmax(1) == before.argmax(1)).all()
    assert after.sum(1) == pytest.approx(1)


@pytest.mark.parametrize(
    "change",
    [
        {"slope": -1.0},
        {"slope": "steep"},
        {"scales": [1.0, 0.0, 1.0, 1.0]},
        {"scales": [1.0]},
        {"centroids": {}},
        {"centroids": {"near": [float("nan")] * 4}},
        {"other": 1},
    ],
)
def test_a_damaged_entry_is_refused(change: dict[str, object]) -> None:
    values = read_description(bundled_checkpoint("compact")).to_json()
    assert Description.from_json({**values, "novelty": measured()}, "model").novelty
    with pytest.raises(SerdemoError, match="novelty"):
        Description.from_json({**values, "novelty": {**measured(), **change}}, "model")
