"""Reports as files: tables in percent as Markdown, the figures as JSON, and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serdemo.evaluation import plots
from serdemo.evaluation.model_card import strip_local_paths
from serdemo.evaluation.scoring import Report
from serdemo.nn.checkpoint_files import REPORT
from serdemo.schema.files import make_folder, write_json, write_text

Document = dict[str, Any]  # of a finished protocol, as `runs.crossval_report` makes it

SCORING_METHOD = (
    "Argmax over all labels of the model; recall averaged over the classes present, of those that"
    " the model was trained on (other clips are left out). The interval is a 95 % bootstrap over"
    " speakers (over clips where there is one speaker); ECE is the expected calibration error."
)
HEAD = ("speakers", "clips", "classes", "UAR %", "95 % interval", "WA %", "macro F1 %", "ECE")


def score_cells(scores: dict[str, Any] | None) -> list[str]:
    """Cells of a table row under `HEAD`; mean ± standard deviation where there are seeds."""
    if scores is None:
        return ["0", "0", "0", "no class in common", *["–"] * (len(HEAD) - 4)]
    low, high = scores["uar_ci95"]
    over = "" if scores["ci95_over"] == "speakers" else " (clips)"
    classes = sum(1 for counts in scores["confusion"] if sum(counts))

    def rate(name: str, factor: float = 100, digits: int = 1) -> str:
        values = scores.get("over_seeds", {}).get(name, {"mean": scores[name], "sd": None})
        mean, deviation = values["mean"] * factor, values["sd"]
        spread = "" if deviation is None else f" ± {deviation * factor:.{digits}f}"
        return f"{mean:.{digits}f}{spread}"

    return [
        str(scores["speakers"] or "unknown"),
        str(scores["n"]),
        str(classes),
        rate("uar"),
        f"{100 * low:.1f} to {100 * high:.1f}{over}",
        rate("wa"),
        rate("macro_f1"),
        rate("ece", 1, 3),
    ]


def tables(document: Document) -> list[tuple[str, list[list[str]]]]:
    """(title, rows with the head first) of every table of a protocol's document."""
    result = _corpus_tables(document) if document["by"] == "corpus" else _fold_tables(document)
    if shared := document["speakers_shared"]:
        rows = [["", *HEAD], ["shared", *score_cells(shared["scores"])]]
        result.insert(1, ("Speakers shared", rows))
    return result


def _corpus_tables(document: Document) -> list[tuple[str, list[list[str]]]]:
    """The matrix of UAR over corpora, and every cell of it with its scores."""
    names = document["matrix"]["corpora"]
    held_out = {entry["test"]: entry["scores"] for entry in document["leave_one_out"]}
    cells = {(c["train"], c["test"]): c["scores"] for c in document["matrix"]["cells"]}
    grid = [["trained on", *names]]
    grid += [[train, *(_uar_cell(cells[train, test]) for test in names)] for train in names]
    grid += [["all others", *(_uar_cell(held_out[test]) for test in names)]]
    rows = [[train, test, *score_cells(scores)] for (train, test), scores in cells.items()]
    rows += [["all others", test, *score_cells(scores)] for test, scores in held_out.items()]
    head = ["trained on", "tested on", *HEAD]
    return [("UAR % by corpus tested", grid), ("Every cell", [head, *rows])]


def _fold_tables(document: Document) -> list[tuple[str, list[list[str]]]]:
    """The scores pooled over the folds, by corpus, and those of each fold."""
    rows = [[name, *score_cells(scores)] for name, scores in document["by_corpus"].items()]
    if len(rows) > 1:
        rows.append(["all", *score_cells(document["pooled"])])
    if mean := document["mean_of_corpora"]:
        low, high = mean["uar_ci95"]
        cells = [f"{100 * mean['uar']:.1f}", f"{100 * low:.1f} to {100 * high:.1f}"]
        rows.append(["mean of the corpora", "", "", "", *cells, *[""] * (len(HEAD) - 5)])
    folds = [[fold["name"], *score_cells(fold["scores"])] for fold in document["folds"]]
    return [
        ("Pooled over the folds", [["corpus", *HEAD], *rows]),
        ("Each fold", [["left out", *HEAD], *folds]),
    ]


def _uar_cell(scores: dict[str, Any] | None) -> str:
    return "–" if scores is None else score_cells(scores)[3]


def leakage_sentence(document: Document) -> str:
    """Gain in UAR by sharing speakers between training and test; empty where not measured."""
    if not (shared := document["speakers_shared"]):
        return ""
    return (
        "With speakers shared between training and test, on as many clips of every class, UAR is"
        f" {shared['scores']['uar']:.1%} in place of {shared['uar_independent']:.1%}, a difference"
        f" of {100 * shared['uar_difference']:+.1f} points"
        f" ({shared['test_clips_with_speaker_in_training']:.0%} of these test clips are of a speaker"
        " heard in training). The speaker-dependent score says nothing about new voices."
    )


def _draw_figure(document: Document, folder: Path) -> Path:
    """Plot the confusion matrix, or the UAR matrix over corpora; returns the file."""
    n_seeds = len(document["seeds"])
    title = f"{document['recipe']}, {n_seeds} seed{'s' if n_seeds > 1 else ''}"
    if document["by"] != "corpus":
        pooled, path = document["pooled"], folder / "confusion.svg"
        plots.draw_confusion(
            path, pooled["labels"], pooled["confusion"], f"{title}: UAR {pooled['uar']:.1%}"
        )
        return path
    names, path = document["matrix"]["corpora"], folder / "cross-corpus.svg"
    others = [entry["scores"] and entry["scores"]["uar"] for entry in document["leave_one_out"]]
    plots.draw(
        path,
        [*document["matrix"]["uar"], others],
        [*names, "all others"],
        names,
        title=f"{title}: UAR %",
        row_title="trained on",
        column_title="tested on",
    )
    return path


def write_protocol_report(document: Document, folder: Path) -> None:
    """Write `report.json`, `report.md` and the figure of a protocol's document."""
    recipe, corpora = document["recipe"], ", ".join(document["corpora"])
    lines = [f"# {recipe} on {corpora}, by {document['by']}", ""]
    for text in (document["protocol"], document["counted"], leakage_sentence(document)):
        lines += [text, ""] if text else []
    for name, rows in tables(document):
        lines += [f"## {name}", "", *markdown(rows), ""]
    lines += [f"![]({_draw_figure(document, folder).name})", ""]
    if document["command"]:
        lines += [f"```\n{document['command']}\n```", ""]
    seeds = ", ".join(map(str, document["seeds"]))
    lines += [f"Seeds {seeds}; serdemo {document['code_version']}.", ""]
    _write(folder, lines, document)


def write_evaluation(report: Report, folder: Path, command: str = "") -> None:
    """Write `report.json`, `report.md` and `confusion.svg` of the scores of a checkpoint."""
    make_folder(folder)
    scores = report.scores
    rows = [[part.corpus, *score_cells(part.to_json())] for part in (*report.by_corpus, report)]
    title = f"{report.checkpoint} on {report.corpus}: UAR {scores.uar:.1%}"
    plots.draw_confusion(folder / "confusion.svg", scores.labels, scores.confusion, title)
    lines = [
        f"# {report.checkpoint} on {report.corpus}",
        "",
        f"{scores.n} clips of {report.who}. {SCORING_METHOD}",
        "",
        *markdown([["corpus", *HEAD], *rows]),
        "",
        *(f"Left out: {sentence}\n" for sentence in report.unreadable),
        "![](confusion.svg)",
        "",
        *([f"```\n{strip_local_paths(command)}\n```", ""] if command else []),
    ]
    _write(folder, lines, report.to_json())


def markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; the first row is its head."""
    ruled = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in ruled]


def _write(folder: Path, lines: Sequence[str], values: dict[str, Any]) -> None:
    write_text(folder / "report.md", "\n".join(lines))
    write_json(folder / REPORT, values)
