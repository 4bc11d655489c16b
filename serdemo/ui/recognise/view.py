"""The answer for one recording or several as JSON, which `answers.js` draws.

Sound, table and what the downloads need are inside it, so that the server stores nothing of a recording.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from serdemo.audio.waveform import SAMPLE_RATE, Clip
from serdemo.schema.types import Prediction
from serdemo.ui.recognise.drawing import PEAK_RATE, Outline, bar_levels, sound_url
from serdemo.ui.shell.activity import note_refusal

if TYPE_CHECKING:  # the page is laid out without torch
    from serdemo.inference.cue_scores import ScoredCue


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of one recording: its sound, a long one's outline, with its prediction, and that of
    each cue of its subtitles; or the sentence why there is none."""

    name: str
    clip: Clip | Outline | None = None
    prediction: Prediction | None = None
    refusal: str = ""
    origin: str = ""
    cues: tuple[ScoredCue, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A dictionary for JSON, as `answers.js` describes it; nothing is drawn or played without a
        clip and a prediction."""
        drawing = self.prediction and self._drawing()
        return {
            "name": self.name,
            "refusal": self.refusal,
            "origin": self.origin,
            "prediction": self.prediction.to_json() if self.prediction else None,
            "duration_s": self.clip.duration_s if self.clip else 0.0,
            "cues": [_cue_json(scored) for scored in self.cues],
            **(drawing or {"levels": [], "sound": ""}),
        }

    def _drawing(self) -> dict[str, Any] | None:
        if not self.clip:
            return None
        if isinstance(self.clip, Outline):
            return {"levels": bar_levels(self.clip.peaks, PEAK_RATE), "sound": ""}
        samples = self.clip.samples
        return {
            "levels": bar_levels(samples, SAMPLE_RATE),
            "sound": sound_url(samples, SAMPLE_RATE),
        }


def _cue_json(scored: ScoredCue) -> dict[str, Any]:
    """A cue's prediction or error, and what its subtitle file has of it."""
    cue = scored.cue
    return {
        **scored.to_json(),
        **{"markup": cue.markup, "kind": cue.kind, "settings": cue.settings},
    }


@dataclass(frozen=True, slots=True)
class SamePerson:
    """The box "All of one person": whether it is ticked, and what that does or did."""

    ticked: bool = False
    note: str = (
        "Tick this if one person speaks in all of these files: the answers get used to the voice."
    )


def adaptation_note(speech_s: float) -> str:
    """What the box did, given the seconds of speech that the model got used to the voice by."""
    if not speech_s:
        return "There were no two files with speech to get used to."
    return f"Used to this voice by {speech_s:.0f} s of its speech."


def answers_page(
    answers: Sequence[Answer], note: str = "", same_person: SamePerson | None = None
) -> str:
    """All answers of one request, with the box `same_person` above several; None for no box."""
    if answers and all(answer.refusal for answer in answers):
        note_refusal()
    box = asdict(same_person) if same_person else None
    return _page(answers=[answer.to_json() for answer in answers], note=note, same_person=box)


def waiting_page(text: str, done: int = 0, total: int = 0, share: float | None = None) -> str:
    """The page without an answer, while `done` of `total` files are answered, or a `share` in [0, 1] of
    one long file."""
    return _page(waiting={"text": text, "done": done, "total": total, "share": share})


def refusal_page(sentence: str) -> str:
    """The page where no answer is possible at all."""
    return answers_page([Answer(name="", refusal=sentence)])


def _page(**values: Any) -> str:
    return json.dumps({"answers": [], "note": "", "same_person": None, "waiting": None, **values})
