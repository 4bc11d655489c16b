"""Values of the columns of an embedding table, decoded from Arrow data and checked.

`data` is an Arrow table of rows of the file `path`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from serdemo.data.corpora.emotion_names import emotion_word
from serdemo.data.corpora.registry import CORPORA, normalise_speaker
from serdemo.data.corpora.speakers import refuse_look_alikes
from serdemo.data.corpora.table_clips import UNLABELLED, value_text
from serdemo.embeddings import parquet_limits
from serdemo.embeddings.parquet_limits import TEXT_COLUMNS
from serdemo.schema.errors import SerdemoError


def texts(path: Path, data: Any) -> dict[str, tuple[str, ...]]:
    """The text columns in one form: missing values are empty, emotions are ours where they are known,
    speakers as in `registry.normalise_speaker`. Raises SerdemoError for a column of no text."""
    text = {name: _text(path, data, name) for name in TEXT_COLUMNS}
    known = {word: _emotion_of_text(word) for word in {*text["emotion"], *text["prediction"]}}
    for name in ("emotion", "prediction"):
        text[name] = tuple(known[word] for word in text[name])
    pairs = list(zip(text["corpus"], text["speaker"], strict=True))
    speakers = {pair: normalise_speaker(*pair) for pair in set(pairs)}
    return text | {"speaker": tuple(speakers[pair] for pair in pairs)}


def refuse_similar_speakers(path: Path, speakers: Collection[tuple[str, str]]) -> None:
    """Raise UsageError where a corpus that is not a known one has speakers such as 7 and 07, among pairs
    of corpus and speaker."""
    for corpus in {corpus for corpus, _ in speakers} - CORPORA.keys():
        names = [speaker for own, speaker in speakers if own == corpus]
        refuse_look_alikes(corpus or path.name, names)


def _emotion_of_text(text: str) -> str:
    """Our label for an emotion in any usual form, empty for a missing one, other text as it is."""
    return "" if text.casefold() in UNLABELLED else emotion_word(text) or text


def labels(names: Sequence[str]) -> tuple[str, ...]:
    """Labels in our words, or as they are where two would fall together."""
    ours = tuple(map(_emotion_of_text, names))
    return ours if len(set(ours)) == len(ours) and all(ours) else tuple(names)


def _text(path: Path, data: Any, name: str) -> tuple[str, ...]:
    """A column as text, "" where it is missing; a word that stands in many rows is stored once."""
    if name not in data.column_names:
        return ("",) * len(data)
    texts: list[str] = []
    try:
        for chunk in data[name].chunks:
            if pa.types.is_string_view(chunk.type):
                chunk = chunk.cast(pa.large_string())
            coded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
            words = [value_text(value) for value in coded.dictionary.to_pylist()]
            texts += ["" if at is None else words[at] for at in coded.indices.to_pylist()]
    except (pa.ArrowException, ValueError) as problem:
        raise SerdemoError(f"The column {name} of {path.name} must hold text.") from problem
    return tuple(texts)


def floats(column: Any) -> NDArray[np.float32]:
    """Column of numbers as float32 (N,): missing values become NaN, too large ones infinite."""
    with np.errstate(over="ignore"):
        values: NDArray[np.float32] = column.to_numpy(zero_copy_only=False).astype(np.float32)
    return values


def probabilities(path: Path, data: Any, names: Sequence[str]) -> NDArray[np.float32]:
    """The columns `names` as probabilities (N, C); raises SerdemoError for values outside 0 to 1."""
    values = np.zeros((len(data), len(names)), np.float32)
    for n, name in enumerate(names):
        values[:, n] = floats(data[name])
        if not (np.abs(values[:, n] - 0.5) <= 0.501).all():
            raise SerdemoError(
                f"The column {name} of {path.name} must hold {parquet_limits.PARTS}."
            )
    return values


def embedding(
    path: Path, data: Any, first: int = 0, width: int = 0, origin: str = "row 1"
) -> NDArray[np.float32]:
    """Embeddings (N, E) of the rows from `first` on; raises SerdemoError, which names the row, unless all
    are equally many finite numbers up to `MAX_VALUE`, `width` of them as in `origin` where it is given."""
    column = data["embedding"].combine_chunks()
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_list_view(column.type) or pa.types.is_large_list_view(column.type):
        # a cast gives wrong offsets in pyarrow 26
        column = pa.array(column.to_pylist(), pa.large_list(column.type.value_type))
    fault = ""
    if column.null_count:
        fault = f"row {first + pc.index(column.is_null(), True).as_py() + 1} has none"
    else:
        lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
        width = width or int(lengths[0])
        if width and (lengths == width).all():
            flat = floats(column.flatten()).reshape(len(column), width)
            unfit = np.flatnonzero(~(np.abs(flat) <= parquet_limits.MAX_VALUE).all(axis=1))
            if not len(unfit):
                return flat
            large = f"beyond {parquet_limits.MAX_VALUE:.0e}"
            fault = f"row {first + unfit[0] + 1} has one that is missing, not finite or {large}"
        else:
            row = int(np.argmax(lengths != width)) if width else 0
            fault = f"row {first + row + 1} has {lengths[row]} of them, {origin} has {width}"
    raise SerdemoError(
        f"The column embedding of {path.name} must hold {parquet_limits.LISTS}: {fault}."
    )
