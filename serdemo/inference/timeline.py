"""Stretches of a recording with one label each, made from its overlapping windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from serdemo.schema.types import Segment

MIN_GAP_S = 0.01  # between neighbours that do not touch


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the timeline with one label; times in seconds, confidence in [0, 1]."""

    start_s: float
    end_s: float
    label: str
    confidence: float


def spans(segments: Sequence[Segment]) -> list[Span]:
    """Stretches that do not overlap, from the windows that hold speech.

    Overlapping neighbours share their overlap half and half; touching ones of the same label
    become one stretch with their mean confidence, weighted by length.
    """
    voiced = [segment for segment in segments if segment.speech_ratio > 0]
    middles = [(before.end_s + after.start_s) / 2 for before, after in pairwise(voiced)]
    bounds = zip([-math.inf, *middles], [*middles, math.inf], strict=True)
    joined: list[Span] = []
    for segment, (earliest, latest) in zip(voiced, bounds, strict=False):
        start_s, end_s = max(segment.start_s, earliest), min(segment.end_s, latest)
        span = Span(start_s, end_s, segment.label, segment.confidence)
        last = joined[-1] if joined else None
        if last and last.label == span.label and start_s - last.end_s < MIN_GAP_S:
            lengths = (last.end_s - last.start_s, end_s - start_s)
            mean = (last.confidence * lengths[0] + span.confidence * lengths[1]) / sum(lengths)
            joined[-1] = replace(last, end_s=end_s, confidence=mean)
        else:
            joined.append(span)
    return joined
