"""The answer for one recording or several, as one piece of HTML: answer first, numbers after.

Everything the visitor may still want (sound, table, downloads) is inside that piece, so that
the server keeps nothing of a recording.
"""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from serdemo.schema import palette
from serdemo.schema.types import Prediction
from serdemo.ui.shell import html

if TYPE_CHECKING:
    from serdemo.audio.waveform import Clip

# Longer tables make a page slow; the downloads hold every row.
TABLE_ROWS = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one recording: a clip with its prediction, or the sentence why not."""

    name: str
    clip: Clip | None = None
    prediction: Prediction | None = None
    refusal: str = ""
    origin: str = ""


def answers_page(answers: Sequence[Answer], note: str = "") -> str:
    """All answers of one run; with several, a table to pick the one shown in detail."""
    details = "".join(
        f'<article class="sd-detail" data-index="{index}"{" hidden" if index else ""} '
        f'aria-label="{escape(answer.name)}">{_detail(answer)}</article>'
        for index, answer in enumerate(answers)
    )
    several = _picker(answers) if len(answers) > 1 else ""
    noted = f'<p class="sd-run-note">{escape(note)}</p>' if note else ""
    downloads = _downloads([a.prediction for a in answers if a.prediction])
    return _page(_announcement(answers, note), f"{noted}{several}{details}{downloads}")


def waiting_page(text: str, done: int = 0, total: int = 0) -> str:
    """The same shape without an answer, while one is being worked out."""
    progress = ""
    if total > 1:
        progress = (
            f'<progress max="{total}" value="{done}" aria-label="Files answered"></progress>'
            '<button type="button" class="sd-button" data-act="stop">Stop</button>'
        )
    bones = '<span class="sd-bone"></span>' * 5
    body = (
        '<article class="sd-detail sd-waiting"><header class="sd-answer">'
        f'<p class="sd-file">{escape(text)}</p><div class="sd-progress">{progress}'
        '<span class="sd-bone sd-bone-title"></span></div></header>'
        f'<span class="sd-bone sd-bone-wave"></span>{bones}</article>'
    )
    return _page(text, body)


def refusal_page(sentence: str) -> str:
    """What to show where no answer is possible at all."""
    return answers_page([Answer(name="", refusal=sentence)])


def to_csv(predictions: Sequence[Prediction]) -> str:
    """One row per segment: file, start_s, end_s, label, confidence, one column per label."""
    labels = list(dict.fromkeys(name for p in predictions for name in p.probabilities))
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["file", "start_s", "end_s", "label", "confidence", *labels])
    for prediction in predictions:
        for part in prediction.segments:
            shares = [part.probabilities.get(name, "") for name in labels]
            rows.writerow(
                [prediction.file, part.start_s, part.end_s, part.label, part.confidence, *shares]
            )
    return text.getvalue()


def to_json(predictions: Sequence[Prediction]) -> str:
    """The document that `serdemo predict --json` prints."""
    return json.dumps([p.to_json() for p in predictions], ensure_ascii=False, indent=2)


def model_line(name: str, metrics: Mapping[str, Any]) -> str:
    """The footer's words on the model: its name, and its recall on speakers it never heard.

    `metrics` maps a corpus to its figures as `evaluate` gives them; of these, entries with
    `unseen_speakers` are told.
    """
    told = ", ".join(
        f"{escape(corpus)} {html.percent(found['uar'])}"
        for corpus, found in metrics.items()
        if isinstance(found, dict) and found.get("unseen_speakers") and "uar" in found
    )
    recall = f" · unweighted average recall on unseen speakers: {told}" if told else ""
    return f"<p>Model <strong>{escape(name)}</strong>{recall}</p>"


def _page(announced: str, body: str) -> str:
    return (
        f'<p class="sd-spoken" role="status">{escape(announced)}</p>'
        f'<div class="sd-answers">{body}</div>'
    )


def _announcement(answers: Sequence[Answer], note: str) -> str:
    if len(answers) == 1:
        return f"{answers[0].name}: {_headline(answers[0])}"
    read = sum(answer.prediction is not None for answer in answers)
    return f"{note} {read} of {len(answers)} files answered.".strip()


def _headline(answer: Answer) -> str:
    return palette.sentence(answer.prediction) if answer.prediction else "No answer"


def _detail(answer: Answer) -> str:
    prediction, clip = answer.prediction, answer.clip
    parts = [_head(answer)]
    if notes := _notes(answer):
        listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
        parts.append(f'<ul class="sd-notes" aria-label="About this recording">{listed}</ul>')
    if prediction and clip:
        from serdemo.audio.waveform import SAMPLE_RATE

        drawn = html.timeline(prediction.segments, clip.samples, SAMPLE_RATE, answer.name)
        parts.append(f"<h3>Emotion over time</h3>{drawn}")
    if prediction and prediction.has_speech:
        parts.append(f"<h3>Taken as a whole</h3>{html.bars(prediction.probabilities)}")
        parts.append(_segment_table(prediction))
    return "".join(parts)


def _head(answer: Answer) -> str:
    """The answer itself, with the shares of the labels it names."""
    facts = [answer.name, answer.origin]
    if answer.clip:
        facts.insert(1, f"{answer.clip.duration_s:.1f} s")
    marks = share = ""
    prediction = answer.prediction
    if prediction and prediction.has_speech:
        named = prediction.nearest(2 if prediction.unsure else 1)
        marks = "".join(html.marker(label) for label in named)
        numbers = " / ".join(html.percent(prediction.probabilities[label]) for label in named)
        share = f'<span class="sd-share" title="Confidence">{numbers}</span>'
    told = " · ".join(escape(fact) for fact in facts if fact)
    return (
        f'<header class="sd-answer"><p class="sd-file">{told}</p>'
        f'<h2>{marks}<span class="sd-says">{escape(_headline(answer))}</span>{share}</h2></header>'
    )


def _notes(answer: Answer) -> tuple[str, ...]:
    if answer.prediction:
        return answer.prediction.warnings
    return (answer.refusal,)


def _segment_table(prediction: Prediction) -> str:
    segments = prediction.segments
    rows = "".join(
        f"<tr><td>{html.clock(part.start_s)}</td><td>{html.clock(part.end_s)}</td>"
        f"<td>{html.marker(part.label)}{escape(part.label)}</td>"
        f'<td class="sd-number">{html.percent(part.confidence)}</td></tr>'
        for part in segments[:TABLE_ROWS]
    )
    overlap = ""
    if any(before.end_s > after.start_s for before, after in pairwise(segments)):
        overlap = (
            "<p>Heard in windows that overlap; the waveform shows each up to the middle of "
            "the overlap.</p>"
        )
    more = len(segments) - TABLE_ROWS
    rest = f"<p>{more} more segments are in the downloads.</p>" if more > 0 else ""
    return (
        f'<details class="sd-segments"><summary>Segments ({len(segments)})</summary>'
        '<div class="sd-scroll" tabindex="0" role="region" aria-label="Table of segments">'
        f'{overlap}<table><thead><tr><th scope="col">From</th><th scope="col">To</th>'
        '<th scope="col">Sounds</th><th scope="col">Confidence</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>{rest}</div></details>"
    )


def _picker(answers: Sequence[Answer]) -> str:
    rows = []
    for index, answer in enumerate(answers):
        prediction = answer.prediction
        share, mark = "", ""
        if prediction and prediction.has_speech:
            share = html.percent(prediction.confidence)
            mark = html.marker(prediction.label)
        notes = " ".join(_notes(answer))
        noted = f"<small>{escape(notes)}</small>" if notes else ""
        rows.append(
            f'<tr><th scope="row"><button type="button" data-pick="{index}" '
            f'aria-pressed="{"false" if index else "true"}">{escape(answer.name)}</button>'
            f"{noted}</th><td>{mark}{escape(_headline(answer))}</td>"
            f'<td class="sd-number">{share}</td></tr>'
        )
    return (
        '<div class="sd-picker"><table><caption>Pick a file to see it in detail.</caption>'
        '<thead><tr><th scope="col">File</th><th scope="col">Answer</th>'
        '<th scope="col">Confidence</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _downloads(predictions: Sequence[Prediction]) -> str:
    if not predictions:
        return ""
    links = []
    for kind, mime, text in (
        ("CSV", "text/csv", to_csv(predictions)),
        ("JSON", "application/json", to_json(predictions)),
    ):
        coded = base64.b64encode(text.encode()).decode()
        links.append(
            f'<a class="sd-button" download="serdemo.{kind.lower()}" '
            f'href="data:{mime};charset=utf-8;base64,{coded}">Download {kind}</a>'
        )
    return f'<p class="sd-downloads">{"".join(links)}</p>'
