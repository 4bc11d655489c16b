"""Stretches of a recording with one label each, made from its overlapping windows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from serdemo.schema.types import Segment

NO_SPEECH = "no speech"  # the label of a segment that was not scored
MIN_GAP_S = 0.01  # between neighbours that do not touch


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the timeline with one label; times in seconds, confidence in [0, 1].

    A regression model gives `dimensions` in place of label and confidence.
    """

    start_s: float
    end_s: float
    label: str
    confidence: float
    dimensions: Mapping[str, float] = field(default_factory=dict)

    @property
    def caption(self) -> str:
        """Label and confidence, `angry (82%)`, or the dimensions, `arousal 0.61, valence 0.40`."""
        if self.dimensions:
            return dimensions_text(self.dimensions)
        return f"{self.label} ({self.confidence:.0%})" if self.confidence else self.label


def dimensions_text(dimensions: Mapping[str, float]) -> str:
    """Dimensions with their values: `arousal 0.61, valence 0.40`."""
    return ", ".join(f"{name} {value:.2f}" for name, value in dimensions.items())


def spans(segments: Sequence[Segment]) -> list[Span]:
    """Stretches that do not overlap, from the windows that hold speech.

    Overlapping neighbours share their overlap half and half; touching ones of the same label
    become one stretch with their mean confidence, weighted by length. Those with dimensions stay
    apart.
    """
    voiced = [segment for segment in segments if segment.speech_ratio > 0]
    middles = [(before.end_s + after.start_s) / 2 for before, after in pairwise(voiced)]
    bounds = zip([-math.inf, *middles], [*middles, math.inf], strict=True)
    joined: list[Span] = []
    for segment, (earliest, latest) in zip(voiced, bounds, strict=False):
        start_s, end_s = max(segment.start_s, earliest), min(segment.end_s, latest)
        span = Span(start_s, end_s, segment.label, segment.confidence, segment.dimensions)
        last = joined[-1] if joined and not span.dimensions else None
        if last and last.label == span.label and start_s - last.end_s < MIN_GAP_S:
            lengths = (last.end_s - last.start_s, end_s - start_s)
            mean = (last.confidence * lengths[0] + span.confidence * lengths[1]) / sum(lengths)
            joined[-1] = replace(last, end_s=end_s, confidence=mean)
        else:
            joined.append(span)
    return joined
