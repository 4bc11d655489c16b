"""Reports as people read them: tables in percent, a page of Markdown and a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serdemo.evaluation import plots
from serdemo.evaluation.model_card import strip_local_paths
from serdemo.evaluation.scoring import Report
from serdemo.schema.files import make_folder, write_json, write_text

Found = dict[str, Any]

SCORING_METHOD = (
    "Argmax over all labels of the model; recall averaged over the classes present, of those that"
    " the model was trained on (other clips are left out). The interval is a 95 % bootstrap over"
    " speakers (over clips where there is one speaker); ECE is the expected calibration error."
)
HEAD = ("speakers", "clips", "classes", "UAR %", "95 % interval", "WA %", "macro F1 %", "ECE")


def row(scores: Found | None) -> list[str]:
    """A score as the cells of a table under `HEAD`; mean ± deviation where there are seeds."""
    if scores is None:
        return ["0", "0", "0", "no class in common", *["–"] * (len(HEAD) - 4)]
    low, high = scores["uar_ci95"]
    over = "" if scores["ci95_over"] == "speakers" else " (clips)"
    classes = sum(1 for counts in scores["confusion"] if sum(counts))

    def rate(name: str, factor: float = 100, digits: int = 1) -> str:
        seen = scores.get("over_seeds", {}).get(name, {"mean": scores[name], "sd": None})
        mean, deviation = seen["mean"] * factor, seen["sd"]
        spread = "" if deviation is None else f" ± {deviation * factor:.{digits}f}"
        return f"{mean:.{digits}f}{spread}"

    return [
        str(scores["speakers"]),
        str(scores["n"]),
        str(classes),
        rate("uar"),
        f"{100 * low:.1f} to {100 * high:.1f}{over}",
        rate("wa"),
        rate("macro_f1"),
        rate("ece", 1, 3),
    ]


def tables(found: Found) -> list[tuple[str, list[list[str]]]]:
    """(title, rows with the head first) of every table of a document."""
    made = []
    if found["by"] == "corpus":
        names = found["matrix"]["corpora"]
        out = {one["test"]: one["scores"] for one in found["leave_one_out"]}
        cells = {(one["train"], one["test"]): one["scores"] for one in found["matrix"]["cells"]}
        grid = [["trained on", *names]]
        grid += [[train, *(short(cells[train, test]) for test in names)] for train in names]
        grid += [["all others", *(short(out[test]) for test in names)]]
        made.append(("UAR % by corpus tested", grid))
        rows = [[train, test, *row(scores)] for (train, test), scores in cells.items()]
        rows += [["all others", test, *row(scores)] for test, scores in out.items()]
        made.append(("Every cell", [["trained on", "tested on", *HEAD], *rows]))
    else:
        rows = [[name, *row(scores)] for name, scores in found["by_corpus"].items()]
        if len(rows) > 1:
            rows.append(["all", *row(found["pooled"])])
        if mean := found["mean_of_corpora"]:
            low, high = mean["uar_ci95"]
            told = [f"{100 * mean['uar']:.1f}", f"{100 * low:.1f} to {100 * high:.1f}"]
            rows.append(["mean of the corpora", "", "", "", *told, *[""] * (len(HEAD) - 5)])
        made.append(("Pooled over the folds", [["corpus", *HEAD], *rows]))
        folds = [[one["name"], *row(one["scores"])] for one in found["folds"]]
        made.append(("Each fold", [["left out", *HEAD], *folds]))
    if shared := found["speakers_shared"]:
        made.insert(1, ("Speakers shared", [["", *HEAD], ["shared", *row(shared["scores"])]]))
    return made


def short(scores: Found | None) -> str:
    """The UAR of a cell of the matrix."""
    return "–" if scores is None else row(scores)[3]


def leakage(found: Found) -> str:
    """How much sharing speakers flatters, in a sentence; empty where it was not measured."""
    if not (shared := found["speakers_shared"]):
        return ""
    return (
        "With speakers shared between training and test, on as many clips of every class, UAR is"
        f" {shared['scores']['uar']:.1%} in place of {shared['uar_independent']:.1%}, a difference"
        f" of {100 * shared['uar_difference']:+.1f} points"
        f" ({shared['test_clips_with_speaker_in_training']:.0%} of these test clips are of a speaker"
        " heard in training). The speaker-dependent score says nothing about new voices."
    )


def figure(found: Found, folder: Path) -> Path:
    """Draw the document's figure: the confusion matrix, or the matrix over corpora."""
    count = len(found["seeds"])
    title = f"{found['recipe']}, {count} seed{'s' if count > 1 else ''}"
    if found["by"] != "corpus":
        whole, path = found["pooled"], folder / "confusion.svg"
        plots.draw_confusion(
            path, whole["labels"], whole["confusion"], f"{title}: UAR {whole['uar']:.1%}"
        )
        return path
    names, path = found["matrix"]["corpora"], folder / "cross-corpus.svg"
    others = [one["scores"] and one["scores"]["uar"] for one in found["leave_one_out"]]
    plots.draw(
        path,
        [*found["matrix"]["uar"], others],
        [*names, "all others"],
        names,
        title=f"{title}: UAR %",
        row_title="trained on",
        column_title="tested on",
    )
    return path


def write(found: Found, folder: Path) -> None:
    """`report.json`, `report.md` and the figure of a protocol's document."""
    lines = [f"# {found['recipe']} on {', '.join(found['corpora'])}, by {found['by']}", ""]
    for text in (found["protocol"], found["counted"], leakage(found)):
        lines += [text, ""] if text else []
    for name, rows in tables(found):
        lines += [f"## {name}", "", *markdown(rows), ""]
    lines += [f"![]({figure(found, folder).name})", ""]
    if found["command"]:
        lines += [f"```\n{found['command']}\n```", ""]
    lines += [f"Seeds {', '.join(map(str, found['seeds']))}; serdemo {found['code_version']}.", ""]
    _write(folder, lines, found)


def write_evaluation(report: Report, folder: Path, command: str = "") -> None:
    """`report.json`, `report.md` and `confusion.svg` of one scoring of a checkpoint."""
    make_folder(folder)
    values, scores = report.to_json(), report.scores
    who = "unseen by it" if report.unseen_speakers else "some of whom it was trained or selected on"
    rows = [[one.corpus, *row(one.to_json())] for one in (*report.by_corpus, report)]
    title = f"{report.checkpoint} on {report.corpus}: UAR {scores.uar:.1%}"
    plots.draw_confusion(folder / "confusion.svg", scores.labels, scores.confusion, title)
    lines = [
        f"# {report.checkpoint} on {report.corpus}",
        "",
        f"{scores.n} clips of {scores.speakers} speakers {who}. {SCORING_METHOD}",
        "",
        *markdown([["corpus", *HEAD], *rows]),
        "",
        *(f"Left out: {sentence}\n" for sentence in report.refused),
        "![](confusion.svg)",
        "",
        *([f"```\n{strip_local_paths(command)}\n```", ""] if command else []),
    ]
    _write(folder, lines, values)


def markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table as the lines of Markdown, its head first."""
    ruled = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in one) + " |" for one in ruled]


def _write(folder: Path, lines: Sequence[str], values: Found) -> None:
    write_text(folder / "report.md", "\n".join(lines))
    write_json(folder / "report.json", values)
