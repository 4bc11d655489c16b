"""The tab Recognise: its layout, and which handler answers which event."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from serdemo.ui.recognise import view
from serdemo.ui.recognise.handlers import first_screen, recognise
from serdemo.ui.shell import scripts
from serdemo.ui.shell.examples import EXAMPLES, example
from serdemo.ui.shell.page import Page
from serdemo.ui.shell.session import RequestTracker
from serdemo.ui.shell.uploads import MAX_FILES, MAX_MB, Recording, uploaded

DROP_ZONE = f"""
<label class="sd-drop" data-max-files="{MAX_FILES}" data-max-mb="{MAX_MB}">
  <input type="file" multiple accept="audio/*,.wav,.flac,.ogg,.opus,.mp3,.aiff,.aif,.m4a,.webm"
    aria-label="Choose audio files" aria-describedby="sd-drop-limits">
  <span class="sd-drop-title">Drop audio here</span>
  <span class="sd-drop-button">Choose audio files</span>
  <span class="sd-drop-status" role="status"></span>
  <small id="sd-drop-limits">Up to {MAX_FILES} files of at most {MAX_MB} MB each:
    WAV, FLAC, OGG, MP3, AIFF and more.</small>
</label>"""


def build(page: Page) -> None:
    """Lay the tab out inside the page and connect it."""
    gr.HTML(
        "<p>Find out how a voice sounds: the answer, how sure it is, and where in the "
        "recording it was heard.</p>",
        elem_classes="sd-lead",
        apply_default_css=False,
    )
    with gr.Row(elem_classes="sd-columns", equal_height=False):
        with gr.Column(scale=4, min_width=300, elem_classes="sd-inputs"):
            zone = gr.HTML(
                html_template=DROP_ZONE,
                js_on_load=scripts.on_load("recognise/drop.js"),
                apply_default_css=False,
                elem_id="recognise-drop",
            )
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
            gr.HTML(
                "<h3>Or hear an example</h3><p>Synthetic voices, spoken by a computer.</p>",
                elem_classes="sd-examples-title",
                apply_default_css=False,
            )
            with gr.Row(elem_classes="sd-examples"):
                buttons = {label: gr.Button(label, size="sm", min_width=120) for label in EXAMPLES}
            gr.HTML(
                "<p>Your recording is deleted from the server as soon as it has been read, and "
                "the answer lives only in this page.</p>",
                elem_classes="sd-privacy",
                apply_default_css=False,
            )
        with gr.Column(scale=7, min_width=320):
            result = gr.HTML(
                view.waiting_page("Waking the model up"),
                js_on_load=scripts.on_load("recognise/result.js"),
                apply_default_css=False,
                elem_id="recognise-result",
            )
    _wire(page, zone, recorder, buttons, result)


def _wire(
    page: Page,
    zone: gr.HTML,
    recorder: gr.Audio,
    buttons: dict[str, gr.Button],
    result: gr.HTML,
) -> None:
    runs, visitors = RequestTracker(), page.visitors

    def on_load(request: gr.Request) -> Any:
        run = runs.begin(request.session_hash, yielding=True)
        answer = first_screen(visitors.own)
        run.end()
        # Whoever was quick to ask keeps the answer to that.
        return gr.skip() if run.replaced else answer

    def on_upload(event: gr.EventData, request: gr.Request) -> Iterator[str]:
        sent = event._data["files"]
        if len(sent) > MAX_FILES:
            gr.Warning(
                f"{len(sent) - MAX_FILES} files were left out: send at most {MAX_FILES} at once."
            )
        recordings = [uploaded(file) for file in sent[:MAX_FILES]]
        model = visitors.of(request.session_hash)
        yield from recognise(model, recordings, runs.begin(request.session_hash))

    def on_record(path: str | None, request: gr.Request) -> Iterator[tuple[str, Any]]:
        if path is None:
            return
        recording = Recording(Path(path), "Your recording")
        model = visitors.of(request.session_hash)
        for shown in recognise(model, [recording], runs.begin(request.session_hash)):
            yield shown, None

    def on_stop(request: gr.Request) -> None:
        runs.stop(request.session_hash)

    shared: dict[str, Any] = {
        "show_progress": "hidden",
        "api_visibility": "private",
        "concurrency_id": "recognise",
        "concurrency_limit": 2,
        "trigger_mode": "multiple",
    }
    first = page.load(
        on_load,
        outputs=result,
        show_progress="hidden",
        api_visibility="private",
        concurrency_limit=None,
    )
    zone.upload(on_upload, outputs=result, cancels=first, **shared)
    recorder.stop_recording(on_record, recorder, [result, recorder], cancels=first, **shared)
    for label, button in buttons.items():

        def on_example(request: gr.Request, label: str = label) -> Iterator[str]:
            model = visitors.of(request.session_hash)
            yield from recognise(model, [example(label)], runs.begin(request.session_hash))

        button.click(on_example, outputs=result, cancels=first, **shared)
    result.stop(on_stop, queue=False, show_progress="hidden", api_visibility="private")
