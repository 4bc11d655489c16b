"""The answer for one recording or several, as one piece of HTML: answer first, numbers after.

Sound, table and downloads are inside that piece, so that the server stores nothing of a recording.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from markupsafe import Markup

from serdemo.audio.waveform import SAMPLE_RATE, Clip
from serdemo.inference import answers as documents
from serdemo.schema import palette
from serdemo.schema.types import Prediction
from serdemo.ui.recognise.saving import Saved, saved_answer, saved_answers
from serdemo.ui.recognise.timeline import PEAK_RATE, Outline, timeline
from serdemo.ui.shell.html import clock
from serdemo.ui.shell.templates import render

if TYPE_CHECKING:  # the page is laid out without torch
    from serdemo.inference.cue_scores import ScoredCue

# Longer tables make a page slow; the downloads hold every row.
MAX_TABLE_ROWS = 200


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

    @property
    def document(self) -> documents.Answer:
        """What the downloads hold."""
        return documents.Answer(self.name, self.prediction, self.refusal, self.cues)

    @property
    def saved(self) -> list[Saved]:
        """The answer as files."""
        return saved_answer(self.document) if self.prediction else []

    @property
    def headline(self) -> str:
        """The prediction in a few words."""
        return palette.sentence(self.prediction) if self.prediction else "No answer"

    @property
    def notes(self) -> tuple[str, ...]:
        """Warnings about the recording, or its refusal."""
        return self.prediction.warnings if self.prediction else (self.refusal,)

    @property
    def facts(self) -> list[str]:
        """Name, duration and origin, as far as they are known."""
        seconds = self.clip.duration_s if self.clip else 0.0
        duration = clock(seconds) if seconds >= 60 else f"{seconds:.1f} s" if seconds else ""
        return [fact for fact in (self.name, duration, self.origin) if fact]

    @property
    def named_labels(self) -> tuple[str, ...]:
        """The labels that the headline names."""
        if not self.prediction or not self.prediction.has_speech or self.prediction.dimensions:
            return ()
        return tuple(self.prediction.nearest(2 if self.prediction.unsure else 1))

    @property
    def overlapping(self) -> bool:
        """Whether any two of the segments overlap."""
        segments = self.prediction.segments if self.prediction else ()
        return any(before.end_s > after.start_s for before, after in pairwise(segments))

    def timeline(self) -> Markup:
        """Emotion over the waveform, which a regression has none of; nothing without a clip or a prediction."""
        if not (self.clip and self.prediction):
            return Markup()
        if isinstance(self.clip, Outline):
            samples, rate = self.clip.peaks, PEAK_RATE
        else:
            samples, rate = self.clip.samples, SAMPLE_RATE
        segments = () if self.prediction.dimensions else self.prediction.segments
        return timeline(segments, samples, rate, self.name)


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
) -> Markup:
    """All answers of one request; with several, a table to pick the one shown in detail, and above it
    the box `same_person`, None for no box."""
    return render(
        "recognise/view.html",
        announcement=_announcement(answers, note),
        answers=answers,
        note=note,
        same_person=same_person,
        max_rows=MAX_TABLE_ROWS,
        saved=saved_answers([a.document for a in answers]) if len(answers) > 1 else [],
    )


def waiting_page(text: str, done: int = 0, total: int = 0, share: float | None = None) -> Markup:
    """The same shape without an answer, while `done` of `total` files are answered, or a `share` in
    [0, 1] of one long file."""
    return render("recognise/waiting.html", text=text, done=done, total=total, share=share)


def refusal_page(sentence: str) -> Markup:
    """The page where no answer is possible at all."""
    return answers_page([Answer(name="", refusal=sentence)])


def _announcement(answers: Sequence[Answer], note: str) -> str:
    """The sentence for screen readers."""
    if len(answers) == 1:
        return f"{answers[0].name}: {answers[0].headline}"
    n_answered = sum(answer.prediction is not None for answer in answers)
    return f"{note} {n_answered} of {len(answers)} files answered.".strip()
