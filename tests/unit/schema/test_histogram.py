"""Histograms."""

from __future__ import annotations

import threading

import pytest

from serdemo.schema.histogram import Histogram


def test_values_are_counted_up_to_each_bound() -> None:
    histogram = Histogram([0.1, 1.0])
    assert histogram.cumulated == (0, 0, 0)
    for value in (0.05, 0.1, 0.5, 7.0):
        histogram.add(value)
    assert histogram.cumulated == (2, 3, 4)
    assert histogram.sum == pytest.approx(7.65)


def test_threads_lose_nothing() -> None:
    histogram = Histogram([1.0])
    threads = [
        threading.Thread(target=lambda: [histogram.add(0.5) for _ in range(2_000)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert histogram.cumulated == (8_000, 8_000)
    assert histogram.sum == pytest.approx(4_000)
