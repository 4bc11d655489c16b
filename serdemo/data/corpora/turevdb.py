"""TurEV-DB, Turkish words: the emotion is a folder; speaker number, emotion code, word."""

from serdemo.data.corpora.corpus import Corpus, Label, stem_pattern

CORPUS = Corpus(
    name="turevdb",
    title="TurEV-DB",
    language="tr",
    licence="unverified",
    citation="Canpolat et al. 2020, SLTU-CCURL",
    homepage="https://github.com/Xeonen/TurEV-DB",
    obtain=(
        "Clone the TurEV-DB repository and keep its folder Sound Source, as"
        " Calm/1984_sk_eger.wav, as a folder turevdb."
    ),
    folders=frozenset({"turevdb", "turev-db", "turev-db-master", "sound source"}),
    clips=1735,
    speakers=6,
    pattern=stem_pattern(r"(?P<label>angry|calm|happy|sad)/(?P<speaker>[0-9]{4})_[a-z]{2}_[^/]+"),
    labels={
        "ANGRY": Label("Angry", "angry", 487),
        "CALM": Label("Calm", "calm", 408),
        "HAPPY": Label("Happy", "happy", 357),
        "SAD": Label("Sad", "sad", 483),
    },
    speaker_digits=4,
)
