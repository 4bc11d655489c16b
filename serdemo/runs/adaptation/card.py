"""The model card of a model that was taught one voice."""

from __future__ import annotations

from serdemo.data.corpora import CORPORA
from serdemo.evaluation import model_card
from serdemo.nn.description import Description
from serdemo.runs.adaptation.features import AdaptationReport


def write(description: Description, lesson: AdaptationReport, command: str) -> str:
    """The model card as Markdown: what the voice taught, and what was there before."""
    (before, after), (right_before, right) = lesson.recalls, lesson.right
    start = description.metrics["voice"]["start"]
    taught = ", ".join(f"{number} {name}" for name, number in lesson.clips.items())
    corpora = sorted(set(description.trained_on) & set(CORPORA))
    lines = [
        *("---", "license: other", "library_name: serdemo", *model_card.EMOTION_TAGS, "---", ""),
        f"# {description.name}",
        "",
        f"`{start}`, taught one voice by {len(lesson.truth)} clips of it ({taught}): its last layer"
        " was moved towards them, the rest is as it was.",
        "",
        "## How good it is on this voice",
        "",
        "Each clip was left out in turn and answered by a model taught without it: an estimate for"
        " further clips of this voice, spoken alike. Unweighted average recall (UAR) in percent.",
        "",
        "| | UAR | clips heard rightly |",
        "|---|---|---|",
        f"| before | {before:.1%} | {right_before} of {len(lesson.truth)} |",
        f"| after | {after:.1%} | {right} of {len(lesson.truth)} |",
        "",
        f"Figures on strangers' voices are those of `{start}`, not of this model: expect it to"
        " answer other voices no better than that, and often worse.",
        "",
        "## What it was trained on",
        "",
        f"The clips of this voice, which are not in this folder, and what `{start}` was trained on:"
        f" {', '.join(corpora) or 'not told'}. No audio is shipped with the model.",
        "",
        *("## Made by", "", f"```\n{model_card.strip_local_paths(command)}\n```", ""),
        f"serdemo {description.code_version}.",
        "",
        *(
            "## Licence",
            "",
            f"The weights: {description.licence or model_card.licence(corpora)}.",
            "",
        ),
        *("## Limits", "", model_card.LIMITS, ""),
    ]
    return "\n".join(lines)
