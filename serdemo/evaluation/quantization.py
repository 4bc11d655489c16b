"""A copy of a checkpoint with weights in 8 bits, and how far its output is from the original's."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serdemo.evaluation.agreement import clip_differences, example_speech
from serdemo.inference.predictor import Embedder, Source
from serdemo.nn import checkpoint
from serdemo.nn.checkpoint_files import DESCRIPTION, is_weights, weights_bytes
from serdemo.nn.description import read_description
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import recovered_path, replace_folder

MAX_DIFFERENCE = 0.01
MAX_FILE_BYTES = 9_500_000  # of tensors: a Space of the hub takes no file of more than 10 MB


@dataclass(frozen=True, slots=True)
class Quantization:
    """Result of `quantize`: sizes of the weights, and differences of the output over `clips`.

    `max_difference` and `mean_difference` are those of a clip's largest difference of a probability
    or, for a model without labels, of its cosine distance; `changed` clips have another label.
    """

    clips: int
    max_difference: float
    mean_difference: float
    changed: int
    megabytes_before: float
    megabytes: float

    def to_json(self) -> dict[str, Any]:
        """The fields as a dictionary for JSON."""
        return asdict(self)


def quantize(
    folder: Path,
    target: Path,
    sources: Sequence[Source] = (),
    *,
    max_difference: float = MAX_DIFFERENCE,
    force: bool = False,
) -> Quantization:
    """Write a checkpoint with weights in 8 bits to the folder `target`, with its card and reports.

    Both are compared on `sources`, by default on example speech. Raises UsageError for a `target` that
    exists unless `force` is set, SerdemoError when the output differs by more than `max_difference`
    or no source can be read.
    """
    name = read_description(folder).name
    source, target = folder.resolve(), target.resolve()
    if source == target or (target.exists() and not force):
        raise UsageError(f"{target} exists: name another folder, or give --force to replace it.")
    if not target.parent.is_dir():
        raise UsageError(f"{target} must be in a folder that is there.")
    full = Embedder(folder)
    clips = sources or example_speech()
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch) / source.name
        checkpoint.save(
            fresh, full.own_model, full.description, bits=8, max_file_bytes=MAX_FILE_BYTES
        )
        rows = clip_differences(full, Embedder(fresh), clips)
        differences = [row.difference for row in rows]
        if (worst := max(differences)) > max_difference:
            raise SerdemoError(
                f"{name} is not written in 8 bits: its output would differ by {worst:.3f}, more than"
                f" {max_difference:g}."
            )

        def write(place: Path) -> None:
            for file in fresh.iterdir():
                shutil.copyfile(file, place / file.name)
            for file in recovered_path(folder).iterdir():
                if file.is_file() and not is_weights(file.name) and file.name != DESCRIPTION:
                    shutil.copyfile(file, place / file.name)

        replace_folder(target, write)
    return Quantization(
        clips=len(differences),
        max_difference=round(worst, 6),
        mean_difference=round(float(np.mean(differences)), 6),
        changed=sum(row.is_changed for row in rows),
        megabytes_before=round(weights_bytes(folder) / 1e6, 2),
        megabytes=round(weights_bytes(target) / 1e6, 2),
    )
