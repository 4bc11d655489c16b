"""Emotion over the waveform of a recording, with a player, as HTML."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import soundfile
from markupsafe import Markup
from numpy.typing import NDArray

from serdemo.inference.timeline import Span, spans
from serdemo.schema.palette import style_of
from serdemo.schema.types import Segment
from serdemo.ui.shell.templates import render

WAVE_BARS = 150
# Below this peak a recording is drawn as quiet as it is, instead of stretched to full height.
QUIETEST_FULL_HEIGHT = 0.02
# Beyond this a page would carry megabytes of sound: the timeline is shown without a player.
MAX_PLAYABLE_S = 20 * 60
TICK_STEPS_S = (0.5, 1, 2, 5, 10, 30, 60, 300, 600, 1800)
MAX_TICKS = 6
LAST_TICK = 0.93  # of the width: a later one would be cut off at the edge


def wave_levels(samples: NDArray[np.float32], count: int = WAVE_BARS) -> NDArray[np.float32]:
    """The peak of `samples` (N,) in each of `count` equal stretches, in [0, 1]."""
    edges = np.linspace(0, len(samples), count + 1).astype(int)[:-1]
    peaks = np.maximum.reduceat(np.abs(samples), np.minimum(edges, len(samples) - 1))
    return (peaks / max(float(peaks.max()), QUIETEST_FULL_HEIGHT)).astype(np.float32)


def timeline(
    segments: Sequence[Segment], samples: NDArray[np.float32], rate: int, name: str
) -> Markup:
    """The waveform of `samples` (N,) at `rate` Hz, its stretches labelled; a click plays from there."""
    duration_s = len(samples) / rate
    stretches = spans(segments)
    return render(
        "recognise/timeline.html",
        name=name,
        duration_s=duration_s,
        spans=stretches,
        wave=_wave_paths(stretches, samples, duration_s),
        ticks=_ticks(duration_s),
        sound=_sound_url(samples, rate) if duration_s <= MAX_PLAYABLE_S else "",
    )


def _wave_paths(
    stretches: Iterable[Span], samples: NDArray[np.float32], duration_s: float
) -> list[dict[str, str]]:
    """One SVG path for the bars of each label, in a box of 1000 by 100."""
    strokes: dict[str, list[str]] = {}
    levels = wave_levels(samples)
    for index, level in enumerate(levels):
        middle = (index + 0.5) / len(levels)
        time = middle * duration_s
        label = next((s.label for s in stretches if s.start_s <= time < s.end_s), "")
        height = max(float(level) * 46, 1.0)
        stroke = f"M{middle * 1000:.0f} {50 - height:.1f}V{50 + height:.1f}"
        strokes.setdefault(label, []).append(stroke)
    return [
        {"d": "".join(parts), "colour": style_of(label).colour if label else "var(--sd-silent)"}
        for label, parts in strokes.items()
    ]


def _ticks(duration_s: float) -> list[Any]:
    """Times of the axis in seconds."""
    step = next((step for step in TICK_STEPS_S if duration_s / step <= MAX_TICKS), 3600)
    return [tick for tick in np.arange(0, duration_s, step) if tick / duration_s < LAST_TICK]


def _sound_url(samples: NDArray[np.float32], rate: int) -> str:
    """The sound inside the answer, so that the server can forget the recording at once."""
    has_mp3 = "MP3" in soundfile.available_formats()
    encoded = io.BytesIO()
    container = "MP3" if has_mp3 else "FLAC"
    soundfile.write(encoded, np.clip(samples, -1, 1), rate, format=container)
    return data_url("audio/mpeg" if has_mp3 else "audio/flac", encoded.getvalue())


def data_url(mime: str, content: bytes) -> str:
    """An address that holds the content itself."""
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"
