"""Emotion over the waveform of a recording, with a player, as HTML."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile
from markupsafe import Markup
from numpy.typing import NDArray

from serdemo.inference.timeline import Span, spans
from serdemo.schema.palette import style_of
from serdemo.schema.types import Segment
from serdemo.ui.recognise.saving import data_url
from serdemo.ui.shell.templates import render

WAVE_BARS = 150
# Below this peak a recording is drawn as quiet as it is, instead of stretched to full height.
QUIETEST_FULL_HEIGHT = 0.02
# Beyond this a page would carry megabytes of sound: the timeline is shown without a player.
MAX_PLAYABLE_S = 20 * 60
TICK_STEPS_S = (0.5, 1, 2, 5, 10, 30, 60, 300, 600, 1800)
MAX_TICKS = 6  # in sight
SIGHT_S = 600  # of a longer recording are in sight at once; the rest is scrolled to
PEAK_RATE = 10  # of an outline, in Hz
LAST_TICK = 0.93  # of the width: a later one would be cut off at the edge


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """What is drawn of a recording too long to be played in the page: its peak in each tenth of a
    second, (N,)."""

    peaks: NDArray[np.float32]

    @property
    def duration_s(self) -> float:
        """Length in seconds, to a tenth."""
        return len(self.peaks) / PEAK_RATE


class Drawing:
    """Takes from samples (n,) at `rate` Hz that pass in pieces what is drawn and played of them."""

    def __init__(self, rate: int) -> None:
        self._rate, self._step = rate, rate // PEAK_RATE
        self._rest = np.zeros(0, np.float32)
        self._peaks: list[NDArray[np.float32]] = []
        self._pieces: list[NDArray[np.float32]] = []
        self._n_samples = 0

    def passing(self, pieces: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """The same pieces."""
        for piece in pieces:
            samples = np.abs(np.concatenate([self._rest, piece]))
            whole = len(samples) // self._step * self._step
            self._peaks.append(samples[:whole].reshape(-1, self._step).max(axis=1))
            self._rest = samples[whole:]
            self._n_samples += len(piece)
            self._pieces.append(piece)
            if self._n_samples > MAX_PLAYABLE_S * self._rate:
                self._pieces.clear()
            yield piece

    @property
    def samples(self) -> NDArray[np.float32] | None:
        """All samples (N,); None where they are too many to be played."""
        playable = self._n_samples <= MAX_PLAYABLE_S * self._rate
        return np.concatenate(self._pieces) if playable and self._pieces else None

    @property
    def outline(self) -> Outline:
        """The outline of all that has passed."""
        last = [self._rest.max(keepdims=True)] if len(self._rest) else []
        return Outline(np.concatenate([*self._peaks, *last, np.zeros(0, np.float32)]))


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
    widths = max(1.0, duration_s / SIGHT_S)
    return render(
        "recognise/timeline.html",
        name=name,
        duration_s=duration_s,
        spans=stretches,
        wave=_wave_paths(stretches, samples, duration_s, round(WAVE_BARS * widths)),
        ticks=_ticks(duration_s, widths),
        widths=widths,
        sound=_sound_url(samples, rate) if duration_s <= MAX_PLAYABLE_S else "",
    )


def _wave_paths(
    stretches: Sequence[Span], samples: NDArray[np.float32], duration_s: float, n_bars: int
) -> list[dict[str, str]]:
    """One SVG path for the bars of each label, in a box of 1000 by 100."""
    strokes: dict[str, list[str]] = {}
    levels = wave_levels(samples, n_bars)
    starts = [span.start_s for span in stretches]
    for index, level in enumerate(levels):
        middle = (index + 0.5) / len(levels)
        time = middle * duration_s
        place = bisect_right(starts, time) - 1
        inside = place >= 0 and time < stretches[place].end_s
        label = stretches[place].label if inside else ""
        height = max(float(level) * 46, 1.0)
        stroke = f"M{middle * 1000:.1f} {50 - height:.1f}V{50 + height:.1f}"
        strokes.setdefault(label, []).append(stroke)
    return [
        {"d": "".join(parts), "colour": style_of(label).colour if label else "var(--sd-silent)"}
        for label, parts in strokes.items()
    ]


def _ticks(duration_s: float, widths: float) -> list[Any]:
    """Times of the axis in seconds; `widths` is how much wider than what is in sight it is."""
    most = MAX_TICKS * widths
    step = next((step for step in TICK_STEPS_S if duration_s / step <= most), 3600)
    last = 1 - (1 - LAST_TICK) / widths
    return [tick for tick in np.arange(0, duration_s, step) if tick / duration_s < last]


def _sound_url(samples: NDArray[np.float32], rate: int) -> str:
    """The sound inside the answer, so that the server can forget the recording at once."""
    has_mp3 = "MP3" in soundfile.available_formats()
    encoded = io.BytesIO()
    container = "MP3" if has_mp3 else "FLAC"
    soundfile.write(encoded, np.clip(samples, -1, 1), rate, format=container)
    return data_url("audio/mpeg" if has_mp3 else "audio/flac", encoded.getvalue())
