"""Teach it your voice, a part of the tab Fine-tune: one panel, and what answers its buttons."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from serdemo.runs.registry.entry import PREFIXES
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import read_json
from serdemo.schema.renamed_options import current_options
from serdemo.schema.types import EMOTIONS
from serdemo.ui.adapt import takes
from serdemo.ui.adapt.takes import Voice
from serdemo.ui.adapt.view import PanelState, panel
from serdemo.ui.shell import scripts, visitor_store
from serdemo.ui.shell.page import Page, footer_html
from serdemo.ui.shell.rpc import field, from_base64
from serdemo.ui.shell.uploads import FAULT

if TYPE_CHECKING:
    from serdemo.inference.predictor import Predictor

TITLE = "Teach it your voice: a few sentences, about three minutes"
LEAD = """<p>Say five sentences in each emotion, one at a time. In seconds the model learns how you sound,
and you see whether that helped.</p>"""
KEY = f"{PREFIXES['run']}{takes.NAME}"  # what Models calls the model of whoever sits here

log = logging.getLogger(__name__)

Answer = tuple[Any, Any, Any]  # the panel, the foot of the page, the model kept by the browser


def build(page: Page) -> None:
    """Lay the part out inside the page and connect it."""
    with gr.Accordion(TITLE, open=False, elem_id="voice"):
        gr.HTML(LEAD, elem_classes="sd-lead", apply_default_css=False)
        shown = gr.HTML(
            "",
            js_on_load=scripts.on_load("adapt/takes.js"),
            apply_default_css=False,
            elem_id="voice-panel",
        )

    def look(
        voice: Voice, request: gr.Request, owner: str | None, kept: bool = False, **told: Any
    ) -> str:
        used = voice.taught() is not None and (
            kept or page.answered_by(request) == voice.checkpoint
        )
        public, turn = owner is not None, time.time_ns()
        return panel(voice, PanelState(used=used, public=public, turn=turn, **told))

    def on_load(token: str, chosen: str, request: gr.Request) -> str:
        owner = page.owner(token, request)
        # A choice of an earlier visit may not have been taken up yet.
        kept = owner is None and chosen == KEY
        return look(takes.voice_of(owner, request.session_hash), request, owner, kept=kept)

    def on_leave(request: gr.Request) -> None:
        if request.session_hash:
            page.visitors.forget(takes.delete_session(request.session_hash))

    def on_act(event: gr.EventData, token: str, request: gr.Request) -> Answer:
        owner = page.owner(token, request)
        voice = takes.voice_of(owner, request.session_hash)
        try:
            told, foot, kept = act(event._data, voice, owner, request)
        except SerdemoError as problem:
            told, foot, kept = {"fault": str(problem)}, gr.skip(), gr.skip()
        except Exception:
            log.exception("a press of a button failed")
            told, foot, kept = {"fault": FAULT}, gr.skip(), gr.skip()
        return look(voice, request, owner, **told), foot, kept

    def act(asked: Any, voice: Voice, owner: str | None, request: gr.Request) -> Any:
        """What one press of a button does: what is told of it, the foot, the choice to keep."""
        name = field(asked, "act", str)
        if name == "take":
            return recorded(asked, voice, request), gr.skip(), gr.skip()
        if name == "again":
            emotion = _emotion(asked)
            voice.take_back(emotion)
            return {"said": f"The last take of {emotion} is gone."}, gr.skip(), gr.skip()
        if name == "choose":
            ticked = asked.get("emotions")
            voice.choose([str(one) for one in ticked] if isinstance(ticked, list) else [])
            return {}, gr.skip(), gr.skip()
        if name == "skip":
            emotion = _emotion(asked)
            voice.choose([one for one in voice.chosen() if one != emotion])
            return {"said": f"{emotion} is left out: tick it to come back."}, gr.skip(), gr.skip()
        if name == "use":
            page.visitors.forget(voice.checkpoint)
            predictor = page.visitors.choose(request.session_hash, voice.checkpoint)
            # A model that goes with the session is not asked for in the next.
            kept = KEY if owner is None else ""
            return {}, footer_html(request.session_hash, predictor), kept
        if name == "keep":
            return {"said": _keep(voice, owner)}, gr.skip(), gr.skip()
        if name in ("leave", "delete"):
            before = page.answered_by(request)
            if name == "delete":
                voice.delete()
                page.visitors.forget(voice.checkpoint)
            if name == "delete" and before != voice.checkpoint:
                return {"said": "Recordings and model are deleted."}, gr.skip(), gr.skip()
            predictor = page.visitors.choose(request.session_hash, None)
            said = "Recordings and model are deleted." if name == "delete" else ""
            return {"said": said}, footer_html(request.session_hash, predictor), ""
        raise UsageError(f"There is no button {name!r}: reload the page.")

    def recorded(asked: Any, voice: Voice, request: gr.Request) -> dict[str, Any]:
        emotion, samples = _emotion(asked), from_base64(field(asked, "samples", str))
        takes.check_voice_quota(voice)
        clip = takes.take_from_samples(samples, field(asked, "rate", int))
        predictor = page.visitors.of(request.session_hash).get()
        fault, spare = takes.recording_fault(predictor, clip)
        if fault and not (spare and asked.get("anyway") is True):
            return {"fault": f"Not kept. {fault}", "spare": spare}
        voice.keep(emotion, clip)
        return {"said": f"Kept: {emotion}, {clip.duration_s:.1f} s.", "last": emotion}

    def on_teach(token: str, request: gr.Request) -> Iterator[Answer]:
        owner = page.owner(token, request)
        voice = takes.voice_of(owner, request.session_hash)
        used = page.answered_by(request) == voice.checkpoint
        try:
            start = _start(page, voice, request)
            for share, said in _teaching(start, voice):
                yield look(voice, request, owner, share=share, said=said), gr.skip(), gr.skip()
            page.visitors.forget(voice.checkpoint)
            if used:
                page.visitors.choose(request.session_hash, voice.checkpoint)
        except SerdemoError as problem:
            yield look(voice, request, owner, fault=str(problem)), gr.skip(), gr.skip()
            return
        except Exception:
            log.exception("teaching failed")
            yield look(voice, request, owner, fault=FAULT), gr.skip(), gr.skip()
            return
        yield look(voice, request, owner), gr.skip(), gr.skip()

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    often = {**quiet, "trigger_mode": "multiple"}  # the script waits for an answer by itself
    outputs = [shown, page.footer, page.chosen]
    page.load(on_load, [page.token, page.chosen], shown, **quiet)
    page.unload(on_leave)
    shown.submit(on_act, page.token, outputs, concurrency_limit=4, **often)
    shown.apply(on_teach, page.token, outputs, concurrency_limit=1, **often)


def _emotion(asked: Any) -> str:
    emotion = field(asked, "emotion", str)
    if emotion not in EMOTIONS:
        raise UsageError(f"There is no emotion {emotion[:40]!r} here: reload the page.")
    return emotion


def _start(page: Page, voice: Voice, request: gr.Request) -> Predictor:
    """The model to teach: that which answers this visitor, or that which was taught before."""
    now = page.visitors.of(request.session_hash).get()
    if now.folder != voice.checkpoint:
        return now
    with suppress(SerdemoError, KeyError, TypeError):
        options = current_options(read_json(voice.folder / "config.json")["options"])
        return page.visitors.at(Path(options["init_from"]))
    return page.model.get()


def _teaching(start: Predictor, voice: Voice) -> Iterator[tuple[float, str]]:
    """Teach, telling how far it has come and what is done now."""
    from serdemo.runs.adaptation import run as personal_run
    from serdemo.training.events import Started, Step

    clips = voice.utterances()
    values = {"init_from": str(start.folder)}
    total = len(clips) + 1
    yield 0.0, f"Hearing {len(clips)} takes"
    happening = personal_run.train(
        values, clips, voice.folder, predictor=start, command=voice.command(), resume=True
    )
    try:
        for event in happening:
            if not voice.recordings.exists():  # deleted meanwhile, or the visitor has left
                return
            if isinstance(event, Started):
                total = event.steps
            elif isinstance(event, Step):
                done = event.step >= total - 1
                said = "Teaching" if done else f"Heard {event.step} of {total - 1} takes"
                yield event.step / total, said
    finally:
        if clips and not voice.recordings.exists():
            voice.delete()


def _keep(voice: Voice, owner: str | None) -> str:
    """Put a visitor's model on the visitor's own shelf."""
    from serdemo.runs.registry.entry import Entry

    archive = visitor_store.export(Entry(takes.NAME, "folder", voice.checkpoint))
    entry = visitor_store.import_archive(archive, owner)
    return f"It is kept as {entry.key}: see the tab Models."
