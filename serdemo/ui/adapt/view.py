"""How "Teach it your voice" looks: what to say next, what is recorded, and what it brought."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from serdemo.schema.types import EMOTIONS
from serdemo.ui.adapt.takes import HINTS, MAX_TAKES, SENTENCES, Voice
from serdemo.ui.shell import html

FEWEST_TAKES, FEWEST_EMOTIONS = 2, 2


@dataclass(frozen=True, slots=True)
class PanelState:
    """What the panel says besides what is on disk.

    `said` is about what was just done, `fault` what is wrong, `spare` whether a take with that
    fault may be kept all the same, `share` how far a teaching has come; `used` says that the
    model that was taught answers now, `public` that the visitor does not sit at this machine.
    `last` is the emotion of the take just kept. `turn` differs from panel to panel, so that the
    page notices a new one that reads the same.
    """

    said: str = ""
    fault: str = ""
    spare: bool = False
    share: float | None = None
    used: bool = False
    public: bool = False
    last: str = ""
    turn: int = 0


def panel(voice: Voice, shown: PanelState) -> str:
    """The whole of it as HTML."""
    due = voice.due()
    return (
        f'<div class="sd-voice" data-due="{due or ""}" data-last="{escape(shown.last)}" data-turn="{shown.turn}">'
        f"{_choice(voice)}{_prompt(voice, due, shown)}{_lesson(voice, shown)}</div>"
    )


def _choice(voice: Voice) -> str:
    chosen, counts = voice.chosen(), voice.counts()
    rows = "".join(
        f'<label class="sd-voice-emotion"><input type="checkbox" data-act="choose" value="{name}"'
        f"{' checked' if name in chosen else ''}>{html.marker(name)}<span>{name}</span>"
        f'<span class="sd-voice-count">{_dots(counts.get(name, 0))}</span></label>'
        for name in EMOTIONS
    )
    return (
        f'<fieldset class="sd-voice-choice"><legend>1. Choose emotions</legend>{rows}'
        "<p>Two or more. Leave out what you would rather not act.</p></fieldset>"
    )


def _dots(count: int) -> str:
    marks = "●" * count + "○" * max(0, MAX_TAKES - count)
    return f'<span aria-hidden="true">{marks}</span><span class="sd-spoken">{count} of {MAX_TAKES}</span>'


def _prompt(voice: Voice, due: str | None, shown: PanelState) -> str:
    counts = voice.counts()
    told = ""
    if shown.fault:
        told = f'<p class="sd-refused" role="alert" data-part="message">{escape(shown.fault)}</p>'
    elif shown.said and shown.share is None:
        told = (
            f'<p class="sd-voice-said" role="status" data-part="message">{escape(shown.said)}</p>'
        )
    busy = " disabled" if shown.share is not None else ""
    after = ""
    if shown.fault and shown.spare:
        after += _button("anyway", "Keep it all the same", busy)
    if shown.last and counts.get(shown.last):
        after += _button("listen", "Listen to the last take", busy)
        after += _button("again", "Record the last take again", busy)
    if due is None:
        done = bool(counts)
        words = (
            "All is recorded. Teach the model below, or choose another emotion."
            if done
            else "Choose at least two emotions above."
        )
        body = f'<p class="sd-voice-sentence">{words}</p>'
    else:
        count = counts.get(due, 0)
        body = (
            f'<p class="sd-voice-place">{html.marker(due)} {due}, take {count + 1} of {MAX_TAKES}</p>'
            f'<p class="sd-voice-sentence">“{SENTENCES[count % len(SENTENCES)]}”</p>'
            f'<p class="sd-voice-hint">Say it {_how(due)}: {HINTS[due]}. In your own language, if you'
            " like: how it sounds counts, not the words.</p>"
            '<div class="sd-voice-record"><button type="button" class="sd-voice-button"'
            f' data-act="record"{busy}><span data-part="record">Record</span></button>'
            '<div class="sd-meter" role="meter" aria-label="Input level" aria-valuemin="-60"'
            ' aria-valuemax="0" aria-valuenow="-60" data-part="meter"><span></span></div>'
            '<span class="sd-voice-clock" data-part="clock"></span></div>'
        )
        after += _button("skip", f"Skip {due}", busy)
    return (
        '<section class="sd-voice-prompt" aria-label="What to say"><h3>2. Say it</h3>'
        f'{body}{told}<p class="sd-refused" role="alert" data-part="trouble" hidden></p>'
        f'<p class="sd-downloads">{after}</p></section>'
    )


def _how(emotion: str) -> str:
    return {"fear": "in fear", "surprise": "surprised", "disgust": "disgusted"}.get(
        emotion, f"so that it sounds {emotion}"
    )


def _lesson(voice: Voice, shown: PanelState) -> str:
    counts, told = voice.counts(), voice.taught()
    enough = sum(n >= FEWEST_TAKES for n in counts.values()) >= FEWEST_EMOTIONS
    parts = ["<h3>3. Teach and use</h3>"]
    if shown.share is not None:
        parts.append(
            f'<p role="status">{escape(shown.said) or "Teaching"}</p><progress class="sd-run-bar"'
            f' max="1" value="{shown.share:.3f}" aria-label="Teaching"></progress>'
        )
    elif not enough:
        parts.append(
            f'<p class="sd-hint">{FEWEST_TAKES} takes each of {FEWEST_EMOTIONS} emotions are needed;'
            f" {MAX_TAKES} of each are better.</p>"
        )
    buttons = ""
    stale = told is None or told.get("clips") != counts
    if shown.share is None and enough:
        first = "sd-voice-primary" if stale else ""
        words = "Teach the model" if told is None else "Teach it anew"
        buttons += _button("teach", words, more=first)
    if told is not None and shown.share is None:
        parts.append(verdict_html(told))
        if stale:
            parts.append('<p class="sd-hint">The takes have changed since: teach it anew.</p>')
        if shown.used:
            buttons += _button("leave", "Use the model as it was")
        else:
            buttons += _button(
                "use", "Use this model now", more="" if stale else "sd-voice-primary"
            )
        if shown.public:
            buttons += _button("keep", "Keep this model in Models for a day")
    if counts and shown.share is None:
        buttons += _button("delete", "Delete recordings and model")
    parts.append(f'<p class="sd-downloads">{buttons}</p>')
    if shown.used:
        parts.append(
            '<p class="sd-voice-said">Your model answers you now in Recognise, and in Live from the'
            " next Start.</p>"
        )
    parts.append(_where(voice, shown))
    return f'<section class="sd-voice-lesson" aria-label="Teach and use">{"".join(parts)}</section>'


def _where(voice: Voice, shown: PanelState) -> str:
    if shown.public:
        return (
            '<p class="sd-live-small">Your recordings are on the server only as long as this page is'
            " open: they and the model are deleted when you close or reload it.</p>"
        )
    return (
        '<p class="sd-live-small">Recordings and model stay on this computer, in'
        f" {escape(str(voice.folder))}, until you delete them.</p>"
        "<details><summary>The same in a terminal</summary>"
        f"<pre>{escape(voice.command())}</pre></details>"
    )


def verdict_html(told: Mapping[str, Any]) -> str:
    """What a teaching brought, in plain words and two bars; a damaged file tells nothing."""
    try:
        count, before, after = (int(told[key]) for key in ("n", "right_before", "right"))
        sure = bool(told["sure"])
        if not 0 < max(before, after, 1) <= count:
            return ""
    except (KeyError, TypeError, ValueError):
        return ""
    words = {
        (True, True): "It understands your voice better now: that is no accident.",
        (True, False): "It seems to understand your voice better now; a few more takes would tell.",
    }.get(
        (after > before, sure),
        "These takes taught it nothing that lasts: keep the model as it was.",
    )
    bars = "".join(
        f'<li><span class="sd-voice-when">{when}</span><span class="sd-track"><span style="width:'
        f'{100 * right / count:.0f}%"></span></span><span>{right} of {count}</span></li>'
        for when, right in (("before", before), ("now", after))
    )
    return (
        f'<p class="sd-voice-verdict">{words}</p><p>Takes it heard rightly, each by a model taught'
        f' without that take:</p><ul class="sd-bars sd-voice-bars">{bars}</ul>'
    )


def _button(act: str, words: str, busy: str = "", more: str = "") -> str:
    return (
        f'<button type="button" class="sd-button {more}" data-act="{act}"{busy}>{escape(words)}'
        "</button>"
    )
