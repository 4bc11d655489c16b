"""A checkpoint as one ONNX file, verified against the checkpoint on clips."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from serdemo.evaluation.agreement import ClipDifference, clip_differences
from serdemo.inference.predictor import Embedder, Source
from serdemo.nn import onnx_export
from serdemo.nn.onnx_file import SUFFIX, is_onnx
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import recovered_path

CARD = "README.md"
MAX_DIFFERENCE = 1e-3  # of a probability
MAX_DIFFERENCE_INT8, MAX_CHANGED_INT8 = 0.1, 0.02  # and the share of clips with another label


def export(
    folder: Path,
    out: Path,
    *,
    int8: bool = False,
    clips: Sequence[Source] = (),
    force: bool = False,
) -> list[ClipDifference]:
    """Write a checkpoint to the ONNX file `out`, and return how far it differs on the `clips`.

    With `int8` the encoder's matrices have 8 bits. Raises UsageError for a file that exists unless
    `force` is set; SerdemoError for a model that ONNX files are not made of, where no clip can be read,
    and for a difference beyond the limits, after which nothing is written.
    """
    if is_onnx(folder):
        raise UsageError(
            f"{folder.name} is an ONNX file already: name the checkpoint it was made of."
        )
    if out.suffix.lower() != SUFFIX or out.is_dir() or not out.absolute().parent.is_dir():
        raise UsageError(f"{out} must name a file {SUFFIX} in a folder that is there.")
    if out.exists() and not force:
        raise UsageError(f"{out} exists: name another file, or give --force to replace it.")
    card = recovered_path(folder) / CARD
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    try:
        with tempfile.TemporaryDirectory(
            prefix=f".{out.stem}-", dir=out.parent, ignore_cleanup_errors=True
        ) as scratch:
            fresh = Path(scratch) / out.name
            onnx_export.write_file(folder, fresh, int8=int8, card=text)
            rows = []
            if clips:
                rows = clip_differences(Embedder(folder, device="cpu"), Embedder(fresh), clips)
                _refuse_beyond_limits(rows, int8, out.name)
            os.replace(fresh, out)
    except OSError as problem:
        raise SerdemoError(f"{out.name} could not be written: {problem.strerror}.") from problem
    return rows


def _refuse_beyond_limits(rows: Sequence[ClipDifference], int8: bool, name: str) -> None:
    worst = max(row.difference for row in rows)
    changed = sum(row.is_changed for row in rows)
    limit = MAX_DIFFERENCE_INT8 if int8 else MAX_DIFFERENCE
    if worst > limit or changed > len(rows) * (MAX_CHANGED_INT8 if int8 else 0.0):
        raise SerdemoError(
            f"{name} is not written: on {len(rows)} clips it would differ from the checkpoint by {worst:.4f},"
            f" of at most {limit:g}, with another label for {changed}."
        )
