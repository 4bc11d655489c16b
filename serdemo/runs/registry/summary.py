"""Summary of a checkpoint: recipe, training data, test results, licence, size and speed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serdemo.evaluation import model_card
from serdemo.inference.speed import times_real_time
from serdemo.nn.checkpoint_files import REPORT, count_parameters, weights_bytes
from serdemo.nn.description import Description, read_description
from serdemo.runs.registry.entry import CARD, Entry, Origin
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import read_json, recovered_path

MAX_CARD_BYTES = 200_000
METRICS = ("uar", "eer")


@dataclass(frozen=True, slots=True)
class Figure:
    """Test result on one corpus: `metric` is `uar` or `eer`, `value` lies in [0, 1].

    `ci95` is the 95 % interval, `n` and `speakers` count the test clips and their speakers, each None where
    unknown; `unseen`: the checkpoint was neither trained nor selected on any of these speakers.
    """

    metric: str
    value: float
    ci95: tuple[float, float] | None = None
    n: int | None = None
    speakers: int | None = None
    unseen: bool = False


@dataclass(frozen=True, slots=True)
class Summary:
    """One row of `serdemo models list`.

    `trained_on` counts the speakers of each corpus, `size_mb` is that of the weights, `times_real_time` is None
    when not measured. `notes` are sentences about what a model of transformers answers. `problem` says why the checkpoint cannot be used; all other fields are then empty.
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
    notes: tuple[str, ...] = ()
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """The fields as a dictionary for JSON."""
        return asdict(self)


def summarise(entry: Entry, *, speed: bool = False) -> Summary:
    """Summary of a registry entry; `speed` also measures its speed here, which takes some seconds."""
    try:
        description = read_description(entry.folder)
        n_numbers, n_bytes = count_parameters(entry.folder), weights_bytes(entry.folder)
        rate = times_real_time(entry.folder) if speed else None
    except (SerdemoError, OSError) as problem:
        return Summary(entry.key, entry.name, entry.origin, problem=str(problem))
    corpora = sorted({*description.trained_on, *description.selected_on})
    parameters = description.metrics.get("parameters")
    return Summary(
        key=entry.key,
        name=entry.name,
        origin=entry.origin,
        recipe=description.recipe,
        encoder=description.encoder,
        labels=description.labels,
        trained_on={name: len(description.trained_on.get(name, [])) for name in corpora},
        figures=figures(entry.folder, description.metrics),
        licence=description.licence
        or (model_card.licence(corpora) if corpora else card_licence(entry.folder)),
        size_mb=round(n_bytes / 1e6, 2),
        parameters=parameters if type(parameters) is int else n_numbers,
        times_real_time=rate,
        notes=_notes(description),
    )


def _notes(description: Description) -> tuple[str, ...]:
    """What a model of transformers answers beside one emotion of its labels, in sentences."""
    if not description.is_foreign:
        return ()
    notes = []
    if description.output == "regression":
        notes.append(f"It gives values of {', '.join(description.dimensions)}, and no emotion.")
    if description.output == "sigmoid":
        notes.append("Its labels are independent of each other: several may apply.")
    how = "the larger of" if description.output == "sigmoid" else "the sum of"
    for label, sources in description.options["labels"].items():
        if len(sources) > 1:
            notes.append(f"{label} is {how} its labels {' and '.join(sources)}.")
    return (*notes, "Its training speakers are unknown.")


def figures(folder: Path, metrics: Mapping[str, Any]) -> dict[str, Figure]:
    """Test results by corpus: those in the description's `metrics`, else those of `report.json`.

    Malformed values are left out: the checkpoint may be a stranger's.
    """
    rows, report = metrics.get("test"), None
    if not isinstance(rows, dict):
        with suppress(SerdemoError):
            report = read_json(recovered_path(folder) / REPORT)
        reported = report if isinstance(report, list) else []
        rows = {str(row.get("corpus", "")): row for row in reported if isinstance(row, dict)}
    results = {name: _figure(row) for name, row in sorted(rows.items())}
    return {name: figure for name, figure in results.items() if figure is not None}


def _figure(row: Any) -> Figure | None:
    for metric in METRICS if isinstance(row, dict) else ():
        if _is_share(row.get(metric)):
            ci95 = row.get(f"{metric}_ci95")
            valid = isinstance(ci95, list) and len(ci95) == 2 and all(map(_is_share, ci95))
            interval = (float(ci95[0]), float(ci95[1])) if valid else None
            n, speakers = (row[k] if type(row.get(k)) is int else None for k in ("n", "speakers"))
            unseen = row.get("unseen_speakers", metric == "eer") is True
            return Figure(metric, float(row[metric]), interval, n, speakers, unseen)
    return None


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


def card_licence(folder: Path) -> str:
    """Licence that the front matter of a model card names, "" where there is none."""
    import yaml  # type: ignore[import-untyped]

    card = recovered_path(folder) / CARD
    try:
        if card.stat().st_size > MAX_CARD_BYTES:
            return ""
        text = card.read_text(encoding="utf-8")
        head = next(iter(yaml.safe_load_all(text))) if text.startswith("---") else None
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return ""
    table = head if isinstance(head, dict) else {}
    name = table.get("license")
    if name == "other":
        name = table.get("license_name", name)
    return name[:80] if isinstance(name, str) and name.isprintable() else ""


def card_text(folder: Path) -> str:
    """The model card in Markdown without its front matter, "" when there is none.

    Control characters are removed: a stranger's card is shown on a terminal.
    """
    try:
        with (recovered_path(folder) / CARD).open("rb") as file:
            text = file.read(MAX_CARD_BYTES).decode("utf-8", "replace").replace("\r\n", "\n")
    except OSError:
        return ""
    if text.startswith("---\n"):
        front_matter, end, body = text[4:].partition("\n---\n")
        text = body if end else front_matter
    return "".join(c for c in text if c.isprintable() or c in "\n\t").strip()
