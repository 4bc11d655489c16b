"""A copy of a checkpoint with weights in 8 bits, and how far its output is from the original's."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serdemo.audio.waveform import Clip
from serdemo.inference.predictor import ClipOutput, Embedder, Source
from serdemo.inference.speed import speech_samples
from serdemo.nn import checkpoint
from serdemo.nn.checkpoint_files import DESCRIPTION, is_weights, weights_bytes
from serdemo.nn.description import read_description
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import recovered_path, replace_folder

MAX_DIFFERENCE = 0.01
MAX_FILE_BYTES = 9_500_000  # of tensors: a Space of the hub takes no file of more than 10 MB
EXAMPLE_CLIPS, EXAMPLE_HOP_S = 8, 3.0


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
        differences, changed = _compare(full.embed_many(clips), Embedder(fresh).embed_many(clips))
        if not differences:
            raise SerdemoError(f"{name} was not compared: none of the clips can be read.")
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
        changed=changed,
        megabytes_before=round(weights_bytes(folder) / 1e6, 2),
        megabytes=round(weights_bytes(target) / 1e6, 2),
    )


def example_speech() -> list[Clip]:
    """Clips of 10 s and of 3 s from the example voices."""
    return [
        *speech_samples(EXAMPLE_CLIPS, hop_s=EXAMPLE_HOP_S),
        *speech_samples(EXAMPLE_CLIPS, hop_s=EXAMPLE_HOP_S, clip_s=EXAMPLE_HOP_S),
    ]


def _compare(
    full: Iterable[ClipOutput | SerdemoError], quantized: Iterable[ClipOutput | SerdemoError]
) -> tuple[list[float], int]:
    """Differences of the clips that can be read, and how many of them get another label."""
    differences, changed = [], 0
    for a, b in zip(full, quantized, strict=True):
        if isinstance(a, SerdemoError) or isinstance(b, SerdemoError):
            continue
        if len(a.probabilities):
            differences.append(float(np.abs(a.probabilities - b.probabilities).max()))
            changed += int(a.probabilities.argmax() != b.probabilities.argmax())
        else:
            norms = float(np.linalg.norm(a.embedding) * np.linalg.norm(b.embedding))
            differences.append(1 - float(a.embedding @ b.embedding) / max(norms, 1e-12))
    return differences, changed
