"""RAVDESS, the speech part: audio-only (03), channel speech (01); even actors are women."""

from serdemo.data.corpora.corpus import Corpus, Label, stem_pattern

ACTORS = [f"{actor:02d}" for actor in range(1, 25)]
# The six speaker-independent folds of the EmoBox benchmark.
FOLDS = {
    "1": "01 11 20 21",
    "2": "04 10 12 14",
    "3": "08 09 19 23",
    "4": "03 05 07 24",
    "5": "02 15 16 18",
    "6": "06 13 17 22",
}

CORPUS = Corpus(
    name="ravdess",
    title="RAVDESS (speech)",
    language="en",
    licence="CC BY-NC-SA 4.0",
    citation="Livingstone and Russo 2018, PLoS ONE 13(5) e0196391",
    homepage="https://zenodo.org/records/1188976",
    obtain="Download Audio_Speech_Actors_01-24.zip from Zenodo and unpack it as a folder ravdess.",
    folders=frozenset({"ravdess", "audio_speech_actors_01-24", "ravdess_speech"}),
    clips=1440,
    speakers=24,
    pattern=stem_pattern(r"03-01-(?P<label>0[1-8])-0[12]-0[12]-0[12]-(?P<speaker>[0-9]{2})"),
    labels={
        "01": Label("neutral", "neutral", 96),
        "02": Label("calm", "calm", 192),
        "03": Label("happy", "happy", 192),
        "04": Label("sad", "sad", 192),
        "05": Label("angry", "angry", 192),
        "06": Label("fearful", "fear", 192),
        "07": Label("disgust", "disgust", 192),
        "08": Label("surprised", "surprise", 192),
    },
    speaker_digits=2,
    females=frozenset(ACTORS[1::2]),
    males=frozenset(ACTORS[::2]),
    folds={actor: fold for fold, actors in FOLDS.items() for actor in actors.split()},
    protocol="the six speaker folds of the EmoBox benchmark (--by fold)",
)
