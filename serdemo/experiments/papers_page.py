"""What the papers claim and what was found, as one page of Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from serdemo.evaluation.report import markdown
from serdemo.schema.files import write_json, write_text

PAGE, DOCUMENT = "papers.md", "papers.json"
PROTOCOL = (
    "Speaker-independent: the project's split (`--shipped-split`), seven classes, argmax over all of"
    " them; the epoch is chosen on the selection speakers. UAR in percent on the test speakers, mean ±"
    " standard deviation over the seeds; the difference with its 95 % interval, speakers and seeds drawn"
    " anew. Figures of the papers are of other corpora and other splits, so they stand beside these and"
    " are not to be compared with them."
)


def write(folder: Path, found: Sequence[Mapping[str, Any]], command: str) -> None:
    """Write `papers.md` and `papers.json`; `found` holds what is told of each paper and network.

    Raises SerdemoError when the folder cannot be written.
    """
    write_json(folder / DOCUMENT, {"protocol": PROTOCOL, "command": command, "papers": list(found)})
    write_text(folder / PAGE, "\n".join(page(found, command)))


def page(found: Sequence[Mapping[str, Any]], command: str) -> list[str]:
    """The lines of the page."""
    lines = ["# The papers, reported and reproduced", "", PROTOCOL, ""]
    for number in dict.fromkeys(one["paper"] for one in found):
        of_it = [one for one in found if one["paper"] == number]
        lines += [f"## {of_it[0]['title']} (arXiv {number})", ""]
        told = [[one["what"], one["figure"]] for one in of_it[0]["reported"]]
        lines += [*markdown([["reported", "figure"], *told]), ""]
        lines += [f"Not at hand: {of_it[0]['not_had']}.", ""]
        lines += [*markdown([ANSWERED, *(row for one in of_it for row in answers(one))]), ""]
        lines += [*markdown([ARMS, *(row for one in of_it for row in arms(one))]), ""]
    return [*lines, f"```\n{command}\n```", ""]


ANSWERED = [
    "network",
    "question",
    "tested on",
    "without, UAR %",
    "with, UAR %",
    "difference (95 % interval)",
]
ARMS = ["network", "model", "tested on", "clips", "UAR %"]


def answers(one: Mapping[str, Any]) -> list[list[str]]:
    """A row under `ANSWERED` for each question that has an answer."""
    return [
        [
            one["network"],
            row["asks"],
            f"{row['corpus']}, {row['speakers']} speakers, {row['clips']} clips",
            rate(row["uar_base"]),
            rate(row["uar_other"]),
            f"{100 * row['difference']:+.1f} ({100 * row['ci95'][0]:+.1f} to"
            f" {100 * row['ci95'][1]:+.1f})",
        ]
        for row in one["answers"]
    ]


def arms(one: Mapping[str, Any]) -> list[list[str]]:
    """A row under `ARMS` for each model and test corpus."""
    return [
        [one["network"], row["arm"], row["corpus"], str(row["n"]), rate(row["uar"])]
        for row in one["arms"]
    ]


def rate(spread: Mapping[str, Any]) -> str:
    """A rate in percent with its deviation, or of how few seeds it is."""
    count = len(spread["values"])
    if spread["sd"] is None:
        return f"{100 * spread['mean']:.1f} (1 seed)"
    return f"{100 * spread['mean']:.1f} ± {100 * spread['sd']:.1f} ({count} seeds)"
