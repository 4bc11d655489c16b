"""EMOVO, Italian: emotion, actor with gender letter, sentence."""

from serdemo.data.corpora.corpus import Corpus, Label, stem_pattern

CORPUS = Corpus(
    name="emovo",
    title="EMOVO",
    language="it",
    licence="free for research, licence text unverified",
    citation="Costantini et al. 2014, LREC",
    homepage="http://voice.fub.it/activities/corpora/emovo/index.html",
    obtain="Download the archive from the EMOVO page and unpack it as a folder emovo.",
    folders=frozenset({"emovo"}),
    clips=588,
    speakers=6,
    pattern=stem_pattern(
        r"(?P<label>dis|gio|neu|pau|rab|sor|tri)-(?P<speaker>[fm][1-3])-[bdln][0-9]"
    ),
    labels={
        "DIS": Label("disgusto", "disgust", 84),
        "GIO": Label("gioia", "happy", 84),
        "NEU": Label("neutrale", "neutral", 84),
        "PAU": Label("paura", "fear", 84),
        "RAB": Label("rabbia", "angry", 84),
        "SOR": Label("sorpresa", "surprise", 84),
        "TRI": Label("tristezza", "sad", 84),
    },
    females=frozenset({"F1", "F2", "F3"}),
    males=frozenset({"M1", "M2", "M3"}),
)
