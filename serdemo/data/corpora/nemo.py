"""nEMO: ninety Polish sentences in six emotions, nine actors."""

from serdemo.data.corpora.corpus import Corpus, Label, stem_pattern

CORPUS = Corpus(
    name="nemo",
    title="nEMO",
    language="pl",
    licence="CC BY-NC-SA 4.0",
    citation="Christop 2024, LREC-COLING",
    homepage="https://github.com/amu-cai/nEMO",
    obtain="Clone the nEMO repository and keep its samples folder as nemo.",
    folders=frozenset({"nemo", "nemo-main", "nemo-samples"}),
    clips=4481,
    speakers=9,
    pattern=stem_pattern(
        r"(?P<speaker>[A-Z]{2}[0-9])_"
        r"(?P<label>anger|fear|happiness|neutral|sadness|surprised)_[0-9]+"
    ),
    labels={
        "ANGER": Label("anger", "angry", 749),
        "FEAR": Label("fear", "fear", 736),
        "HAPPINESS": Label("happiness", "happy", 749),
        "NEUTRAL": Label("neutral", "neutral", 809),
        "SADNESS": Label("sadness", "sad", 769),
        "SURPRISED": Label("surprised", "surprise", 669),
    },
    females=frozenset({"IC0", "KD0", "MK0"}),
    males=frozenset({"MP0", "SM0", "TP0", "WR0"}),
)
