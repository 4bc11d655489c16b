"""The model card: what a checkpoint is, what it was trained on, how good it is, what it is not for."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from serdemo.checkpoint import Description
from serdemo.corpora import CORPORA
from serdemo.evaluate import Report

# The corpora of the shipped models, whose strictest terms are those of RAVDESS and of URDU.
SHIPPED_ON = frozenset({"ravdess", "cremad", "emodb", "nemo", "ased", "aesdd", "urdu"})
ON_THE_HUB = r"hf:[\w-][\w.-]*(/[\w-][\w.-]*)?(\?.*)?"

LIMITS = """\
The corpora are mostly acted speech of a few dozen speakers in a studio. On spontaneous speech, other
languages and other cultures expect it to be wrong more often than these figures say. A label names
what a voice sounds like to this model, not what a person feels. Not for medical use, hiring,
policing, education or any decision about a person."""


def portable(command: str) -> str:
    """A command without the folders of the machine it was given on."""
    words = shlex.split(command)
    kept: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        if word == "--root" or before == "--root" or word.startswith("--root="):
            continue
        if before == "--run":
            word = f"runs/{Path(word).name}"
        elif before == "--out" or (before == "--source" and Path(word).exists()):
            word = Path(word).name
        elif before == "--start":  # a run's checkpoint is named after the run
            word = "/".join(["runs", *Path(word).parts[-2:]])
        elif before == "--corpus":
            word = ",".join(
                item if re.fullmatch(ON_THE_HUB, item) else Path(item).name
                for item in word.split(",")
            )
        kept.append(word)
    return shlex.join(kept)


def licence(corpora: Sequence[str]) -> str:
    """The licence of weights trained on these corpora: that of the only one, or all that bind."""
    if set(corpora) <= SHIPPED_ON and len(corpora) > 1:
        return "CC BY-NC-SA 4.0, research use only"
    terms = {CORPORA[n].licence if n in CORPORA else "what its owner allows": n for n in corpora}
    if len(terms) == 1:
        return next(iter(terms))
    return "all of these at once: " + "; ".join(f"{t} ({n})" for t, n in sorted(terms.items()))


def write(description: Description, reports: Sequence[Report], command: str) -> str:
    """The card as Markdown, every figure with its corpus, speakers and protocol."""
    corpora = sorted(description.trained_on)
    size = description.metrics.get("parameters")
    lines = [
        "---",
        "license: cc-by-nc-sa-4.0"
        if licence(corpora).startswith("CC BY-NC-SA 4.0")
        else "license: other",
        "library_name: serdemo",
        "pipeline_tag: audio-classification",
        "tags: [speech-emotion-recognition]",
        "---",
        "",
        f"# {description.name}",
        "",
        f"Hears speech at {description.sample_rate} Hz and answers one of {', '.join(description.labels)}."
        f" Encoder `{description.encoder}`"
        + (f", {size / 1e6:.2f} million parameters in all" if size else "")
        + f", trained by the recipe `{description.recipe}`.",
        "",
        "## How good it is",
        "",
        "Unweighted average recall (UAR) and accuracy (WA) in percent on speakers kept out of training"
        " and of model selection; argmax over all labels, recall averaged over the classes present,"
        " calm counted as neutral, boredom left out. The interval is a 95 % bootstrap over speakers"
        " (over clips where there is one speaker). ECE is the expected calibration error.",
        "",
        "| corpus | test speakers | clips | UAR | interval | WA | macro F1 | ECE |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for report in reports:
        scores = report.scores
        low, high = scores.uar_ci95
        lines.append(
            f"| {report.corpus} | {scores.speakers} | {scores.n} | {scores.uar:.1%} |"
            f" {low:.1%} to {high:.1%} ({scores.ci95_over}) | {scores.wa:.1%} |"
            f" {scores.macro_f1:.1%} | {scores.ece:.3f} |"
        )
    if not reports:
        lines.append("| none | 0 | 0 | not measured | | | | |")
    chosen = description.metrics.get("validation", {})
    if chosen:
        figures = ", ".join(f"{name} {value:.1%}" for name, value in chosen.items())
        lines += ["", f"On the speakers it was chosen by (so flattered): {figures}."]
    lines += [
        "",
        f'Answers below {description.unsure_below:.0%} confidence are told as "not sure".'
        f" Logits are divided by {description.temperature:.3f}, fitted on the selection speakers.",
        "",
        "## What it was trained on",
        "",
        "| corpus | language | training speakers | selection speakers | citation |",
        "|---|---|---|---|---|",
    ]
    for name in corpora:
        corpus = CORPORA.get(name)
        selection = ", ".join(description.selected_on.get(name, [])) or "none"
        lines.append(
            f"| {corpus.title if corpus else name} | {corpus.language if corpus else ''} |"
            f" {len(description.trained_on[name])} | {selection} | {corpus.citation if corpus else ''} |"
        )
    lines += [
        "",
        "No audio is shipped with the model.",
        "",
        "## Made by",
        "",
        f"```\n{portable(command)}\n```",
        "",
        f"Split fingerprint `{description.split[:16]}`, serdemo {description.code_version}.",
        "",
        "## Licence",
        "",
        f"The weights: {description.licence or licence(corpora)}. They carry the strictest terms of the"
        " corpora above. The code: Apache-2.0.",
        "",
        "## Limits",
        "",
        LIMITS,
        "",
    ]
    return "\n".join(lines)
