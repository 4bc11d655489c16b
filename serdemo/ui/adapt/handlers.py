"""Handlers of "Teach it your voice". Each returns what changes, by component."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from serdemo.runs.registry.entry import PREFIXES, Entry
from serdemo.schema.errors import SerdemoError, UsageError, trace
from serdemo.schema.files import read_json
from serdemo.schema.renamed_options import current_options
from serdemo.schema.types import EMOTIONS
from serdemo.ui.adapt import takes
from serdemo.ui.adapt.takes import VoiceFolder
from serdemo.ui.adapt.view import PanelState, panel
from serdemo.ui.shell import permissions, visitor_store
from serdemo.ui.shell.activity import note_refusal
from serdemo.ui.shell.page import Page, footer_html
from serdemo.ui.shell.rpc import Request, field, from_base64
from serdemo.ui.shell.uploads import FAULT

if TYPE_CHECKING:
    from serdemo.inference.predictor import Predictor

OWN_KEY = f"{PREFIXES['run']}{takes.NAME}"  # registry key of a local user's adapted model

log = logging.getLogger(__name__)

ENDING = ("again", "leave", "delete")  # actions that take away what there is

Updates = dict[Any, Any]


@dataclass(frozen=True)
class Visit:
    """One request to the panel: the visitor's voice folder, the owner filter, gradio's request."""

    voice: VoiceFolder
    owner: str | None
    request: gr.Request


class Handlers:
    """What the events of the panel do; `shown` is the component that shows it."""

    def __init__(self, page: Page, shown: gr.HTML) -> None:
        self.page, self.shown = page, shown
        self.actions: dict[str, Callable[..., Updates]] = {
            "take": self._record,
            "again": self._remove_last,
            "choose": self._select,
            "skip": self._skip,
            "use": self._use,
            "leave": self._leave,
            "list": self._list,
            "delete": self._delete,
        }

    def load(self, token: str, stored_key: str, request: gr.Request) -> Updates:
        """The panel of a visitor who comes; `stored_key` is the model that the browser remembers."""
        visit = self._visit(token, request)
        # The page may not have loaded the remembered model yet.
        remembered = visit.owner is None and stored_key == OWN_KEY
        return self._show(visit, remembered=remembered)

    def act(self, event: gr.EventData, token: str, request: gr.Request) -> Updates:
        """Carry out the action of a button."""
        visit = self._visit(token, request)
        try:
            visitor_store.require_token(visit.owner)
            name = field(event._data, "act", str)
            action = self.actions.get(name)
            if action is None:
                raise UsageError(f"There is no button {name!r}: reload the page.")
            if name not in ENDING:
                permissions.require_training(visit.owner)
            return action(event._data, visit)
        except SerdemoError as problem:
            return self._show(visit, fault=str(problem))
        except Exception as problem:
            log.error("a button of the voice panel failed: %s", trace(problem))
            return self._show(visit, fault=FAULT)

    def train(self, token: str, request: gr.Request) -> Iterator[Updates]:
        """Adapt the visitor's model to the takes, and show how far that is."""
        visit = self._visit(token, request)
        voice, in_use = visit.voice, self._is_used(visit)
        try:
            permissions.require_training(visit.owner)
            start = start_model(self.page, voice, request)
            for progress, message in adaptation_progress(start, voice):
                yield self._show(visit, progress=progress, message=message)
            self.page.visitors.forget(voice.checkpoint)
            if in_use:
                self.page.visitors.choose(request.session_hash, voice.checkpoint)
        except SerdemoError as problem:
            yield self._show(visit, fault=str(problem))
            return
        except Exception as problem:
            log.error("an adaptation failed: %s", trace(problem))
            yield self._show(visit, fault=FAULT)
            return
        yield self._show(visit)

    def _visit(self, token: str, request: gr.Request) -> Visit:
        owner = self.page.owner(token, request)
        return Visit(takes.voice_of(owner), owner, request)

    def _is_used(self, visit: Visit) -> bool:
        """Whether the adapted model answers the visitor."""
        return self.page.answered_by(visit.request) == visit.voice.checkpoint

    def _show(self, visit: Visit, *, remembered: bool = False, **state: Any) -> Updates:
        if state.get("fault"):
            note_refusal()
        in_use = visit.voice.report() is not None and (remembered or self._is_used(visit))
        is_remote, turn = visit.owner is not None, time.time_ns()
        state = {"in_use": in_use, "is_remote": is_remote, "turn": turn, **state}
        return {self.shown: panel(visit.voice, PanelState(**state))}

    def _record(self, data: Request, visit: Visit) -> Updates:
        emotion, samples = _emotion(data), from_base64(field(data, "samples", str))
        clip = takes.take_from_samples(samples, field(data, "rate", int))
        predictor = self.page.visitors.of(visit.request.session_hash).get()
        fault, may_keep = takes.recording_fault(predictor, clip)
        if fault and not (may_keep and data.get("anyway") is True):
            fault = f"Not kept. {fault}"
            return self._show(visit, fault=fault, may_keep=may_keep)
        visit = replace(visit, voice=takes.begun_voice_of(visit.owner))
        visit.voice.add(emotion, clip)
        message = f"Kept: {emotion}, {clip.duration_s:.1f} s."
        return self._show(visit, message=message, last_emotion=emotion)

    def _remove_last(self, data: Request, visit: Visit) -> Updates:
        emotion = _emotion(data)
        visit.voice.remove_last(emotion)
        message = f"The last take of {emotion} is gone."
        return self._show(visit, message=message)

    def _select(self, data: Request, visit: Visit) -> Updates:
        emotions = data.get("emotions")
        visit = replace(visit, voice=takes.begun_voice_of(visit.owner))
        visit.voice.select([str(name) for name in emotions] if isinstance(emotions, list) else [])
        return self._show(visit)

    def _skip(self, data: Request, visit: Visit) -> Updates:
        emotion = _emotion(data)
        visit = replace(visit, voice=takes.begun_voice_of(visit.owner))
        visit.voice.select([name for name in visit.voice.selected() if name != emotion])
        message = f"{emotion} is left out: tick it to come back."
        return self._show(visit, message=message)

    def _use(self, data: Request, visit: Visit) -> Updates:
        self.page.visitors.forget(visit.voice.checkpoint)
        # The browser does not remember a model that is deleted with the session.
        key = OWN_KEY if visit.owner is None else ""
        return self._answer_by(visit, visit.voice.checkpoint, key)

    def _leave(self, data: Request, visit: Visit) -> Updates:
        return self._answer_by(visit, None, "")

    def _answer_by(
        self, visit: Visit, checkpoint: Path | None, key: str, message: str = ""
    ) -> Updates:
        """Answer the visitor by this model, None for the page's own, and let the browser store `key`."""
        session = visit.request.session_hash
        predictor = self.page.visitors.choose(session, checkpoint)
        return {
            **self._show(visit, message=message),
            self.page.footer: footer_html(session, predictor),
            self.page.chosen: key,
        }

    def _list(self, data: Request, visit: Visit) -> Updates:
        message = (
            f"It is listed as {import_adapted(visit.voice, visit.owner).key}: see the tab Models."
        )
        return self._show(visit, message=message)

    def _delete(self, data: Request, visit: Visit) -> Updates:
        in_use = self._is_used(visit)
        visit.voice.delete()
        self.page.visitors.forget(visit.voice.checkpoint)
        message = "Recordings and model are deleted."
        if in_use:
            return self._answer_by(visit, None, "", message)
        return self._show(visit, message=message)


def _emotion(data: Request) -> str:
    emotion = field(data, "emotion", str)
    if emotion not in EMOTIONS:
        raise UsageError(f"There is no emotion {emotion[:40]!r} here: reload the page.")
    return emotion


def start_model(page: Page, voice: VoiceFolder, request: gr.Request) -> Predictor:
    """The model to adapt: the one that answers the visitor or, when that is the adapted model, the
    one that it was made from."""
    current = page.visitors.of(request.session_hash).get()
    if current.folder != voice.checkpoint:
        return current
    with suppress(SerdemoError, KeyError, TypeError):
        options = current_options(read_json(voice.folder / "config.json")["options"])
        return page.visitors.at(Path(options["init_from"]))
    return page.model.get()


def adaptation_progress(start: Predictor, voice: VoiceFolder) -> Iterator[tuple[float, str]]:
    """Adapt a model to the takes, yielding progress in [0, 1] and the current step in words.

    Ends early, and leaves nothing, when the visitor deletes the recordings or leaves meanwhile.
    """
    from serdemo.runs.adaptation import run as adaptation_run
    from serdemo.training.events import Started, Step

    clips = voice.utterances()
    n_steps = len(clips) + 1
    yield 0.0, f"Hearing {len(clips)} takes"
    events = adaptation_run.train(
        {"init_from": str(start.folder)},
        clips,
        voice.folder,
        predictor=start,
        command=voice.command(),
        resume=True,
    )
    try:
        for event in events:
            if not voice.recordings.exists():
                return
            if isinstance(event, Started):
                n_steps = event.steps
            elif isinstance(event, Step):
                extracted = event.step >= n_steps - 1
                message = "Training" if extracted else f"Heard {event.step} of {n_steps - 1} takes"
                yield event.step / n_steps, message
    finally:
        if clips and not voice.recordings.exists():
            voice.delete()


def import_adapted(voice: VoiceFolder, owner: str | None) -> Entry:
    """Copy a remote visitor's adapted model into the visitor's registry."""
    archive = visitor_store.export(Entry(takes.NAME, "folder", voice.checkpoint))
    return visitor_store.add_archive(archive, owner)
