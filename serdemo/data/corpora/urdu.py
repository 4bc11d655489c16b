"""URDU: talk shows of Pakistani television; the speaker's id starts with SM (men) or SF (women)."""

from serdemo.data.corpora.corpus import Corpus, Label, stem_pattern

CORPUS = Corpus(
    name="urdu",
    title="URDU",
    language="ur",
    licence="research only",
    citation=(
        "Latif et al. 2018, Cross Lingual Speech Emotion Recognition: Urdu vs. Western Languages"
    ),
    homepage="https://github.com/siddiquelatif/URDU-Dataset",
    obtain="Clone the URDU-Dataset repository and keep it as a folder urdu.",
    folders=frozenset({"urdu", "urdu-dataset", "urdu-dataset-master"}),
    clips=400,
    speakers=29,
    pattern=stem_pattern(r"(?P<speaker>S[MF][0-9]{1,2})_F[0-9]+_(?P<label>[AHNS])[0-9]+"),
    labels={
        "A": Label("angry", "angry", 100),
        "H": Label("happy", "happy", 100),
        "N": Label("neutral", "neutral", 100),
        "S": Label("sad", "sad", 100),
    },
    females=frozenset(f"SF{number}" for number in range(1, 13)),
    males=frozenset(f"SM{number}" for number in range(1, 28)),
)
