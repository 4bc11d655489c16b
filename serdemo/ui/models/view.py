"""What the page shows of models: one with its card, and two answers to a clip beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

from serdemo.schema import palette
from serdemo.schema.types import Prediction
from serdemo.ui.shell import html

if TYPE_CHECKING:
    from serdemo.evaluation.comparison import Comparison
    from serdemo.metrics.significance import ChanceComparison
    from serdemo.runs.registry.summary import Figure, Summary

ORIGINS = {"shipped": "comes with serdemo", "run": "own run", "imported": "imported"}
WAITING = '<section class="sd-run"><p class="sd-run-none">Reading the models…</p></section>'


def card_page(row: Summary, card: str, used: bool = False) -> str:
    """One model as a section of HTML: facts first, its card below; `used` says that it answers."""
    states = [ORIGINS.get(row.origin, row.origin), *(["answers you now"] if used else [])]
    marks = " ".join(f'<span class="sd-state">{one}</span>' for one in states)
    head = f"<h3>{escape(row.name)} {marks}</h3>"
    if row.problem:
        body = f'<p class="sd-refused" role="alert">{escape(row.problem)}</p>'
        return f'<section class="sd-run sd-model">{head}{body}</section>'
    hears = ", ".join(row.labels) if row.labels else "no emotion: it embeds voices, for Explore"
    numbers = (
        ("parameters", f"{row.parameters / 1e6:.2f} million"),
        ("size", f"{row.size_mb:.1f} MB"),
        ("encoder", row.encoder),
        ("recipe", row.recipe or "not told"),
        ("speed here", f"{row.times_real_time:g} times real time" if row.times_real_time else ""),
    )
    facts = "".join(
        f"<div><dt>{name}</dt><dd>{escape(text)}</dd></div>" for name, text in numbers if text
    )
    data = ", ".join(f"{name} ({n} speakers)" for name, n in (row.trained_on or {}).items())
    body = (
        f'<p>Answers: {escape(hears)}.</p><dl class="sd-run-numbers">{facts}</dl>'
        f"{results_table(row.figures or {})}"
        f"<h4>Trained on</h4><p>{escape(data) or 'Not told.'}</p>"
        f"<h4>Licence</h4><p>{escape(row.licence) or 'Not told.'}</p>"
    )
    if card:
        body += (
            f'<details><summary>Its card</summary><div class="sd-card">{markdown_html(card)}</div>'
            "</details>"
        )
    return f'<section class="sd-run sd-model">{head}{body}</section>'


def results_table(found: Mapping[str, Figure]) -> str:
    """A row for each corpus that it was tested on."""
    if not found:
        return "<h4>How good it is</h4><p>Not measured on unseen speakers.</p>"
    rows = "".join(
        f'<tr><th scope="row">{escape(corpus)}</th><td>{one.metric.upper()}'
        f" {one.value:.1%}{_interval(one)}</td><td>{_measured(one)}</td></tr>"
        for corpus, one in found.items()
    )
    return (
        '<h4>How good it is</h4><div class="sd-scroll"><table class="sd-figures"><thead><tr>'
        '<th scope="col">Corpus</th><th scope="col">Result</th><th scope="col">On</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div><p><small>UAR is the share of clips recognised, averaged"
        " over the emotions; of EER, less is better.</small></p>"
    )


def _interval(one: Figure) -> str:
    return f" <small>({one.ci95[0]:.0%} to {one.ci95[1]:.0%})</small>" if one.ci95 else ""


def _measured(one: Figure) -> str:
    counted = ((one.n, "clip"), (one.speakers, "speaker"))
    known = [f"{n} {what}{'' if n == 1 else 's'}" for n, what in counted if n]
    return ", ".join([*known, "" if one.unseen else "heard before"]).strip(", ")


def markdown_html(card: str) -> str:
    """Markdown as HTML without pictures, links and raw HTML: a card may be a stranger's."""
    plain = (
        MarkdownIt("commonmark", {"html": False})
        .enable("table")
        .disable(["image", "link", "autolink"])
    )
    made: str = plain.render(card)
    return made.replace("<table>", '<div class="sd-scroll"><table>').replace(
        "</table>", "</table></div>"
    )


def clip_comparison_html(
    name: str, titles: tuple[str, str], said: tuple[Prediction, Prediction]
) -> str:
    """Two answers to one clip, and whether they agree."""
    a, b = said
    if not a.has_speech:
        verdict = "No speech was found in it."
    elif a.label == b.label:
        verdict = f"Both hear {a.label} most."
    else:
        verdict = f"They differ: {a.label} against {b.label}."
    sides = "".join(_side(title, answer) for title, answer in zip(titles, said, strict=True))
    return (
        f'<section class="sd-run"><p class="sd-file">{escape(name)}, {a.duration_s:.1f} s</p>'
        f'<p role="status" class="sd-run-said">{escape(verdict)}</p>'
        f'<div class="sd-duel">{sides}</div></section>'
    )


def _side(title: str, answer: Prediction) -> str:
    bars = html.bars(answer.probabilities) if answer.has_speech else ""
    return (
        f"<article><h4>{escape(title)}</h4><p><b>{escape(palette.sentence(answer))}</b></p>"
        f"{bars}</article>"
    )


def corpus_comparison_html(
    found: Sequence[Comparison], names: tuple[str, str] | None = None
) -> str:
    """Two models on the same clips: the verdict first, then both with their intervals, by corpus.

    `names` are the columns' titles, the models' own where not given.
    """
    first, second = names or (found[0].a, found[0].b)
    verdict = found[-1].found.words
    rows = "".join(
        f'<tr><th scope="row">{escape(one.corpus)}</th><td>{_share(one.found.uar_a, one.found.ci95_a)}'
        f"</td><td>{_share(one.found.uar_b, one.found.ci95_b)}</td>"
        f"<td>{escape(one.found.words)}</td></tr>"
        for one in found
    )
    return (
        f'<section class="sd-verdict" data-verdict="{found[-1].found.verdict}">'
        f'<p role="status" class="sd-verdict-said">{escape(_capital(verdict))}.</p>'
        f'<div class="sd-scroll"><table class="sd-figures"><thead><tr><th scope="col">Corpus</th>'
        f'<th scope="col">{escape(first)}</th><th scope="col">{escape(second)}</th>'
        f'<th scope="col">{escape(second)} is</th></tr></thead><tbody>{rows}</tbody></table></div>'
        f"<p><small>{escape(found[-1].sentence)} UAR is the share of clips recognised, averaged over"
        " the emotions, with its 95 % interval.</small></p></section>"
    )


def chance_html(found: Sequence[ChanceComparison]) -> str:
    """One model's figures beside guessing, a verdict for each corpus."""
    told = "".join(
        f'<p role="status" class="sd-verdict-said">{escape(_capital(one.verdict))}.</p>'
        f"<p>{escape(one.corpus)}: {escape(one.why)}.</p>"
        for one in found
    )
    verdict = "better" if all(one.better for one in found) else "no difference"
    return (
        f'<section class="sd-verdict" data-verdict="{verdict}">{told}<p><small>There is no before to'
        " compare with.</small></p></section>"
    )


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]


def _share(rate: float, bounds: tuple[float, float]) -> str:
    return f"{rate:.1%} <small>({bounds[0]:.0%} to {bounds[1]:.0%})</small>"
