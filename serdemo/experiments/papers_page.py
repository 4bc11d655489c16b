"""Reported and reproduced figures of the papers, as one page of Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
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


def write(folder: Path, papers: Sequence[Mapping[str, Any]], command: str) -> None:
    """Write `papers.md` and `papers.json` from the results of each paper and network.

    Raises SerdemoError when the folder cannot be written.
    """
    write_json(
        folder / DOCUMENT, {"protocol": PROTOCOL, "command": command, "papers": list(papers)}
    )
    write_text(folder / PAGE, "\n".join(page(papers, command)))


def page(papers: Sequence[Mapping[str, Any]], command: str) -> list[str]:
    """Lines of the page."""
    lines = ["# The papers, reported and reproduced", "", PROTOCOL, ""]
    for number in dict.fromkeys(paper["paper"] for paper in papers):
        networks = [paper for paper in papers if paper["paper"] == number]
        first = networks[0]
        reported = [[row["what"], row["figure"]] for row in first["reported"]]
        lines += [f"## {first['title']} (arXiv {number})", ""]
        lines += [*markdown([["reported", "figure"], *reported]), ""]
        lines += [f"Not at hand: {first['not_had']}.", ""]
        lines += [*markdown([QUESTION_HEADER, *chain(*map(question_rows, networks))]), ""]
        lines += [*markdown([ARM_HEADER, *chain(*map(arm_rows, networks))]), ""]
    return [*lines, f"```\n{command}\n```", ""]


QUESTION_HEADER = [
    "network",
    "question",
    "tested on",
    "without, UAR %",
    "with, UAR %",
    "difference (95 % interval)",
]
ARM_HEADER = ["network", "model", "tested on", "clips", "UAR %"]


def question_rows(paper: Mapping[str, Any]) -> list[list[str]]:
    """Rows under `QUESTION_HEADER` for the questions with results."""
    return [
        [
            paper["network"],
            row["asks"],
            f"{row['corpus']}, {row['speakers']} speakers, {row['clips']} clips",
            rate(row["uar_base"]),
            rate(row["uar_other"]),
            f"{100 * row['difference']:+.1f} ({100 * row['ci95'][0]:+.1f} to"
            f" {100 * row['ci95'][1]:+.1f})",
        ]
        for row in paper["answers"]
    ]


def arm_rows(paper: Mapping[str, Any]) -> list[list[str]]:
    """Rows under `ARM_HEADER` for every model and test corpus."""
    return [
        [paper["network"], row["arm"], row["corpus"], str(row["n"]), rate(row["uar"])]
        for row in paper["arms"]
    ]


def rate(seeds: Mapping[str, Any]) -> str:
    """A rate in percent over seeds, as `mean_std` gives it."""
    if seeds["sd"] is None:
        return f"{100 * seeds['mean']:.1f} (1 seed)"
    n_seeds = len(seeds["values"])
    return f"{100 * seeds['mean']:.1f} ± {100 * seeds['sd']:.1f} ({n_seeds} seeds)"
