"""EMO-DB, the Berlin database: speaker, text, German emotion letter, version."""

from serdemo.data.corpora.corpus import Corpus, Label, stem_pattern

CORPUS = Corpus(
    name="emodb",
    title="EMO-DB",
    language="de",
    licence="free for research, licence text unverified",
    citation="Burkhardt et al. 2005, Interspeech",
    homepage="http://emodb.bilderbar.info",
    obtain="Download the archive from the EMO-DB site and unpack its wav folder as emodb.",
    folders=frozenset({"emodb", "emo-db", "emo_db", "berlin"}),
    clips=535,
    speakers=10,
    pattern=stem_pattern(r"(?P<speaker>[0-9]{2})[ab][0-9]{2}(?P<label>[WLEAFTN])[a-z]?"),
    labels={
        "W": Label("Wut", "angry", 127),
        "L": Label("Langeweile", "boredom", 81),
        "E": Label("Ekel", "disgust", 46),
        "A": Label("Angst", "fear", 69),
        "F": Label("Freude", "happy", 71),
        "T": Label("Trauer", "sad", 62),
        "N": Label("neutral", "neutral", 79),
    },
    speaker_digits=2,
    females=frozenset({"08", "09", "13", "14", "16"}),
    males=frozenset({"03", "10", "11", "12", "15"}),
)
