"""TESS: two women, older (OAF) and younger (YAF), say 200 words in seven emotions."""

from serdemo.data.corpora.corpus import Corpus, Label, stem_pattern

CORPUS = Corpus(
    name="tess",
    title="TESS",
    language="en",
    licence="CC BY-NC-ND 4.0",
    citation="Pichora-Fuller and Dupuis 2020, Toronto emotional speech set (TESS)",
    homepage="https://tspace.library.utoronto.ca/handle/1807/24487",
    obtain="Download the archive from the University of Toronto and unpack it as a folder tess.",
    folders=frozenset({"tess", "tess toronto emotional speech set data"}),
    clips=2800,
    speakers=2,
    # One clip is misnamed: OA_bite_neutral.
    pattern=stem_pattern(
        r"(?P<speaker>[OY]A)F?_[a-z]+_(?P<label>angry|disgust|fear|happy|neutral|ps|sad)"
    ),
    labels={
        "ANGRY": Label("anger", "angry", 400),
        "DISGUST": Label("disgust", "disgust", 400),
        "FEAR": Label("fear", "fear", 400),
        "HAPPY": Label("happiness", "happy", 400),
        "NEUTRAL": Label("neutral", "neutral", 400),
        "PS": Label("pleasant surprise", "surprise", 400),
        "SAD": Label("sadness", "sad", 400),
    },
    speaker_aliases={"OA": "OAF", "YA": "YAF"},
    females=frozenset({"OAF", "YAF"}),
)
