"""Test results of a checkpoint in the Hugging Face hub's format, which its model pages show.

https://huggingface.co/docs/hub/eval-results
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from serdemo.data.corpora.registry import CORPORA
from serdemo.nn.checkpoint_files import DESCRIPTION
from serdemo.nn.description import read_description
from serdemo.runs.registry.summary import Figure, figures
from serdemo.schema.files import recovered_path
from serdemo.schema.text import counted

EVAL_RESULTS = ".eval_results/serdemo.yaml"  # in a repository
METRIC_NAMES = {"uar": "unweighted average recall", "eer": "equal error rate"}
TASKS = {"uar": "speech-emotion-recognition", "eer": "speaker-verification"}


def eval_results(folder: Path, url: str) -> str:
    """The test results in YAML, "" where there are none; `url` is the page where they are explained.

    Values are rates in [0, 1]; the notes say of what metric, clips and speakers, and by which protocol.
    """
    import yaml  # type: ignore[import-untyped]
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    path = recovered_path(folder)
    description = read_description(folder)
    if description.is_foreign:
        return ""
    measured = datetime.fromtimestamp((path / DESCRIPTION).stat().st_mtime, UTC)
    entries = [
        EvalResultEntry(
            dataset_id=name.removeprefix("hf:"),
            task_id=TASKS[figure.metric],
            value=round(figure.value, 4),
            date=measured.date().isoformat(),
            source_url=url,
            source_name="Model card",
            notes=_notes(name, figure),
        )
        for name, figure in figures(folder, description.metrics).items()
    ]
    return str(yaml.safe_dump(eval_result_entries_to_yaml(entries))) if entries else ""


def _notes(name: str, figure: Figure) -> str:
    parts = [METRIC_NAMES[figure.metric]]
    if figure.ci95:
        parts.append(f"95 % interval {figure.ci95[0]:.3f} to {figure.ci95[1]:.3f}")
    if figure.n and figure.speakers:
        unseen = "unseen speaker" if figure.unseen else "speaker"
        parts.append(f"{counted(figure.n, 'clip')} of {counted(figure.speakers, unseen)}")
    if not figure.unseen:
        parts.append("some of the speakers were trained or selected on")
    if name in CORPORA:
        parts.append(f"protocol: {CORPORA[name].protocol}")
    return "; ".join(parts)
