"""Readers of the label files of corpora whose file names do not hold the label.

Each returns, for the clips below a folder, fields by lower-case file stem (see `Corpus.annotate`).
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

from serdemo.data.corpora.corpus import Annotations
from serdemo.schema.errors import SerdemoError

# [6.2901 - 8.2357]	Ses01F_impro01_F000	neu	[2.5000, 2.5000, 2.5000]
IEMOCAP_LINE = re.compile(
    r"^\[[0-9. -]+\]\s+(Ses0[1-5]\w+_([FM])[0-9]+)\s+([a-z]{3})\b", re.MULTILINE
)
MSPPODCAST_COLUMNS = ("FileName", "EmoClass", "SpkrID", "Gender", "Split_Set")


def iemocap(top: Path) -> Annotations:
    """Majority label and speaker of each clip; the last letter says which of the two speaks."""
    return {
        stem.lower(): {"label": label, "speaker": stem[:5] + actor}
        for path in sorted(top.rglob("EmoEvaluation/Ses*.txt"))
        for stem, actor, label in IEMOCAP_LINE.findall(path.read_text("utf-8", errors="replace"))
    }


def msppodcast(top: Path) -> Annotations:
    """Label, speaker, gender and part of each clip; releases spell the file's name in two ways.

    Clips of unknown speakers are left out, as the same speaker may be in another part.
    Raises SerdemoError when the file differs from the official releases.
    """
    fields: dict[str, dict[str, str]] = {}
    for path in sorted(top.rglob("labels_con[sc]ensus.csv")):
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                rows = list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError, csv.Error) as problem:
            raise SerdemoError(f"{path} cannot be read as CSV: {problem}.") from None
        if not rows or not set(MSPPODCAST_COLUMNS) <= rows[0].keys():
            raise SerdemoError(
                f"{path} needs a row for each clip and the columns {', '.join(MSPPODCAST_COLUMNS)}: take it"
                " from the release again."
            )
        for row in rows:
            name, label, speaker, gender, part = (
                row[column] or "" for column in MSPPODCAST_COLUMNS
            )
            if speaker.lower() in ("", "unknown"):
                continue
            fields[Path(name).stem.lower()] = {
                "label": label,
                "speaker": speaker,
                "gender": {"female": "f", "male": "m"}.get(gender.lower(), ""),
                "fold": part,
            }
    return fields
