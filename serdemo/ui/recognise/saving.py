"""Answers as files inside the page, so that the server keeps nothing of a recording."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from serdemo.inference import answers as documents
from serdemo.inference.answers import TIMELINES, Answer

ALL = "serdemo"  # the name of files that hold all answers
TITLES = {
    "srt": "Subtitles (SRT)",
    "vtt": "Subtitles (WebVTT)",
    "textgrid": "Praat TextGrid",
    "audacity": "Audacity labels",
    "rttm": "RTTM",
}


@dataclass(frozen=True, slots=True)
class Saved:
    """A file to download: what it is, its name, and the address that holds its content."""

    title: str
    name: str
    url: str


def saved_answer(answer: Answer) -> list[Saved]:
    """The files of one answer."""
    stem = PurePath(answer.file.replace("\\", "/")).stem or ALL
    texts = {
        "Segments (CSV)": (f"{stem}.csv", documents.to_csv(documents.segments_table([answer]))),
        "JSON": (f"{stem}.json", documents.to_json([answer])),
        **{
            TITLES[name]: (f"{stem}{form.suffix}", form.text(answer))
            for name, form in TIMELINES.items()
        },
    }
    if answer.cues:
        cues = documents.to_csv(documents.cues_table([answer]))
        texts["Cues (CSV)"] = (f"{stem}-cues.csv", cues)
    return [_saved(title, name, text) for title, (name, text) in texts.items()]


def saved_answers(answers: Sequence[Answer]) -> list[Saved]:
    """The files of several answers at once; none where there is no answer."""
    answered = [answer for answer in answers if answer.prediction]
    if not answered:
        return []
    texts = {
        "Segments (CSV)": (f"{ALL}.csv", documents.to_csv(documents.segments_table(answered))),
        "A row a file (CSV)": (
            f"{ALL}-files.csv",
            documents.to_csv(documents.files_table(answers)),
        ),
        "JSON": (f"{ALL}.json", documents.to_json(answered)),
        TITLES["rttm"]: (f"{ALL}.rttm", documents.to_rttm(answered)),
    }
    timelines = "SRT, WebVTT, TextGrid and Audacity of each (ZIP)"
    return [
        *(_saved(title, name, text) for title, (name, text) in texts.items()),
        Saved(timelines, f"{ALL}.zip", data_url("application/zip", _zipped(answered))),
    ]


def _zipped(answers: Sequence[Answer]) -> bytes:
    """A zip with the timeline of each answer in each format, below a folder for each format."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for stem, answer in zip(
            documents.unique_stems([PurePath(a.file).name for a in answers]), answers, strict=True
        ):
            for name in ("srt", "vtt", "textgrid", "audacity"):
                form = TIMELINES[name]
                archive.writestr(
                    f"{name}/{stem}{form.suffix}", documents.encoded(form.text(answer))
                )
    return content.getvalue()


def _saved(title: str, name: str, text: str) -> Saved:
    kind = "application/json" if name.endswith(".json") else "text/plain"
    if name.endswith(".csv"):
        kind = "text/csv"
    return Saved(title, name, data_url(f"{kind};charset=utf-8", documents.encoded(text)))


def data_url(mime: str, content: bytes) -> str:
    """An address that holds the content itself."""
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"
