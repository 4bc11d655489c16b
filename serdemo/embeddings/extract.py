"""Embed clips with a checkpoint, each once: what was heard is kept on disk and found again.

A repeated run reads neither the clips nor the model, so nothing here imports torch at the top.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serdemo import __version__
from serdemo.data.array_cache import ArrayCache, CacheOptions, digest
from serdemo.data.corpora import normalise_speaker
from serdemo.embeddings.parquet_limits import TEXT_COLUMNS
from serdemo.embeddings.table import Table
from serdemo.nn.checkpoint_files import DESCRIPTION, WEIGHTS
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import read_json, recovered_path, write_json
from serdemo.schema.types import Utterance

PROCEDURE = (
    "embedding and probabilities, 1"  # to be counted up when what is kept means another thing
)
DIGESTS_FILE = "clips.json"


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """A table, how many of its clips were `kept` from before, and the `refused` ones' errors."""

    table: Table
    kept: int
    refused: tuple[str, ...]


def embed(
    folder: Path,
    utterances: Sequence[Utterance],
    base: Path,
    options: CacheOptions,
    *,
    device: str = "auto",
    progress: Callable[[int], None] = lambda done: None,
) -> Embedded:
    """The table of the clips of a checkpoint `folder`, their paths relative to `base`.

    `progress` is told the number of clips done. What is heard is kept at once, so that a run broken
    off goes on where it was. Raises SerdemoError when the checkpoint or none of the clips can be
    read.
    """
    fingerprint = checkpoint_digest(folder)
    cache = ArrayCache(options.folder / f"embed-{fingerprint[:16]}", options.cache_gb)
    keys, refused = _content_digests(utterances, options.folder / DIGESTS_FILE)
    missing = {key: u.path for u, key in keys if key not in cache}
    fresh: dict[str, NDArray[np.float32]] = {}
    done = len(keys) - len(missing)
    if missing:
        for key, found in _embed_clips(folder, missing, device):
            done += 1
            progress(done)
            if isinstance(found, SerdemoError):
                refused.append(str(found))
            else:
                fresh[key] = _join_halves(cache.put(key, _split_halves(found)))
    rows = [
        (u, fresh[key] if key in fresh else _join_halves(cache.get(key)))
        for u, key in keys
        if key in fresh or key in cache
    ]
    cache.close()
    if not rows:
        raise SerdemoError(
            f"None of the {len(utterances)} clips could be read; the first: {refused[0]}"
        )
    said = read_json(recovered_path(folder) / DESCRIPTION)
    about = {
        "checkpoint": said["name"],
        "digest": fingerprint,
        "version": __version__,
        "seen": _seen(said, {clip.speaker_key for clip, _ in rows}),
    }
    return Embedded(
        _table(rows, tuple(said["labels"]), base, about), len(rows) - len(fresh), tuple(refused)
    )


def checkpoint_digest(folder: Path) -> str:
    """What a checkpoint is, as the digest that tables are marked with; raises SerdemoError when it
    is none."""
    files = [recovered_path(folder) / name for name in (WEIGHTS, DESCRIPTION)]
    if not all(file.is_file() for file in files):
        from serdemo.nn import checkpoint

        checkpoint.describe(folder)  # says what is wrong with it
    return digest(PROCEDURE, *files)


def _seen(said: Mapping[str, Any], speakers: set[str]) -> list[str]:
    """Those of the speakers on whom the checkpoint was trained or chosen."""
    known = {
        f"{corpus}/{normalise_speaker(corpus, speaker)}"
        for part in ("trained_on", "selected_on")
        for corpus, names in said.get(part, {}).items()
        for speaker in names
    }
    return sorted(known & speakers)


def _content_digests(
    utterances: Sequence[Utterance], path: Path
) -> tuple[list[tuple[Utterance, str]], list[str]]:
    """Each clip with the digest of its content, and the errors of those that cannot be read.

    Digests are kept in the file `path` by name, size and time of change.
    """
    try:
        known = read_json(path) if path.exists() else {}
    except SerdemoError:
        known = {}
    stamps: dict[str, list[object]] = known if isinstance(known, dict) else {}
    found, refused, before = [], [], dict(stamps)
    for clip in utterances:
        name = str(clip.path.absolute())
        try:
            state = clip.path.stat()
            stamp = [state.st_size, state.st_mtime_ns]
            kept = stamps.get(name)
            if not isinstance(kept, list) or kept[:2] != stamp or not isinstance(kept[-1], str):
                stamps[name] = kept = [*stamp, digest(clip.path)]
            found.append((clip, str(kept[-1])))
        except OSError as problem:
            refused.append(f"{clip.path.name} could not be read: {problem.strerror}.")
        except SerdemoError as problem:
            refused.append(str(problem))
    if stamps != before:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, stamps)
    return found, refused


def _embed_clips(
    folder: Path, missing: Mapping[str, Path], device: str
) -> Iterator[tuple[str, NDArray[np.float32] | SerdemoError]]:
    """By key, the embedding and then the probabilities of a clip, (E + C,), or why there are none."""
    from serdemo.inference.predictor import Embedder

    embedder = Embedder(folder, device=device)
    for key, heard in zip(missing, embedder.embed_many(missing.values()), strict=True):
        if isinstance(heard, SerdemoError):
            yield key, heard
        else:
            values = np.concatenate([heard.embedding, heard.probabilities])
            yield key, values.astype(np.float32)


def _split_halves(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """(D,) as two rows (2, D) of which each fits half precision: the second is what the first lost."""
    first = values.astype(np.float16).astype(np.float32)
    return np.stack([first, values - first])


def _join_halves(halves: NDArray[np.float16]) -> NDArray[np.float32]:
    whole: NDArray[np.float32] = halves.astype(np.float32).sum(axis=0)
    return whole


def _table(
    rows: Sequence[tuple[Utterance, NDArray[np.float32]]],
    labels: tuple[str, ...],
    base: Path,
    about: dict[str, object],
) -> Table:
    values = np.stack([row for _, row in rows])
    width = values.shape[1] - len(labels)
    shares = values[:, width:]
    best = [labels[place] for place in shares.argmax(axis=1)] if labels else [""] * len(rows)
    words = [
        (
            Path(os.path.relpath(clip.path, base)).as_posix(),
            *(clip.corpus, clip.speaker, clip.gender, clip.language, clip.emotion, answer),
        )
        for (clip, _), answer in zip(rows, best, strict=True)
    ]
    columns = dict(zip(TEXT_COLUMNS, map(tuple, zip(*words, strict=True)), strict=True))
    return Table(columns, values[:, :width], labels, shares, about)
