"""The tab Recognise: its layout, and which handler answers which event."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from serdemo.data.corpora.corpus import AUDIO_SUFFIXES
from serdemo.inference.subtitles import SUBTITLE_SUFFIXES
from serdemo.ui.browser import files
from serdemo.ui.recognise.handlers import first_screen, recognise
from serdemo.ui.shell import scripts, theme
from serdemo.ui.shell.call_errors import NO_CALL
from serdemo.ui.shell.examples import EXAMPLES, example
from serdemo.ui.shell.html import plain_html
from serdemo.ui.shell.page import Page
from serdemo.ui.shell.privacy import READ
from serdemo.ui.shell.session import RequestTracker
from serdemo.ui.shell.uploads import MAX_FILES, MAX_MB, Recording, uploaded

ACCEPTED = ",".join(("audio/*", "video/*", *sorted(AUDIO_SUFFIXES | SUBTITLE_SUFFIXES)))
DROP_ZONE = f"""
<label class="sd-drop" data-max-files="{MAX_FILES}" data-max-mb="{MAX_MB}">
  <input type="file" multiple accept="{ACCEPTED}"
    aria-label="Choose audio or video files" aria-describedby="sd-drop-limits">
  <span class="sd-drop-title">Drop audio or video here</span>
  <span class="sd-drop-button">Choose files</span>
  <span class="sd-drop-status" role="status"></span>
  <small id="sd-drop-limits">Up to {MAX_FILES} files<span class="sd-for-visitors"> of at most {MAX_MB} MB
    each</span>: WAV, MP3, M4A, MP4, MKV and more. <span class="sd-with-server">With subtitles (SRT, VTT)
    beside a file, each line of them gets an answer.</span></small>
</label>"""
LOCAL = '<span class="sd-is-local" hidden></span>'  # for the scripts and the style
LEAD = """<p>Find out how a voice sounds: the answer, how sure it is, and where in the recording it was
heard.</p>"""
EXAMPLES_TITLE = "<h2>Or hear an example</h2><p>Synthetic voices, spoken by a computer.</p>"
PRIVACY = f"<p>{READ} The answer lives only in this page.</p>"


def is_local_user(page: Page, request: gr.Request) -> bool:
    """Whether a visitor sits at this machine, where no size is too large."""
    return page.owner("", request) is None


def build(page: Page) -> None:
    """Lay the tab out inside the page and connect it."""
    plain_html(LEAD, elem_classes="sd-lead")
    with gr.Row(elem_classes="sd-columns", equal_height=False):
        with gr.Column(scale=4, min_width=300, elem_classes="sd-inputs"):
            zone = plain_html(
                html_template=DROP_ZONE,
                js_on_load=scripts.on_load("recognise/drop.js"),
                elem_id="recognise-drop",
            )
            local = plain_html("", elem_classes="sd-local")
            recorder = gr.Audio(
                sources=["microphone"],
                type="filepath",
                label="Or speak into the microphone",
                buttons=[],
                elem_id="recognise-recorder",
                waveform_options=gr.WaveformOptions(
                    waveform_color="#8a94a6", waveform_progress_color="#5b7cc0"
                ),
            )
            plain_html(
                html_template=theme.asset("recognise/here.html"),
                js_on_load=scripts.on_load("recognise/here.js", examples=files.example_addresses()),
                elem_id="recognise-here",
            )
            plain_html(EXAMPLES_TITLE, elem_classes="sd-examples-title")
            with gr.Row(elem_classes="sd-examples"):
                buttons = {label: gr.Button(label, size="sm", min_width=120) for label in EXAMPLES}
            plain_html(PRIVACY, elem_classes="sd-privacy")
        with gr.Column(scale=7, min_width=320):
            result = plain_html(
                html_template=theme.asset("recognise/waiting.html"),
                js_on_load=scripts.on_load("recognise/result.js"),
                elem_id="recognise-result",
            )
    _wire(page, zone, recorder, buttons, result)

    def on_load(request: gr.Request) -> str:
        return LOCAL if is_local_user(page, request) else ""

    page.load(
        on_load,
        outputs=local,
        show_progress="hidden",
        api_visibility="private",
        concurrency_limit=None,
    )


def _wire(
    page: Page,
    zone: gr.HTML,
    recorder: gr.Audio,
    buttons: dict[str, gr.Button],
    result: gr.HTML,
) -> None:
    runs, visitors = RequestTracker(), page.visitors

    def start(
        recordings: list[Recording], request: gr.Request, same_person: bool = False
    ) -> Iterator[str]:
        model = visitors.of(request.session_hash)
        return recognise(model, recordings, runs.begin(request.session_hash), same_person)

    def on_load(request: gr.Request) -> Any:
        run = runs.begin(request.session_hash, yielding=True)
        answer = first_screen(visitors.own)
        run.end()
        # A request that began meanwhile shows its own answer.
        return gr.skip() if run.replaced else answer

    def on_upload(event: gr.EventData, request: gr.Request) -> Iterator[str]:
        files: Any = event._data.get("files") if isinstance(event._data, dict) else None
        sent = [file for file in files if "name" in file] if _are_objects(files) else []
        if not sent:
            raise gr.Error(NO_CALL, print_exception=False)
        if len(sent) > MAX_FILES:
            gr.Warning(
                f"{len(sent) - MAX_FILES} files were left out: send at most {MAX_FILES} at once."
            )
        same_person = event._data.get("same_person") is True
        unlimited = is_local_user(page, request)
        recordings = [uploaded(file, unlimited) for file in sent[:MAX_FILES]]
        yield from start(recordings, request, same_person)

    def on_record(path: str | None, request: gr.Request) -> Iterator[tuple[str, Any]]:
        if path is not None:
            for answer in start([Recording(Path(path), "Your recording")], request):
                yield answer, None

    def on_stop(request: gr.Request) -> None:
        runs.stop(request.session_hash)

    private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    shared: dict[str, Any] = {
        **private,
        "concurrency_id": "recognise",
        "concurrency_limit": 2,
        "trigger_mode": "multiple",
    }
    first = page.load(on_load, outputs=result, concurrency_limit=None, **private)
    zone.upload(on_upload, outputs=result, cancels=first, **shared)
    recorder.stop_recording(on_record, recorder, [result, recorder], cancels=first, **shared)
    for label, button in buttons.items():

        def on_example(request: gr.Request, label: str = label) -> Iterator[str]:
            yield from start([example(label)], request)

        button.click(on_example, outputs=result, cancels=first, **shared)
    result.stop(on_stop, queue=False, **private)


def _are_objects(values: Any) -> bool:
    """Whether a browser sent a list of objects, as the page does."""
    return isinstance(values, list) and all(isinstance(value, dict) for value in values)
