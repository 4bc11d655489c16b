"""What a checkpoint is, told in one row: recipe, data, figures, licence, size, speed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serdemo.evaluation import model_card
from serdemo.inference.speed import times_real_time
from serdemo.nn import checkpoint
from serdemo.nn.checkpoint_files import WEIGHTS, count_numbers
from serdemo.runs.registry.entry import CARD, REPORT, Entry, Origin
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import read_json, recovered_path

MOST_CARD_BYTES = 200_000
METRICS = ("uar", "eer")


@dataclass(frozen=True, slots=True)
class Figure:
    """How good a checkpoint is on a corpus: `metric` is `uar` or `eer`, `value` a fraction.

    `ci95` is its interval, `n` and `speakers` what it was measured on, where these are known;
    `unseen` says that the checkpoint was neither trained nor selected on any of the speakers.
    """

    metric: str
    value: float
    ci95: tuple[float, float] | None = None
    n: int | None = None
    speakers: int | None = None
    unseen: bool = False


@dataclass(frozen=True, slots=True)
class Summary:
    """One row of the list. `trained_on` counts the speakers of each corpus, `size_mb` is of the
    weights, `times_real_time` is None where it was not measured.

    `problem` is the sentence why the checkpoint cannot be used; the rest is then empty.
    """

    key: str
    name: str
    origin: Origin
    recipe: str = ""
    encoder: str = ""
    labels: tuple[str, ...] = ()
    trained_on: Mapping[str, int] | None = None
    figures: Mapping[str, Figure] | None = None
    licence: str = ""
    size_mb: float = 0.0
    parameters: int = 0
    times_real_time: float | None = None
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary, ready for JSON."""
        return asdict(self)


def summarise(entry: Entry, *, speed: bool = False) -> Summary:
    """The row of a checkpoint; with `speed` it is measured on this machine, in some seconds."""
    try:
        described = checkpoint.describe(entry.folder)
        parameters = count_numbers(recovered_path(entry.folder) / WEIGHTS)
        size = (recovered_path(entry.folder) / WEIGHTS).stat().st_size
        rate = times_real_time(entry.folder) if speed else None
    except (SerdemoError, OSError) as problem:
        return Summary(entry.key, entry.name, entry.origin, problem=str(problem))
    corpora = sorted({*described.trained_on, *described.selected_on})
    counted = described.metrics.get("parameters")
    return Summary(
        entry.key,
        entry.name,
        entry.origin,
        described.recipe,
        described.encoder,
        described.labels,
        {name: len(described.trained_on.get(name, [])) for name in corpora},
        figures(entry.folder, described.metrics),
        described.licence or (model_card.licence(corpora) if corpora else ""),
        round(size / 1e6, 2),
        counted if type(counted) is int else parameters,
        rate,
    )


def figures(folder: Path, metrics: Mapping[str, Any]) -> dict[str, Figure]:
    """By corpus, the test figures of a description, else of the report beside it.

    What is no figure is left out, and what cannot be read: a checkpoint may be a stranger's.
    """
    found = metrics.get("test")
    path = recovered_path(folder) / REPORT
    if not isinstance(found, dict) and path.is_file():
        report = None
        with suppress(SerdemoError):
            report = read_json(path)
        rows = [row for row in report if isinstance(row, dict)] if isinstance(report, list) else []
        found = {str(row.get("corpus", "")): row for row in rows}
    told = {name: _figure(row) for name, row in found.items()} if isinstance(found, dict) else {}
    return {name: figure for name, figure in sorted(told.items()) if figure is not None}


def _figure(row: Any) -> Figure | None:
    for metric in METRICS if isinstance(row, dict) else ():
        if _is_share(row.get(metric)):
            bounds = row.get(f"{metric}_ci95")
            known = isinstance(bounds, list) and len(bounds) == 2 and all(map(_is_share, bounds))
            return Figure(
                metric,
                float(row[metric]),
                (float(bounds[0]), float(bounds[1])) if known else None,
                row["n"] if type(row.get("n")) is int else None,
                row["speakers"] if type(row.get("speakers")) is int else None,
                row.get("unseen_speakers", metric == "eer") is True,
            )
    return None


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


def card_text(folder: Path) -> str:
    """The model card as Markdown without its front matter, "" where there is none to be read.

    Control characters are left out: it may be a stranger's, and is shown on a terminal.
    """
    try:
        with (recovered_path(folder) / CARD).open("rb") as file:
            text = file.read(MOST_CARD_BYTES).decode("utf-8", "replace").replace("\r\n", "\n")
    except OSError:
        return ""
    if text.startswith("---\n"):
        head, mark, rest = text[4:].partition("\n---\n")
        text = rest if mark else head
    return "".join(c for c in text if c.isprintable() or c in "\n\t").strip()
