"""Answers that the page saves as files, beside those of the command line, and its markers."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.node import run_module

from serdemo.inference import answers as documents
from serdemo.inference.answers import TIMELINES
from serdemo.inference.cue_scores import ScoredCue
from serdemo.inference.subtitles import Cue
from serdemo.schema.palette import style_of
from serdemo.schema.types import EMOTIONS, Prediction, Segment
from serdemo.ui.recognise import drawing, view
from serdemo.ui.shell import theme
from serdemo.ui.shell.html import bars, marker
from serdemo.ui.shell.uploads import MAX_FILES

pytestmark = pytest.mark.slow  # they start node

SHARES = {"angry": 0.7, "sad": 0.25, "label": 0.05}
SAMPLES = np.sin(np.arange(20_003) ** 1.3).astype(np.float32) * np.linspace(
    0, 0.3, 20_003, dtype=np.float32
)
NODE = """
import { MAX_FILES, SAME_PERSON } from "./ui/recognise/in_browser/answering.js";
import { waveLevels } from "./ui/recognise/timeline.js";
import { blobOf, filesOf, filesOfAll } from "./ui/recognise/saving.js";
import { pageHtml } from "./ui/recognise/answers.js";
import { EMOTION_STYLES, bars } from "./ui/shell/js/emotions.js";
const content = async (files) => Promise.all(files.map(async (file) =>
  [file.title, file.name, Buffer.from(await blobOf(file).arrayBuffer()).toString("hex")]));
const { answers } = given;
done({
  each: await Promise.all(answers.map((answer) => content(filesOf(answer)))),
  all: await content(filesOfAll(answers)),
  styles: Object.fromEntries(Object.entries(EMOTION_STYLES).map(([label, { colour, marker }]) =>
    [label, { colour, marker: String(marker) }])),
  bars: String(bars(given.shares)),
  waiting: pageHtml(given.waiting),
  limits: { files: MAX_FILES, note: SAME_PERSON },
  levels: waveLevels(Float32Array.from(given.samples), given.samples.length / 16000),
});
"""


def segment(start_s: float, end_s: float, label: str = "angry", speech: float = 1.0) -> Segment:
    return Segment(start_s, end_s, label, SHARES.get(label, 0.125), SHARES, speech)


def prediction(name: str, *segments: Segment, **values: Any) -> Prediction:
    parts = segments or (segment(0.0, 2.0),)
    given: dict[str, Any] = {"label": "angry", "confidence": 0.7, "unsure": False} | values
    return Prediction(
        name, parts[-1].end_s, probabilities=given.pop("shares", SHARES), segments=parts, **given
    )


def regression(name: str) -> Prediction:
    values = {"arousal": 0.125, "valence of\tit": 1.0}
    part = Segment(0.5, 2.0005, "", 0.0, {}, 1.0, values)
    return Prediction(name, 2.5, "", 0.0, False, {}, (part,), dimensions=values)


def cues() -> tuple[ScoredCue, ...]:
    return (
        ScoredCue(Cue(0.0, 1.5, "hi\n\nyou", "<i>hi</i>\n\n<i>you</i>", "srt"), prediction("x")),
        ScoredCue(Cue(1.2, 2.5, "a < b & c", "a &lt; b", "vtt", "align:start"), prediction("x")),
        ScoredCue(Cue(2.0625, 3.0005, '=1+"2"'), prediction("x", unsure=True)),
        ScoredCue(Cue(4.0, 5.0, "ein Ton"), prediction("x", segment(0.0, 1.0, speech=0.0))),
        ScoredCue(Cue(3600.0, 3601.5, "late"), error="This cue begins after the end."),
    )


def talk() -> Prediction:
    """Overlapping windows, a pause, and numbers that are hard to write."""
    shares = {"angry": 1e-05, "sad": 0.999, "label": 1.5e-07, "fear": 0.0}
    return prediction(
        "talk",
        *(segment(0.5 * i, 0.5 * i + 3.0, "sad" if i % 3 else "angry") for i in range(9)),
        segment(8.0, 9.0, "fear", speech=0.0),
        segment(9.0625, 12.0),
        shares=shares,
        warnings=("Quiet, and short.", "Two."),
    )


ANSWERS = (
    view.Answer('Gespräch, "laut" 👍.mp4', prediction=talk()),
    view.Answer("b.wav", refusal="b.wav is damaged."),
    view.Answer("=a,b.wav", prediction=prediction("x")),
    view.Answer("=A,B.mp3", prediction=prediction("x", segment(0.0, 2.0, speech=0.0))),
    view.Answer("=a,b.wav", prediction=regression("x")),
    view.Answer("film.v2.mkv", prediction=prediction("film"), cues=cues()),
    view.Answer("film.mkv", prediction=regression("x"), cues=cues()[-1:]),
)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the page makes of the answers."""
    page = json.loads(view.answers_page(ANSWERS))
    waiting = json.loads(view.waiting_page("Waking the model up"))
    given = {
        "samples": SAMPLES.tolist(),
        "answers": page["answers"],
        "waiting": waiting,
        "shares": {"sad": 0.125, "angry": 0.705, "<b>": 0.17},
    }
    found: dict[str, Any] = run_module(tmp_path_factory.mktemp("node"), NODE, given)
    return found


def document(answer: view.Answer) -> documents.Answer:
    return documents.Answer(answer.name, answer.prediction, answer.refusal, answer.cues)


def contents(files: Sequence[Sequence[str]]) -> dict[str, bytes]:
    return {name: bytes.fromhex(content) for _, name, content in files}


@pytest.mark.parametrize("index", range(len(ANSWERS)))
def test_an_answer_is_saved_as_the_command_line_writes_it(told: dict[str, Any], index: int) -> None:
    answer = document(ANSWERS[index])
    files = contents(told["each"][index])
    if not answer.prediction:
        assert files == {}
        return
    stem = Path(answer.file).stem
    expected = {
        f"{stem}.csv": documents.to_csv(documents.segments_table([answer])),
        f"{stem}.json": documents.to_json([answer]),
        **{f"{stem}{form.suffix}": form.text(answer) for form in TIMELINES.values()},
    }
    if answer.cues:
        expected[f"{stem}-cues.csv"] = documents.to_csv(documents.cues_table([answer]))
    assert files == {name: documents.encoded(text) for name, text in expected.items()}


def test_several_answers_are_saved_together(told: dict[str, Any]) -> None:
    everything = [document(answer) for answer in ANSWERS]
    answered = [answer for answer in everything if answer.prediction]
    files = contents(told["all"])
    with zipfile.ZipFile(io.BytesIO(files.pop("serdemo.zip"))) as archive:
        assert archive.testzip() is None
        members = {name: archive.read(name) for name in archive.namelist()}
    expected = {
        "serdemo.csv": documents.to_csv(documents.segments_table(answered)),
        "serdemo-files.csv": documents.to_csv(documents.files_table(everything)),
        "serdemo.json": documents.to_json(answered),
        "serdemo.rttm": documents.to_rttm(answered),
    }
    assert files == {name: documents.encoded(text) for name, text in expected.items()}
    stems = documents.unique_stems([answer.file for answer in answered])
    assert members == {
        f"{name}/{stem}{TIMELINES[name].suffix}": documents.encoded(TIMELINES[name].text(answer))
        for stem, answer in zip(stems, answered, strict=True)
        for name in ("srt", "vtt", "textgrid", "audacity")
    }


def test_markers_and_bars_are_those_of_the_other_tabs(told: dict[str, Any]) -> None:
    labels = (*EMOTIONS, "other")
    expected = {name: {"colour": style_of(name).colour, "marker": marker(name)} for name in labels}
    assert told["styles"] == expected
    drawn = bars({"sad": 0.125, "angry": 0.705, "<b>": 0.17})
    assert told["bars"].replace("&#60;", "&lt;").replace("&#62;", "&gt;") == drawn


def test_the_first_html_of_the_page_waits_as_its_script_does(told: dict[str, Any]) -> None:
    assert told["waiting"] == theme.asset("recognise/waiting.html")


def test_the_browser_draws_and_limits_as_the_server_does(told: dict[str, Any]) -> None:
    assert told["levels"] == pytest.approx(drawing.bar_levels(SAMPLES, 16_000), abs=6e-4)
    assert told["limits"] == {"files": MAX_FILES, "note": view.SamePerson().note}
