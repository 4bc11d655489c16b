"""Terminal output of `models`: the list, a card, and comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from serdemo.cli.views.console import plain_console
from serdemo.evaluation.comparison import ClipComparison, Comparison
from serdemo.runs.registry.summary import Figure, Summary
from serdemo.schema import palette
from serdemo.schema.types import Prediction


def show_list(rows: Sequence[Summary], speed: bool) -> None:
    """Print each model's architecture, labels, scores, data and licence."""
    out = plain_console()
    for row in rows:
        out.print(Text(row.key, style="bold"))
        if row.problem:
            out.print(f"  cannot be used: {row.problem}")
            continue
        labels = ", ".join(row.labels) or ("none" if row.notes else "none: it embeds voices")
        fast = f", {row.times_real_time:g} times real time" if row.times_real_time else ""
        if speed and not row.times_real_time:
            fast = ", speed not measured"
        out.print(
            f"  {row.recipe or 'recipe unknown'}, encoder {row.encoder},"
            f" {row.parameters / 1e6:.2f} M parameters, {row.size_mb:.1f} MB{fast}"
        )
        out.print(f"  labels: {labels}")
        out.print(f"  {figures_line(row.figures or {})}")
        out.print(f"  trained on: {data_line(row)}")
        out.print(f"  licence: {row.licence or 'unknown'}")
        for note in row.notes:
            out.print(f"  {note}")


def figures_line(figures: Mapping[str, Figure]) -> str:
    """Scores in one line; those on speakers of its training data are marked."""
    figure_list = [
        f"{name} {figure.metric.upper()} {figure.value:.1%}{'' if figure.unseen else ' (seen speakers)'}"
        for name, figure in figures.items()
    ]
    return "tested on unseen speakers: " + (", ".join(figure_list) or "not measured")


def data_line(row: Summary) -> str:
    """Training corpora with their numbers of speakers."""
    corpora = (row.trained_on or {}).items()
    return ", ".join(f"{name} ({count} speakers)" for name, count in corpora) or "unknown"


def show_card(row: Summary, card: str) -> None:
    """Print the model card, or the summary where there is none."""
    out = plain_console()
    if (
        not card or row.notes
    ):  # the card of a model of transformers does not know serdemo's view of it
        show_list([row], False)
    if not card:
        out.print("  It has no card.")
    elif out.is_terminal:
        out.print(Markdown(card, hyperlinks=False), soft_wrap=False)
    else:
        out.print(card)


def show_pairs(names: tuple[str, str], pairs: Iterable[ClipComparison]) -> None:
    """Print both predictions for each file, and how often they agree."""
    out = plain_console()
    table = Table("file", *names, "", box=None)
    count = agreed = 0
    refused = []
    for pair in pairs:
        if pair.refusal:
            refused.append(pair.refusal)
            continue
        assert pair.a and pair.b
        count, agreed = count + 1, agreed + pair.agree
        table.add_row(pair.file, _label(pair.a), _label(pair.b), "" if pair.agree else "differ")
    out.print(table, soft_wrap=False)
    if count:
        out.print(f"They agree on {agreed} of {count}.")
    for sentence in refused:
        out.print(f"Left out: {sentence}")


def show_comparisons(comparisons: Sequence[Comparison]) -> None:
    """Print both UARs, their difference and the verdict, for each corpus."""
    out = plain_console()
    a, b = comparisons[0].a, comparisons[0].b
    table = Table("corpus", "clips", "speakers", a, b, "difference", "95 % interval", box=None)
    for comparison in comparisons:
        figures = comparison.paired
        low, high = figures.ci95
        table.add_row(
            comparison.corpus,
            str(figures.n),
            str(comparison.speakers),
            f"{figures.uar_a:.1%}",
            f"{figures.uar_b:.1%}",
            f"{100 * figures.difference:+.1f}",
            f"{100 * low:+.1f} to {100 * high:+.1f}",
        )
    out.print(table, soft_wrap=False)
    for comparison in comparisons:
        out.print(f"{comparison.corpus}: {comparison.sentence}")


def _label(answer: Prediction) -> str:
    share = f" {answer.confidence:.0%}" if answer.has_speech and answer.label else ""
    return f"{palette.sentence(answer)}{share}"
