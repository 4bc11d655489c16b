"""IEMOCAP: five sessions of two actors; labels lie in dialog/EmoEvaluation, by dialogue."""

from __future__ import annotations

import re
from pathlib import Path

from serdemo.data.corpora.corpus import Annotations, Corpus, Label, stem_pattern

# [6.2901 - 8.2357]	Ses01F_impro01_F000	neu	[2.5000, 2.5000, 2.5000]
LINE = re.compile(r"^\[[0-9. -]+\]\s+(Ses0[1-5]\w+_([FM])[0-9]+)\s+([a-z]{3})\b", re.MULTILINE)


def annotate(top: Path) -> Annotations:
    """Majority label and speaker of each clip; the last letter says which of the two speaks."""
    return {
        stem.lower(): {"label": label, "speaker": stem[:5] + actor}
        for path in sorted(top.rglob("EmoEvaluation/Ses*.txt"))
        for stem, actor, label in LINE.findall(path.read_text("utf-8", errors="replace"))
    }


CORPUS = Corpus(
    name="iemocap",
    title="IEMOCAP (4 classes)",
    language="en",
    licence="signed release form, research only",
    citation="Busso et al. 2008, Language Resources and Evaluation 42(4)",
    homepage="https://sail.usc.edu/iemocap/",
    obtain=(
        "Ask USC's SAIL for it with their release form, and keep Session1 to Session5 as a folder"
        " iemocap: sentences/wav and dialog/EmoEvaluation, where the labels are."
    ),
    folders=frozenset({"iemocap", "iemocap_full_release"}),
    clips=5531,
    speakers=10,
    # Of the prefix, F or M says who wore the motion sensors, not who speaks.
    pattern=stem_pattern(r"Ses0(?P<fold>[1-5])[FM]_(?:impro|script)\w+_[FM][0-9]{3}"),
    # The usual four classes; frustration, the rarer ones and clips without a majority are left out.
    labels={
        "ANG": Label("anger", "angry", 1103),
        "HAP": Label("happiness", "happy", 595),
        "EXC": Label("excited", "happy", 1041),
        "NEU": Label("neutral", "neutral", 1708),
        "SAD": Label("sadness", "sad", 1084),
    },
    females=frozenset(f"SES0{session}F" for session in range(1, 6)),
    males=frozenset(f"SES0{session}M" for session in range(1, 6)),
    annotate=annotate,
    protocol="leave one session out (--by session); happy and excited are one class",
)
