"""AESDD, Greek: emotion letter, utterance number, speaker in parentheses or after a hyphen."""

from serdemo.data.corpora.corpus import Corpus, Label, stem_pattern

CORPUS = Corpus(
    name="aesdd",
    title="AESDD",
    language="el",
    licence="free for research, licence text unverified",
    citation="Vryzas et al. 2018, J. Audio Eng. Soc. 66(6)",
    homepage="https://m3c.web.auth.gr/research/aesdd-speech-emotion-recognition/",
    obtain="Download the archive from the AESDD page and unpack it as a folder aesdd.",
    folders=frozenset({"aesdd", "acted emotional speech dynamic database"}),
    clips=605,
    speakers=6,
    # a01 (1), a01-1, d03-01, and second takes such as s01-5b.
    pattern=stem_pattern(r"(?P<label>[adfhs])[0-9]{2}[ _(-]+0?(?P<speaker>[1-9])[ab]?\)?[ab]?"),
    labels={
        "A": Label("anger", "angry", 121),
        "D": Label("disgust", "disgust", 122),
        "F": Label("fear", "fear", 120),
        "H": Label("happiness", "happy", 119),
        "S": Label("sadness", "sad", 123),
    },
    speaker_prefix="spk",
    speaker_digits=1,
)
