"""Model card of a checkpoint: what it is, its scores, its training corpora, its licence and limits."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from serdemo.data.corpora import CORPORA
from serdemo.evaluation.baselines import BaselineResult
from serdemo.evaluation.scoring import Report
from serdemo.metrics.verification import Verification
from serdemo.nn.description import Description
from serdemo.schema.types import UNKNOWN_SPEAKER

# The corpora of the shipped models, whose strictest terms are those of RAVDESS and of URDU.
SHIPPED_ON = frozenset({"ravdess", "cremad", "emodb", "nemo", "ased", "aesdd", "urdu"})
HUB_DATASET = r"hf:[\w-][\w.-]*(/[\w-][\w.-]*)?"

LIMITS = """\
The corpora are mostly acted speech of a few dozen speakers in a studio. On spontaneous speech, other
languages and other cultures expect it to be wrong more often than these figures say. A label names
what a voice sounds like to this model, not what a person feels. Not for medical use, hiring,
policing, education or any decision about a person."""
SPEAKER_LIMITS = """\
The corpora hold a few hundred speakers, most of them actors in a studio, so strangers are told apart
far less well than by systems made for that. Not for recognising, admitting or watching people; it is
here to look at what an embedding of voices holds of emotion."""

EMOTION_TABLE = (
    "Unweighted average recall (UAR) and accuracy (WA) in percent on {held_out};"
    " argmax over all labels, recall averaged over the classes present,"
    " calm counted as neutral, boredom left out. The interval is a 95 % bootstrap over speakers"
    " (over clips where there is one speaker). ECE is the expected calibration error.",
    "",
    "| corpus | test speakers | clips | UAR | interval | WA | macro F1 | ECE |",
    "|---|---|---|---|---|---|---|---|",
)
BASELINE_TABLE = (
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


def _portable_corpus(item: str) -> str:
    """A `--corpus` item without folders, also in its options, unless it is a dataset of the hub."""
    name, mark, options = item.partition("?")
    files = re.sub(r"\b(labels|label_map)=[^&]*[/\\]", r"\1=", options)
    return (name if re.fullmatch(HUB_DATASET, name) else Path(name).name) + mark + files


def strip_local_paths(command: str) -> str:
    """A command line without the folders of the machine that it ran on."""
    words = [
        part
        for word in shlex.split(command)
        for part in (word.split("=", 1) if re.match(r"--[\w-]+=", word) else [word])
    ]
    portable: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        if {"--root", "--cache"} & {word, before}:
            continue
        if before == "--run":
            word = f"runs/{Path(word).name}"
        elif before == "--out" or (before == "--source" and not _is_hub_id(word)):
            word = Path(word).name
        elif before in ("--init-from", "--start", "--teacher", "--embeddings"):
            word = ",".join(_portable_name(Path(part.strip())) for part in word.split(","))
        elif before == "--corpus":
            word = ",".join(map(_portable_corpus, word.split(",")))
        elif before == "--label-map":
            word = Path(word).name
        portable.append(word)
    return shlex.join(portable)


def _portable_name(path: Path) -> str:
    """File name, or `runs/NAME/checkpoint` for the checkpoint of a run."""
    return path.name if path.suffix else "/".join(["runs", *path.parts[-2:]])


def _is_hub_id(source: str) -> bool:
    return not Path(source).exists() and bool(re.fullmatch(r"[\w.-]+/[\w.-]+", source))


def licence(corpora: Sequence[str]) -> str:
    """Licence of weights trained on these corpora: the only one, or all that bind at once."""
    if set(corpora) <= SHIPPED_ON and len(corpora) > 1:
        return "CC BY-NC-SA 4.0, research use only"
    terms = {CORPORA[n].licence if n in CORPORA else "what its owner allows": n for n in corpora}
    if len(terms) == 1:
        return next(iter(terms))
    return "all of these at once: " + "; ".join(f"{t} ({n})" for t, n in sorted(terms.items()))


def front_matter(
    name: str,
    licence_id: str,
    labels: Sequence[str],
    reports: Sequence[Report] | Sequence[Verification] = (),
) -> list[str]:
    """Lines of the YAML metadata by which the hub finds a model and shows its scores."""
    from huggingface_hub import ModelCardData

    data = ModelCardData(
        license=licence_id,
        library_name="serdemo",
        pipeline_tag="audio-classification" if labels else "feature-extraction",
        tags=["speech-emotion-recognition" if labels else "speaker-embedding"],
        model_name=name if reports else None,
        eval_results=[result for report in reports for result in _eval_results(report)] or None,
    )
    return ["---", *data.to_yaml().splitlines(), "---", ""]


def _eval_results(report: Report | Verification) -> list[Any]:
    """Entries of the hub's `model-index` for a corpus: UAR and accuracy, or the equal error rate."""
    from huggingface_hub import EvalResult

    if isinstance(report, Verification):
        task, metrics = "feature-extraction", [("eer", "equal error rate", report.eer)]
    else:
        task = "audio-classification"
        metrics = [
            ("recall", "unweighted average recall", report.scores.uar),
            ("accuracy", "accuracy", report.scores.wa),
        ]
    held_out = "speakers" if report.unseen_speakers else "clips"
    title = CORPORA[report.corpus].title if report.corpus in CORPORA else report.corpus
    return [
        EvalResult(
            task_type=task,
            dataset_type=report.corpus,
            dataset_name=f"{title}, {held_out} kept out of training",
            dataset_split="test",
            metric_type=kind,
            metric_name=name,
            metric_value=round(value, 4),
        )
        for kind, name, value in metrics
    ]


def write(
    description: Description,
    reports: Sequence[Report] | Sequence[Verification],
    command: str,
    baselines: Sequence[BaselineResult] = (),
) -> str:
    """Model card as Markdown: every figure with its corpus, speakers and protocol, beside those of
    the `baselines` on the same clips."""
    corpora = sorted(description.trained_on)
    is_shipped_licence = licence(corpora).startswith("CC BY-NC-SA 4.0")
    lines = [
        *front_matter(
            description.name,
            "cc-by-nc-sa-4.0" if is_shipped_licence else "other",
            description.labels,
            reports,
        ),
        f"# {description.name}",
        "",
        _summary(description),
        "",
        "## How good it is",
        "",
        *_score_lines(description, reports),
    ]
    if baselines:
        lines += ["", *BASELINE_TABLE]
        lines += [_baseline_row(r.corpus, baseline) for r in reports for baseline in baselines]
    lines += [
        "",
        "## What it was trained on",
        "",
        "| corpus | language | training speakers | selection speakers | citation |",
        "|---|---|---|---|---|",
        *(_corpus_row(description, name) for name in corpora),
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
        *_encoder_notice(description),
        "",
        "## Limits",
        "",
        LIMITS if description.labels else SPEAKER_LIMITS,
        "",
    ]
    return "\n".join(lines)


def _encoder_notice(description: Description) -> list[str]:
    """The licence of Whisper's encoder, whose weights a model made from it carries."""
    if description.encoder != "whisper":
        return []
    text = resources.files("serdemo.evaluation").joinpath("whisper-licence.txt").read_text("utf-8")
    notice = "The encoder is OpenAI's Whisper (arXiv 2212.04356) or made from it, whose licence is:"
    return ["", notice, "", f"```\n{text}```"]


def _summary(description: Description) -> str:
    """Input, output, encoder, size and recipe in two sentences."""
    task = (
        f"answers one of {', '.join(description.labels)}."
        if description.labels
        else "embeds whose voice it is; no emotion label was ever shown to it, and it answers none."
    )
    size = description.metrics.get("parameters")
    return (
        f"Hears speech at {description.sample_rate} Hz and {task} Encoder `{description.encoder}`"
        + (f", {size / 1e6:.2f} million parameters in all" if size else "")
        + f", trained by the recipe `{description.recipe}`."
    )


def _score_lines(
    description: Description, reports: Sequence[Report] | Sequence[Verification]
) -> list[str]:
    """Table of the test scores, the validation scores, and the threshold for "not sure"."""
    held_out = "speakers kept out of training and of model selection"
    if not all(report.unseen_speakers for report in reports):
        held_out = (
            "clips kept out of training and of model selection, whose speakers may be in it: they do"
            " not say how well new voices are recognised"
        )
    table = EMOTION_TABLE if description.labels else SPEAKER_TABLE
    lines = [line.format(held_out=held_out) for line in table]
    for report in reports:
        row = _verification_row if isinstance(report, Verification) else _score_row
        lines.append(row(report))  # type: ignore[arg-type]
    if not reports:
        lines.append("| none | 0 | 0 | not measured |" + " |" * (4 if description.labels else 2))
    if validation := description.metrics.get("validation", {}):
        figures = ", ".join(f"{name} {value:.1%}" for name, value in validation.items())
        lines += ["", f"On the speakers it was chosen by (so flattered): {figures}."]
    if description.labels:
        lines += ["", confidence_sentences(description)]
    return lines


def confidence_sentences(description: Description) -> str:
    """How confidences are made, and from where on an answer is "not sure"."""
    fitted = "fitted on the selection speakers."
    if description.novelty:
        fitted = (
            f"times exp({description.novelty['slope']:.2f} x novelty), fitted on the selection speakers"
            " and on corpora left out of the training of models made alike."
        )
    return (
        f'Answers below {description.unsure_below:.0%} confidence are shown as "not sure".'
        f" Logits are divided by {description.temperature:.3f}, {fitted}"
    )


def _corpus_row(description: Description, name: str) -> str:
    corpus = CORPORA.get(name)
    selection = ", ".join(description.selected_on.get(name, [])) or "none"
    speakers = set(description.trained_on[name]) - {UNKNOWN_SPEAKER}
    return (
        f"| {corpus.title if corpus else name} | {corpus.language if corpus else ''} |"
        f" {len(speakers) or 'unknown'} | {selection} | {corpus.citation if corpus else ''} |"
    )


def _score_row(report: Report) -> str:
    scores = report.scores
    low, high = scores.uar_ci95
    return (
        f"| {report.corpus} | {scores.speakers or 'unknown'} | {scores.n} | {scores.uar:.1%} |"
        f" {low:.1%} to {high:.1%} ({scores.ci95_over}) | {scores.wa:.1%} |"
        f" {scores.macro_f1:.1%} | {scores.ece:.3f} |"
    )


def _baseline_row(corpus: str, baseline: BaselineResult) -> str:
    figures = baseline.of(corpus)
    if "not_run" in figures:
        return f"| {corpus} | {baseline.name} | not run: {figures['not_run']} | | | |"
    low, high = figures["uar_ci95"]
    return (
        f"| {corpus} | {baseline.name} | {figures['uar']:.1%} | {low:.1%} to {high:.1%}"
        f" ({figures['ci95_over']}) | {figures['wa']:.1%} | {figures['macro_f1']:.1%} |"
    )


def _verification_row(report: Verification) -> str:
    interval = report.eer_ci95
    interval_text = "not known" if interval is None else "{:.1%} to {:.1%}".format(*interval)
    return (
        f"| {report.corpus} | {report.speakers} | {report.n} | {report.eer:.1%} | {interval_text} |"
        f" {report.same_trials} and {report.different_trials} |"
    )
