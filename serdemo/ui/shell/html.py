"""Pictures as accessible HTML: marker shapes, probability bars, emotion over the waveform.

Each function returns a self-contained string. Colour comes from the palette and is never the
only sign: names, shapes and numbers say the same.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from serdemo.schema import palette
from serdemo.schema.palette import style_of
from serdemo.schema.types import EMOTIONS, Segment

pass

WAVE_BARS = 150
# Below this peak a recording is drawn as quiet as it is, instead of stretched to full height.
QUIETEST_FULL_HEIGHT = 0.02
# Beyond this a page would carry megabytes of sound: the timeline is shown without a player.
PLAYABLE_S = 20 * 60

_SHAPES = {
    "triangle-up": '<path d="M8 1.5 15 14H1z"/>',
    "triangle-down": '<path d="M8 14.5 1 2h14z"/>',
    "square": '<path d="M2 2h12v12H2z"/>',
    "diamond": '<path d="M8 .5 15.5 8 8 15.5.5 8z"/>',
    "circle": '<circle cx="8" cy="8" r="7"/>',
    "hexagon": '<path d="M4 1.5h8L15.5 8 12 14.5H4L.5 8z"/>',
    "star": '<path d="m8 .5 2.2 5 5.4.5-4.1 3.6 1.2 5.4L8 12.2 3.3 15l1.2-5.4L.4 6l5.4-.5z"/>',
    "x": '<path d="M1 4 4 1l4 4 4-4 3 3-4 4 4 4-3 3-4-4-4 4-3-3 4-4z"/>',
}


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the timeline with one label; times in seconds, confidence in [0, 1]."""

    start_s: float
    end_s: float
    label: str
    confidence: float


def percent(share: float) -> str:
    """A share in [0, 1] as whole percent."""
    return f"{share:.0%}"


def clock(seconds: float) -> str:
    """Seconds as m:ss.s, the way the segments are listed."""
    tenths = round(seconds * 10)
    return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"


def marker(label: str) -> str:
    """The label's shape in its colour, for the eye only: the name always stands beside it."""
    shown = style_of(label)
    shape = _SHAPES[shown.symbol]
    return (
        f'<svg class="sd-marker" viewBox="0 0 16 16" fill="{shown.colour}" '
        f'aria-hidden="true">{shape}</svg>'
    )


def bars(probabilities: dict[str, float]) -> str:
    """A list of the labels, most probable first, each with its name, bar and percentage."""
    rows = []
    for label, share in sorted(probabilities.items(), key=lambda item: -item[1]):
        rows.append(
            f'<li>{marker(label)}<span class="sd-bar-name">{escape(label)}</span>'
            f'<span class="sd-track" aria-hidden="true"><span style="width:{share:.2%};'
            f'--c:{style_of(label).colour}"></span></span>'
            f'<span class="sd-number">{percent(share)}</span></li>'
        )
    return f'<ul class="sd-bars" aria-label="Probability of each emotion">{"".join(rows)}</ul>'


def spans(segments: Sequence[Segment]) -> list[Span]:
    """Turn windows that hold speech into stretches that do not overlap.

    Overlapping neighbours share their overlap half and half; touching ones of the same label
    become one stretch with their mean confidence, weighted by length.
    """
    cut: list[Span] = []
    for segment in (part for part in segments if part.speech > 0):
        start = segment.start_s
        if cut and cut[-1].end_s > start:
            start = (cut[-1].end_s + start) / 2
            cut[-1] = replace(cut[-1], end_s=start)
        cut.append(Span(start, segment.end_s, segment.label, segment.confidence))
    joined: list[Span] = []
    for span in cut:
        last = joined[-1] if joined else None
        if last and last.label == span.label and span.start_s - last.end_s < 0.01:
            lengths = (last.end_s - last.start_s, span.end_s - span.start_s)
            mean = (last.confidence * lengths[0] + span.confidence * lengths[1]) / sum(lengths)
            joined[-1] = replace(last, end_s=span.end_s, confidence=mean)
        else:
            joined.append(span)
    return joined


def wave_levels(samples: NDArray[np.float32], count: int = WAVE_BARS) -> NDArray[np.float32]:
    """The peak of `samples` (N,) in each of `count` equal stretches, in [0, 1]."""
    edges = np.linspace(0, len(samples), count + 1).astype(int)[:-1]
    peaks = np.maximum.reduceat(np.abs(samples), np.minimum(edges, len(samples) - 1))
    return (peaks / max(float(peaks.max()), QUIETEST_FULL_HEIGHT)).astype(np.float32)


def timeline(
    segments: Sequence[Segment], samples: NDArray[np.float32], rate: int, name: str
) -> str:
    """The waveform of `samples` (N,) at `rate` Hz, its stretches labelled, clicked to hear."""
    duration = len(samples) / rate
    stretches = spans(segments)
    told = "; ".join(
        f"{span.label} from {span.start_s:.1f} to {span.end_s:.1f} seconds" for span in stretches
    )
    description = f"Waveform of {name}, {duration:.1f} seconds. {told or 'No emotion heard'}."
    playable = duration <= PLAYABLE_S
    return (
        f'<div class="sd-timeline" data-duration="{duration:.3f}"><div class="sd-stage">'
        f'<svg class="sd-wave" viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(description)}">{_wave(stretches, samples, duration)}</svg>'
        f'<div class="sd-spans" role="group" aria-label="Emotion over time">'
        f"{''.join(_span(i, span, duration) for i, span in enumerate(stretches))}</div>"
        f'<div class="sd-playhead" aria-hidden="true"></div></div>'
        f"{_axis(duration)}{_player(samples, rate, bool(stretches)) if playable else ''}</div>"
    )


def _wave(stretches: Iterable[Span], samples: NDArray[np.float32], duration: float) -> str:
    strokes: dict[str, list[str]] = {}
    levels = wave_levels(samples)
    for index, level in enumerate(levels):
        middle = (index + 0.5) / len(levels)
        time = middle * duration
        label = next((s.label for s in stretches if s.start_s <= time < s.end_s), "")
        height = max(float(level) * 46, 1.0)
        stroke = f"M{middle * 1000:.0f} {50 - height:.1f}V{50 + height:.1f}"
        strokes.setdefault(label, []).append(stroke)
    return "".join(
        f'<path d="{"".join(parts)}" '
        f'style="--c:{style_of(label).colour if label else "var(--sd-silent)"}"/>'
        for label, parts in strokes.items()
    )


def _span(index: int, span: Span, duration: float) -> str:
    left = span.start_s / duration
    width = (min(span.end_s, duration) - span.start_s) / duration
    spoken = (
        f"{span.label}, {span.start_s:.1f} to {span.end_s:.1f} seconds, "
        f"{percent(span.confidence)}. Play from here"
    )
    return (
        f'<button type="button" class="sd-span" data-start="{span.start_s:.3f}" '
        f'style="left:{left:.2%};width:{width:.2%};--c:{style_of(span.label).colour}" '
        f'tabindex="{-1 if index else 0}" aria-label="{escape(spoken)}" '
        f'title="{escape(spoken)}"><span class="sd-span-name">{marker(span.label)}'
        f"<span>{escape(span.label)}</span></span></button>"
    )


def _axis(duration: float) -> str:
    steps = (0.5, 1, 2, 5, 10, 30, 60, 300, 600, 1800)
    step = next((s for s in steps if duration / s <= 6), 3600)
    marks = "".join(
        f'<span style="left:{tick / duration:.2%}">{clock(tick).removesuffix(".0")}</span>'
        for tick in np.arange(0, duration, step)
        if tick / duration < 0.93  # a later one would be cut off at the edge
    )
    return f'<div class="sd-axis" aria-hidden="true">{marks}</div>'


def _player(samples: NDArray[np.float32], rate: int, labelled: bool) -> str:
    # The sound travels inside the answer, so that the server can forget the recording at once.
    import soundfile

    container, mime = (
        ("MP3", "mpeg") if "MP3" in soundfile.available_formats() else ("FLAC", "flac")
    )
    coded = io.BytesIO()
    soundfile.write(coded, np.clip(samples, -1, 1), rate, format=container)
    hint = "Press the waveform to hear from there." if labelled else ""
    source = base64.b64encode(coded.getvalue()).decode()
    return (
        '<div class="sd-player"><button type="button" class="sd-play" data-act="play" '
        'aria-label="Play"><svg viewBox="0 0 16 16" aria-hidden="true">'
        '<path class="sd-when-paused" d="M3.5 1.5v13l11-6.5z"/>'
        '<path class="sd-when-playing" d="M3 2h3.6v12H3zM9.4 2H13v12H9.4z"/></svg></button>'
        f'<span class="sd-time"><span data-now>0:00.0</span> / {clock(len(samples) / rate)}</span>'
        f'<span class="sd-hint">{hint}</span>'
        f'<audio preload="metadata" src="data:audio/{mime};base64,{source}"></audio></div>'
    )


if TYPE_CHECKING:
    pass


def in_use_html(key: str) -> str:
    """That a model answers from now on."""
    return message_html(f"{key} answers you now in every tab; in Live from the next Start.")


def message_html(sentence: str) -> str:
    """A sentence that says what was done."""
    return f'<p role="status">{escape(sentence)}</p>'


def refusal_html(sentence: str) -> str:
    """A sentence that says what is wrong."""
    return f'<p class="sd-refused" role="alert">{escape(sentence)}</p>'


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 5400:
        return f"about {round(seconds / 60)} minutes"
    return f"about {seconds / 3600:.1f} hours"


def styles_js() -> str:
    """The palette for the scripts: of each label its colour and its marker."""
    shown = {
        label: {"colour": palette.style_of(label).colour, "marker": marker(label)}
        for label in (*EMOTIONS, "other")
    }
    return f"const LOOKS = {json.dumps(shown)};\nconst LABELS = {json.dumps(EMOTIONS)};\n"
