"""HTML of "Teach it your voice": the next take, the recordings, and the result of the adaptation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from serdemo.runs.adaptation.gain import GainEstimate
from serdemo.schema.types import EMOTIONS
from serdemo.ui.adapt.takes import HINTS, MAX_TAKES, SENTENCES, VoiceFolder
from serdemo.ui.shell.privacy import STORED
from serdemo.ui.shell.templates import render

MIN_TAKES, MIN_EMOTIONS = 2, 2
MANNERS = {"fear": "in fear", "surprise": "surprised", "disgust": "disgusted"}


@dataclass(frozen=True, slots=True)
class PanelState:
    """What the panel shows besides the content of the voice's folder.

    `message` reports on the last action, `fault` is its error, and `may_keep` says that a take with
    that fault may be kept. `progress` in [0, 1] is that of a running adaptation, else None. `in_use`
    says that the adapted model answers the visitor, `is_remote` that the visitor does not sit at this
    machine. `last_emotion` is that of the take just kept. `turn` differs between panels, so that the
    page notices a new one with the same content.
    """

    message: str = ""
    fault: str = ""
    may_keep: bool = False
    progress: float | None = None
    in_use: bool = False
    is_remote: bool = False
    last_emotion: str = ""
    turn: int = 0


def panel(voice: VoiceFolder, state: PanelState) -> Markup:
    """The whole panel."""
    counts, report, emotion = voice.counts(), voice.report(), voice.next_emotion()
    return render(
        "adapt/panel.html",
        state=state,
        training=state.progress is not None,
        emotions=EMOTIONS,
        selected=voice.selected(),
        counts=counts,
        max_takes=MAX_TAKES,
        min_takes=MIN_TAKES,
        min_emotions=MIN_EMOTIONS,
        enough=sum(n >= MIN_TAKES for n in counts.values()) >= MIN_EMOTIONS,
        next_take=_next_take(emotion, 1 + counts.get(emotion, 0)) if emotion else None,
        report=report,
        outdated=report is None or report.get("clips") != counts,
        verdict=verdict_html(report) if report else "",
        folder=voice.folder,
        command=voice.command(),
        stored=STORED,
    )


def _next_take(emotion: str, number: int) -> dict[str, Any]:
    """The take to record next: each of an emotion, from number 1, has its own sentence."""
    return {
        "emotion": emotion,
        "number": number,
        "sentence": SENTENCES[(number - 1) % len(SENTENCES)],
        "manner": MANNERS.get(emotion, f"so that it sounds {emotion}"),
        "hint": HINTS[emotion],
    }


def verdict_html(report: Mapping[str, Any]) -> Markup:
    """The result of an adaptation in words and two bars; empty for a damaged report.

    `report` is `AdaptationReport.to_json`, as read from `model.json`.
    """
    try:
        before, expected = float(report["left_out_uar_before"]), float(report["gain"])
        low, high = (float(bound) for bound in report["gain_ci95"])
    except (KeyError, TypeError, ValueError):
        return Markup()
    if not (0 <= before <= 1 and -1 <= low <= expected <= high <= 1):
        return Markup()
    return render(
        "adapt/verdict.html",
        verdict=GainEstimate(expected, low, high).verdict,
        before=before,
        after=min(max(before + expected, 0.0), 1.0),
    )
