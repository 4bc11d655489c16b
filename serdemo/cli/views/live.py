"""Output of `listen`: live bars on a terminal, or a line of JSON for each window."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from serdemo.inference.live_session import LiveState
from serdemo.schema import palette
from serdemo.schema.types import Prediction, Segment

BAR = 30
MAX_GLYPHS = 60  # half a minute
MIN_DBFS = -60.0  # the left end of the level's bar


class Screen:
    """Live bars, or JSON lines: an `answer` for each window, a `summary` at the end."""

    def __init__(self, name: str, as_json: bool, unsure_below: float) -> None:
        self._name, self._json, self._unsure_below = name, as_json, unsure_below
        self._shown_until_s = 0.0
        self._has_speech = False
        self._adapted_s = 0.0
        self._warnings: tuple[str, ...] = ()
        self._console = Console(highlight=False, markup=False)
        self._live: Live | None = None
        if not as_json:
            self._live = Live(console=self._console, transient=True, refresh_per_second=10)

    def __enter__(self) -> Screen:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def state(self, state: LiveState) -> None:
        """Show the present state."""
        self._adapted_s = state.adapted_s
        self._new_segments(state.segments, state.delay_s)
        if self._live:
            self._live.update(picture(self._name, state))
        elif state.warnings != self._warnings:
            self._warnings = state.warnings
            for sentence in state.warnings:
                click.echo(f"serdemo: {sentence}", err=True)

    def end(self, state: LiveState, whole: Prediction) -> None:
        """Show the prediction for the whole sound."""
        self._new_segments(whole.segments, None)
        if self._live is None:
            values = {"event": "summary", **whole.to_json(), "warnings": state.warnings}
            del values["segments"]  # each was an answer
            _line(
                {**values, "received_samples": state.received_samples, "skipped": state.n_skipped}
            )
            return
        self._live.stop()
        # The segments may only cover a last minute of silence; one of the whole replaces them.
        summary = Segment(
            0.0, whole.duration_s, whole.label, whole.confidence, {}, float(self._has_speech)
        )
        answer = replace(whole, segments=(summary,))
        text = Text(no_wrap=True).append(f"{whole.file}  {whole.duration_s:.1f} s\n", style="bold")
        text.append(f"  {palette.sentence(answer)}\n", style="bold")
        if answer.has_speech:
            text.append_text(bars(whole.probabilities))
        self._console.print(text, _glyphs(whole.segments), _notes(state.warnings), sep="")

    def _new_segments(self, segments: Iterable[Segment], delay_s: float | None) -> None:
        for segment in segments:
            if segment.end_s <= self._shown_until_s:
                continue
            self._shown_until_s = segment.end_s
            self._has_speech |= segment.speech_ratio > 0
            if self._json:
                unsure = not segment.speech_ratio or segment.confidence < self._unsure_below
                extra = {"delay_s": delay_s, "adapted_s": round(self._adapted_s, 1)}
                _line({"event": "answer", **segment.to_json(), "unsure": unsure, **extra})


def _line(values: dict[str, Any]) -> None:
    click.echo(json.dumps(values, allow_nan=False))


def picture(name: str, state: LiveState) -> Text:
    """Prediction, a bar for each emotion, level, the last segments, and warnings."""
    heading = (
        palette.sentence(state.prediction()) if state.label or state.dimensions else "Listening"
    )
    text = Text(no_wrap=True)
    text.append(f"{name}  {state.received_s:.1f} s\n", style="bold")
    text.append(f"  {heading}\n", style="bold")
    if state.probabilities:
        text.append_text(bars(state.probabilities))
    share = 1 - max(MIN_DBFS, min(0.0, state.level_dbfs)) / MIN_DBFS
    full = round(BAR * share)
    text.append(f"\n    {'level':<10} {'█' * full}{'░' * (BAR - full)} {state.level_dbfs:.0f} dBFS")
    text.append("  speech" if state.is_speaking else "")
    if state.delay_s is not None:
        text.append(f"  {state.delay_s:.2f} s behind")
    if state.adapted_s >= 1:
        text.append(f"\n    used to your voice: {state.adapted_s:.0f} s")
    text.append_text(_glyphs(state.segments))
    return text.append_text(_notes(state.warnings))


def _notes(warnings: Iterable[str]) -> Text:
    return Text("".join(f"\n  Note: {sentence}" for sentence in warnings))


def _glyphs(segments: Sequence[Segment]) -> Text:
    """A glyph for each of the last segments."""
    text = Text("\n    ")
    for segment in segments[-MAX_GLYPHS:]:
        style = palette.style_of(segment.label)
        text.append(style.glyph if segment.speech_ratio else "·", style=style.colour)
    return text


def bars(probabilities: dict[str, float]) -> Text:
    """A bar for each label, in the order of the labels."""
    text = Text(no_wrap=True)
    for label, share in probabilities.items():
        style = palette.style_of(label)
        full = round(BAR * share)
        text.append(f"  {style.glyph} {label:<10} ", style=style.colour)
        text.append("█" * full, style=style.colour).append("░" * (BAR - full), style="dim")
        text.append(f" {share:>4.0%}\n")
    return text
