"""SAVEE: four men; the speaker is a folder or a prefix, then emotion letters and a number."""

from serdemo.data.corpora.corpus import Corpus, Label, stem_pattern

SPEAKERS = ("DC", "JE", "JK", "KL")

CORPUS = Corpus(
    name="savee",
    title="SAVEE",
    language="en",
    licence="free for research after registration, licence text unverified",
    citation="Haq and Jackson 2010, Multimodal Emotion Recognition, in Machine Audition",
    homepage="http://kahlan.eps.surrey.ac.uk/savee/",
    obtain="Register on the SAVEE page, and keep AudioData, as DC/a01.wav, as a folder savee.",
    folders=frozenset({"savee", "savee database"}),
    clips=480,
    speakers=4,
    pattern=stem_pattern(
        rf"(?P<speaker>{'|'.join(SPEAKERS)})[/_](?P<label>sa|su|[adfhn])[0-9]{{2}}"
    ),
    labels={
        "A": Label("anger", "angry", 60),
        "D": Label("disgust", "disgust", 60),
        "F": Label("fear", "fear", 60),
        "H": Label("happiness", "happy", 60),
        "N": Label("neutral", "neutral", 120),
        "SA": Label("sadness", "sad", 60),
        "SU": Label("surprise", "surprise", 60),
    },
    males=frozenset(SPEAKERS),
    protocol="leave one speaker out (--by speaker), which EmoBox's four folds are too",
)
