"""The model card: what a checkpoint is, what it was trained on, how good it is, what it is not for."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from serdemo.data.corpora import CORPORA
from serdemo.evaluation.baselines import BaselineResult
from serdemo.evaluation.scoring import Report
from serdemo.metrics.verification import Verification
from serdemo.nn.description import Description

# The corpora of the shipped models, whose strictest terms are those of RAVDESS and of URDU.
SHIPPED_ON = frozenset({"ravdess", "cremad", "emodb", "nemo", "ased", "aesdd", "urdu"})
ON_THE_HUB = r"hf:[\w-][\w.-]*(/[\w-][\w.-]*)?(\?.*)?"

LIMITS = """\
The corpora are mostly acted speech of a few dozen speakers in a studio. On spontaneous speech, other
languages and other cultures expect it to be wrong more often than these figures say. A label names
what a voice sounds like to this model, not what a person feels. Not for medical use, hiring,
policing, education or any decision about a person."""
SPEAKER_LIMITS = """\
The corpora hold a few hundred speakers, most of them actors in a studio, so strangers are told apart
far less well than by systems made for that. Not for recognising, admitting or watching people; it is
here to look at what an embedding of voices holds of emotion."""

EMOTION_TAGS = ("pipeline_tag: audio-classification", "tags: [speech-emotion-recognition]")
SPEAKER_TAGS = ("pipeline_tag: feature-extraction", "tags: [speaker-embedding]")
EMOTION_TABLE = (
    "Unweighted average recall (UAR) and accuracy (WA) in percent on speakers kept out of training"
    " and of model selection; argmax over all labels, recall averaged over the classes present,"
    " calm counted as neutral, boredom left out. The interval is a 95 % bootstrap over speakers"
    " (over clips where there is one speaker). ECE is the expected calibration error.",
    "",
    "| corpus | test speakers | clips | UAR | interval | WA | macro F1 | ECE |",
    "|---|---|---|---|---|---|---|---|",
)
RIVAL_TABLE = (
    "Other methods, trained, chosen and tested on the same clips:",
    "",
    "| corpus | method | UAR | interval | WA | macro F1 |",
    "|---|---|---|---|---|---|",
)
SPEAKER_TABLE = (
    "Equal error rate (EER) of verification by the cosine of two clips' embeddings, on speakers kept"
    " out of training and of model selection. Trials are pairs of clips of one corpus, whatever"
    " their emotion, gender and sentence. The interval is a 95 % bootstrap over speakers.",
    "",
    "| corpus | test speakers | clips | EER | interval | trials of one speaker and of two |",
    "|---|---|---|---|---|---|",
)


def strip_local_paths(command: str) -> str:
    """A command without the folders of the machine it was given on."""
    words = [
        part
        for word in shlex.split(command)
        for part in (word.split("=", 1) if re.match(r"--[\w-]+=", word) else [word])
    ]
    kept: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        if {"--root", "--cache"} & {word, before}:
            continue
        if before == "--run":
            word = f"runs/{Path(word).name}"
        elif before == "--out" or (before == "--source" and not _on_the_hub(word)):
            word = Path(word).name
        elif before in ("--init-from", "--start", "--teacher", "--embeddings"):
            word = ",".join(_named(Path(part.strip())) for part in word.split(","))
        elif before == "--corpus":
            word = ",".join(
                item if re.fullmatch(ON_THE_HUB, item) else Path(item).name
                for item in word.split(",")
            )
        kept.append(word)
    return shlex.join(kept)


def _named(place: Path) -> str:
    """A run's checkpoint is named after the run, a file by itself."""
    return place.name if place.suffix else "/".join(["runs", *place.parts[-2:]])


def _on_the_hub(source: str) -> bool:
    return not Path(source).exists() and bool(re.fullmatch(r"[\w.-]+/[\w.-]+", source))


def licence(corpora: Sequence[str]) -> str:
    """The licence of weights trained on these corpora: that of the only one, or all that bind."""
    if set(corpora) <= SHIPPED_ON and len(corpora) > 1:
        return "CC BY-NC-SA 4.0, research use only"
    terms = {CORPORA[n].licence if n in CORPORA else "what its owner allows": n for n in corpora}
    if len(terms) == 1:
        return next(iter(terms))
    return "all of these at once: " + "; ".join(f"{t} ({n})" for t, n in sorted(terms.items()))


def write(
    description: Description,
    reports: Sequence[Report] | Sequence[Verification],
    command: str,
    rivals: Sequence[BaselineResult] = (),
) -> str:
    """The card as Markdown, every figure with its corpus, speakers and protocol, and beside them
    those of other methods on the same clips."""
    corpora = sorted(description.trained_on)
    size = description.metrics.get("parameters")
    answers = bool(description.labels)
    lines = [
        "---",
        "license: cc-by-nc-sa-4.0"
        if licence(corpora).startswith("CC BY-NC-SA 4.0")
        else "license: other",
        "library_name: serdemo",
        *(EMOTION_TAGS if answers else SPEAKER_TAGS),
        "---",
        "",
        f"# {description.name}",
        "",
        f"Hears speech at {description.sample_rate} Hz and "
        + (
            f"answers one of {', '.join(description.labels)}."
            if answers
            else "embeds whose voice it is; no emotion label was ever shown to it, and it answers none."
        )
        + f" Encoder `{description.encoder}`"
        + (f", {size / 1e6:.2f} million parameters in all" if size else "")
        + f", trained by the recipe `{description.recipe}`.",
        "",
        "## How good it is",
        "",
        *(EMOTION_TABLE if answers else SPEAKER_TABLE),
        *(_verified(one) if isinstance(one, Verification) else _scored(one) for one in reports),
    ]
    if not reports:
        lines.append("| none | 0 | 0 | not measured |" + " |" * (4 if answers else 2))
    chosen = description.metrics.get("validation", {})
    if chosen:
        figures = ", ".join(f"{name} {value:.1%}" for name, value in chosen.items())
        lines += ["", f"On the speakers it was chosen by (so flattered): {figures}."]
    if answers:
        lines += [
            "",
            f'Answers below {description.unsure_below:.0%} confidence are told as "not sure".'
            f" Logits are divided by {description.temperature:.3f}, fitted on the selection"
            " speakers.",
        ]
    if rivals:
        lines += ["", *RIVAL_TABLE]
        lines += [_compared(one.corpus, rival) for one in reports for rival in rivals]
    lines += [
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
        f"```\n{strip_local_paths(command)}\n```",
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
        LIMITS if answers else SPEAKER_LIMITS,
        "",
    ]
    return "\n".join(lines)


def _scored(report: Report) -> str:
    scores = report.scores
    low, high = scores.uar_ci95
    return (
        f"| {report.corpus} | {scores.speakers} | {scores.n} | {scores.uar:.1%} |"
        f" {low:.1%} to {high:.1%} ({scores.ci95_over}) | {scores.wa:.1%} |"
        f" {scores.macro_f1:.1%} | {scores.ece:.3f} |"
    )


def _compared(corpus: str, rival: BaselineResult) -> str:
    told = rival.of(corpus)
    if "not_run" in told:
        return f"| {corpus} | {rival.name} | not run: {told['not_run']} | | | |"
    low, high = told["uar_ci95"]
    return (
        f"| {corpus} | {rival.name} | {told['uar']:.1%} | {low:.1%} to {high:.1%}"
        f" ({told['ci95_over']}) | {told['wa']:.1%} | {told['macro_f1']:.1%} |"
    )


def _verified(found: Verification) -> str:
    between = "not known" if found.eer_ci95 is None else "{:.1%} to {:.1%}".format(*found.eer_ci95)
    return (
        f"| {found.corpus} | {found.speakers} | {found.n} | {found.eer:.1%} | {between} |"
        f" {found.same_trials} and {found.different_trials} |"
    )
