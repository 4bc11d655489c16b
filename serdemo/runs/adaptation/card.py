"""The model card of a model that was adapted to one speaker."""

from __future__ import annotations

from serdemo.data.corpora import CORPORA
from serdemo.evaluation import model_card
from serdemo.nn.description import Description
from serdemo.runs.adaptation.features import AdaptationReport


def write(description: Description, report: AdaptationReport, command: str) -> str:
    """The model card as Markdown; `command` is the command line that made the model."""
    (uar_before, uar), gain = report.recalls, report.adapted.gain
    start, n_clips = description.metrics["voice"]["start"], len(report.truth)
    counts = ", ".join(f"{number} {name}" for name, number in report.clips.items())
    corpora = sorted(set(description.trained_on) & set(CORPORA))
    licence = description.licence or model_card.licence(corpora)
    lines = [
        *model_card.front_matter(description.name, "other", description.labels),
        f"# {description.name}",
        "",
        f"`{start}`, adapted to one speaker by {n_clips} clips ({counts}): the last layer of the"
        " classifier was refitted, the rest is unchanged.",
        "",
        "## How good it is on this voice",
        "",
        f"{gain.verdict} Points are percent of unweighted average recall (UAR); in brackets a 95 %"
        " interval.",
        "",
        f"One clip of every emotion at a time was predicted by a model adapted without it: UAR"
        f" {uar_before:.1%} before the adaptation, {uar:.1%} after. The estimate allows for the clips"
        " that these models lacked.",
        "",
        f"The results on other speakers are those of `{start}`, not of this model: expect it to be no"
        " better on other voices, and often worse.",
        "",
        "## What it was trained on",
        "",
        f"The clips of this speaker, which are not in this folder, and what `{start}` was trained on:"
        f" {', '.join(corpora) or 'not stated'}. No audio is shipped with the model.",
        "",
        *("## Made by", "", f"```\n{model_card.strip_local_paths(command)}\n```", ""),
        f"serdemo {description.code_version}.",
        "",
        *("## Licence", "", f"The weights: {licence}.", ""),
        *("## Limits", "", model_card.LIMITS, ""),
    ]
    return "\n".join(lines)
