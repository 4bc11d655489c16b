"""HTML of the tab Models: a model's card, and comparisons of two models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt
from markupsafe import Markup

from serdemo.schema import palette
from serdemo.schema.text import counted
from serdemo.schema.types import Prediction
from serdemo.ui.shell.templates import render

if TYPE_CHECKING:
    from serdemo.evaluation.comparison import Comparison
    from serdemo.metrics.significance import ChanceComparison
    from serdemo.runs.registry.summary import Figure, Summary

ORIGINS = {"shipped": "comes with serdemo", "run": "own run", "imported": "imported"}
WAITING = '<section class="sd-run"><p class="sd-run-none">Reading the models…</p></section>'


def card_page(row: Summary, card: str, in_use: bool = False) -> Markup:
    """One model: its summary, and its `card` in Markdown; `in_use` marks the visitor's model."""
    states = [ORIGINS.get(row.origin, row.origin), *(["answers you now"] if in_use else [])]
    numbers = (
        ("parameters", f"{row.parameters / 1e6:.2f} million"),
        ("size", f"{row.size_mb:.1f} MB"),
        ("encoder", row.encoder),
        ("recipe", row.recipe or "not stated"),
        ("speed here", f"{row.times_real_time:g} times real time" if row.times_real_time else ""),
    )
    return render(
        "models/card.html",
        row=row,
        states=states,
        numbers=numbers,
        results=results_table(row.figures or {}),
        card=card and markdown_html(card),
    )


def results_table(figures: Mapping[str, Figure]) -> Markup:
    """The test result on each corpus, a row each."""
    test_sets = {corpus: _test_set(figure) for corpus, figure in figures.items()}
    return render("models/results.html", figures=figures, test_sets=test_sets)


def _test_set(figure: Figure) -> str:
    counts = ((figure.n, "clip"), (figure.speakers, "speaker"))
    known = [counted(n, unit) for n, unit in counts if n]
    return ", ".join([*known, *([] if figure.unseen else ["heard before"])])


def markdown_html(text: str) -> Markup:
    """Markdown as HTML without images, links and raw HTML: a card may be a stranger's."""
    parser = (
        MarkdownIt("commonmark", {"html": False})
        .enable("table")
        .disable(["image", "link", "autolink"])
    )
    html: str = parser.render(text)
    return Markup(
        html.replace("<table>", '<div class="sd-scroll"><table>').replace(
            "</table>", "</table></div>"
        )
    )


def clip_comparison_html(
    name: str, titles: tuple[str, str], predictions: tuple[Prediction, Prediction]
) -> Markup:
    """Two models' predictions for the clip `name`, and whether they agree."""
    first, second = predictions
    if not first.has_speech:
        verdict = "No speech was found in it."
    elif first.label == second.label:
        verdict = f"Both hear {first.label} most."
    else:
        verdict = f"They differ: {first.label} against {second.label}."
    sentences = map(palette.sentence, predictions)
    return render(
        "models/clip_comparison.html",
        name=name,
        duration_s=first.duration_s,
        verdict=verdict,
        sides=list(zip(titles, sentences, predictions, strict=True)),
    )


def corpus_comparison_html(
    comparisons: Sequence[Comparison], names: tuple[str, str] | None = None, command: str = ""
) -> Markup:
    """Two models on the same clips: the verdict, then UAR and interval of both on each corpus.

    The last comparison is that of all clips. `names` title the columns, by default the models' names;
    `command` makes the comparison in a terminal.
    """
    overall = comparisons[-1]
    rows = [
        (
            one.corpus,
            _rate(one.paired.uar_a, one.paired.ci95_a),
            _rate(one.paired.uar_b, one.paired.ci95_b),
            one.paired.words,
        )
        for one in comparisons
    ]
    return render(
        "models/verdict.html",
        verdict=overall.paired.verdict,
        sentences=[(overall.paired.words, "")],
        names=names or (overall.a, overall.b),
        rows=rows,
        note=f"{overall.sentence} UAR is the share of clips recognised, averaged over the emotions,"
        " with its 95 % interval.",
        command=command,
    )


def chance_html(comparisons: Sequence[ChanceComparison]) -> Markup:
    """One model compared with chance, a verdict for each corpus."""
    better = all(comparison.better for comparison in comparisons)
    return render(
        "models/verdict.html",
        verdict="better" if better else "no difference",
        sentences=[(one.verdict, f"{one.corpus}: {one.why}") for one in comparisons],
        rows=[],
        note="There is no before to compare with.",
        command="",
    )


def _rate(rate: float, ci95: tuple[float, float]) -> Markup:
    return Markup("{:.1%} <small>({:.0%} to {:.0%})</small>").format(rate, *ci95)
