"""Embedding of clips with a checkpoint; results are cached on disk by the content of each clip.

A run whose clips are all cached reads neither the clips nor the model, so torch is only imported
when it is needed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serdemo import __version__
from serdemo.data.array_cache import ArrayCache, CacheOptions, digest
from serdemo.embeddings.parquet_limits import TEXT_COLUMNS
from serdemo.embeddings.table import Table
from serdemo.nn.checkpoint_files import DESCRIPTION, has_weights, weight_files
from serdemo.nn.description import Description, read_description
from serdemo.nn.onnx_file import is_onnx
from serdemo.nn.provenance import are_unseen, seen_speakers
from serdemo.nn.transformers_files import FILES as TRANSFORMERS_FILES
from serdemo.nn.transformers_files import is_transformers
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import make_folder, read_json, recovered_path, write_json
from serdemo.schema.types import Utterance

PROCEDURE = "embedding and probabilities, 1"  # counted up when cached values change their meaning
DIGESTS_FILE = "clips.json"


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """A table, the number of its clips that were `cached`, and `errors` of clips left out."""

    table: Table
    cached: int
    errors: tuple[str, ...]


def embed(
    folder: Path,
    utterances: Sequence[Utterance],
    base: Path,
    options: CacheOptions,
    *,
    device: str = "auto",
    progress: Callable[[int], None] = lambda done: None,
    label_map: Mapping[str, str] | None = None,
) -> Embedded:
    """Embed clips with the checkpoint in `folder`; the table's paths are relative to `base`.

    `progress` receives the number of clips done; `label_map` names the labels of a model of
    transformers. Of a regression the embeddings are taken alone. Each clip is cached at once. Raises SerdemoError
    when the checkpoint or none of the clips can be read.
    """
    description = read_description(folder, label_map)
    fingerprint = checkpoint_digest(folder, label_map)
    cache = ArrayCache(options.folder / f"embed-{fingerprint[:16]}", options.cache_gb)
    keyed_clips, errors = _content_digests(utterances, options.folder / DIGESTS_FILE)
    missing = {key: clip.path for clip, key in keyed_clips if key not in cache}
    fresh: dict[str, NDArray[np.float32]] = {}
    n_cached = len(keyed_clips) - len(missing)
    if missing:
        from serdemo.inference.predictor import Embedder

        embedder = Embedder(folder, device=device, label_map=label_map)
        outputs = embedder.embed_many(missing.values())
        for done, (key, output) in enumerate(zip(missing, outputs, strict=True), start=1):
            progress(n_cached + done)
            if isinstance(output, SerdemoError):
                errors.append(str(output))
                continue
            shares = output.probabilities[: len(description.labels)]  # none of a regression
            values = np.concatenate([output.embedding, shares]).astype(np.float32)
            fresh[key] = _join_halves(cache.put(key, _split_halves(values)))
    rows = [
        (clip, fresh[key] if key in fresh else _join_halves(cache.get(key)))
        for clip, key in keyed_clips
        if key in fresh or key in cache
    ]
    if not rows:
        raise SerdemoError(
            f"None of the {len(utterances)} clips could be read; the first: {errors[0]}"
        )
    speakers = ((clip.corpus, clip.speaker) for clip, _ in rows)
    about = about_table(description, fingerprint, speakers)
    table = _table(rows, description.labels, base, about)
    return Embedded(table, len(rows) - len(fresh), tuple(errors))


def about_table(
    description: Description, fingerprint: str, speakers: Iterable[tuple[str, str]]
) -> dict[str, object]:
    """What a table says of what made it, and of the (corpus, speaker) in it that were seen in training."""
    seen = seen_speakers(description)
    keys = {f"{corpus}/{speaker}" for corpus, speaker in set(speakers)}
    return {
        "checkpoint": description.name,
        "digest": fingerprint,
        "version": __version__,
        "seen": sorted(key for key in keys if not are_unseen(seen, [key])),
    }


def checkpoint_digest(folder: Path, label_map: Mapping[str, str] | None = None) -> str:
    """Digest of a checkpoint's content, stored in tables; raises SerdemoError when it is none.

    That of a model of transformers depends on the `label_map` that it is used with, too.
    """
    path = recovered_path(folder)
    if is_onnx(path):
        described = path.parent / DESCRIPTION
        inside = described.is_file() and has_weights(path.parent)
        others = [*weight_files(path.parent), described] if inside else []
        return digest(PROCEDURE, path, *others)
    files = [*weight_files(folder), path / DESCRIPTION]
    if not files[-1].is_file() and is_transformers(folder):
        beside = [path / name for name in TRANSFORMERS_FILES]
        entries = [f"{label}: {ours}" for label, ours in sorted((label_map or {}).items())]
        return digest(PROCEDURE, *entries, *files[:-1], *filter(Path.is_file, beside))
    if not all(file.is_file() for file in files):
        read_description(folder)  # raises with the reason
    return digest(PROCEDURE, *files)


def _content_digests(
    utterances: Sequence[Utterance], path: Path
) -> tuple[list[tuple[Utterance, str]], list[str]]:
    """Each readable clip with the digest of its content, and the errors of the others.

    The file `path` stores digests with each clip's size and modification time.
    """
    try:
        stored = read_json(path) if path.exists() else {}
    except SerdemoError:
        stored = {}
    entries: dict[str, list[object]] = stored if isinstance(stored, dict) else {}
    before = dict(entries)
    keyed_clips, errors = [], []
    for clip in utterances:
        name = str(clip.path.absolute())
        try:
            status = clip.path.stat()
            stamp = [status.st_size, status.st_mtime_ns]
            entry = entries.get(name)
            if not isinstance(entry, list) or entry[:2] != stamp or not isinstance(entry[-1], str):
                entries[name] = entry = [*stamp, digest(clip.path)]
            keyed_clips.append((clip, str(entry[-1])))
        except OSError as problem:
            errors.append(f"{clip.path.name} could not be read: {problem.strerror}.")
        except SerdemoError as problem:
            errors.append(str(problem))
    if entries != before:
        make_folder(path.parent)
        write_json(path, entries)
    return keyed_clips, errors


def _split_halves(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Split (D,) into rows (2, D) for half precision: rounded values and their rounding errors."""
    rounded = values.astype(np.float16).astype(np.float32)
    return np.stack([rounded, values - rounded])


def _join_halves(halves: NDArray[np.float16]) -> NDArray[np.float32]:
    """Inverse of `_split_halves`."""
    return np.sum(halves, axis=0, dtype=np.float32)


def _table(
    rows: Sequence[tuple[Utterance, NDArray[np.float32]]],
    labels: tuple[str, ...],
    base: Path,
    about: dict[str, object],
) -> Table:
    values = np.stack([row for _, row in rows])
    width = values.shape[1] - len(labels)
    probabilities = values[:, width:]
    best: Iterable[int] = probabilities.argmax(axis=1) if labels else []
    predictions = [labels[index] for index in best] or [""] * len(rows)
    texts = [
        (
            Path(os.path.relpath(clip.path, base)).as_posix(),
            *(getattr(clip, name) for name in TEXT_COLUMNS[1:-1]),
            prediction,
        )
        for (clip, _), prediction in zip(rows, predictions, strict=True)
    ]
    columns = dict(zip(TEXT_COLUMNS, map(tuple, zip(*texts, strict=True)), strict=True))
    return Table(columns, values[:, :width], labels, probabilities, about)
