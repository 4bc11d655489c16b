"""ASED, Amharic: emotion, sentence, repetition, gender (01 female, 02 male), speaker."""

from serdemo.data.corpora.corpus import Corpus, Label, stem_pattern

CORPUS = Corpus(
    name="ased",
    title="ASED",
    language="am",
    licence="unverified",
    citation="Retta et al. 2023 (Amharic Speech Emotion Dataset)",
    homepage="https://github.com/Ethio2021/ASED_V1",
    obtain="Clone the ASED_V1 repository and keep it as a folder ased.",
    folders=frozenset({"ased", "ased_v1", "ased-v1", "ased_v1-main"}),
    clips=2474,
    speakers=65,
    # The fourth number is the gender, but five speakers have it both ways: it is not read.
    pattern=stem_pattern(
        r"(?P<label>n1|f2|h3|s4|a5)-[0-9]{2}-[0-9]{2}-[0-9]{2}-(?P<speaker>[0-9]{2})"
    ),
    labels={
        "N1": Label("neutral", "neutral", 522),
        "F2": Label("fear", "fear", 510),
        "H3": Label("happy", "happy", 486),
        "S4": Label("sad", "sad", 470),
        "A5": Label("angry", "angry", 486),
    },
    speaker_digits=2,
)
