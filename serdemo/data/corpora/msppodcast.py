"""MSP-Podcast: label, speaker, gender and official part are in Labels/labels_consensus.csv."""

from __future__ import annotations

import csv
from pathlib import Path

from serdemo.data.corpora.corpus import Annotations, Corpus, Label, stem_pattern
from serdemo.schema.errors import SerdemoError

COLUMNS = ("FileName", "EmoClass", "SpkrID", "Gender", "Split_Set")


def annotate(top: Path) -> Annotations:
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
        if not rows or not set(COLUMNS) <= rows[0].keys():
            raise SerdemoError(
                f"{path} needs a row for each clip and the columns {', '.join(COLUMNS)}: take it"
                " from the release again."
            )
        for row in rows:
            name, label, speaker, gender, part = (row[column] or "" for column in COLUMNS)
            if speaker.lower() in ("", "unknown"):
                continue
            fields[Path(name).stem.lower()] = {
                "label": label,
                "speaker": speaker,
                "gender": {"female": "f", "male": "m"}.get(gender.lower(), ""),
                "fold": part,
            }
    return fields


CORPUS = Corpus(
    name="msppodcast",
    title="MSP-Podcast",
    language="en",
    licence="signed agreement, research only, terms differ by institution",
    citation="Lotfian and Busso 2019, IEEE Trans. Affective Computing 10(4)",
    homepage="https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Podcast.html",
    obtain=(
        "Have your institution sign the agreement of the MSP lab of UT Dallas, and keep Audios and"
        " Labels (labels_consensus.csv) as a folder msppodcast. Each release is larger; what the"
        " labels file lists is expected."
    ),
    folders=frozenset({"msppodcast", "msp-podcast", "msp_podcast"}),
    clips=0,
    speakers=0,
    pattern=stem_pattern(r"MSP-PODCAST_[0-9]{4}(?:_[0-9]{4}){1,2}"),
    # Contempt (C), other (O) and no agreement (X) are left out.
    labels={
        "A": Label("angry", "angry", 0),
        "D": Label("disgust", "disgust", 0),
        "F": Label("fear", "fear", 0),
        "H": Label("happy", "happy", 0),
        "N": Label("neutral", "neutral", 0),
        "S": Label("sad", "sad", 0),
        "U": Label("surprise", "surprise", 0),
    },
    annotate=annotate,
    protocol="its own parts Train, Development, Test1 and so on are the folds (--by fold)",
)
