"""Tables of embeddings whose groups are known."""

from __future__ import annotations

import numpy as np

from serdemo.embeddings.parquet_limits import TEXT_COLUMNS
from serdemo.embeddings.table import Table


def clips(count: int = 30) -> Table:
    """Embeddings of two speakers and three emotions, that part as they should."""
    rng = np.random.default_rng(0)
    emotions = ("angry", "sad", "<b>odd</b>")
    words = {name: ("",) * count for name in TEXT_COLUMNS}
    words["emotion"] = tuple(emotions[n % 3] for n in range(count))
    words["prediction"] = tuple(emotions[n % 2] for n in range(count))
    words["clip"] = tuple(f"{n}.wav" for n in range(count))
    words["corpus"] = ("one",) * count
    words["speaker"] = tuple("ab"[n % 2] for n in range(count))
    embedding = np.eye(3, 8)[np.arange(count) % 3] + 0.1 * rng.standard_normal((count, 8))
    probabilities = np.tile(np.array([[0.75, 0.25]], np.float32), (count, 1))
    return Table(words, embedding.astype(np.float32), ("angry", "sad"), probabilities, {"a": 1})
