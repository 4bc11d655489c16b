"""ShEMO, Persian radio plays: speaker with gender letter, emotion letter, number."""

from serdemo.data.corpora.corpus import Corpus, Label, stem_pattern

CORPUS = Corpus(
    name="shemo",
    title="ShEMO",
    language="fa",
    licence="free for academic use",
    citation="Mohamad Nezami et al. 2019, Language Resources and Evaluation 53(1)",
    homepage="https://github.com/pariajm/sharif-emotional-speech-dataset",
    obtain=(
        "Download female.zip and male.zip as its page says and unpack both in a folder shemo; a"
        " public correction of its labels is modified_shemo.json of"
        " https://github.com/aliyzd95/modified_shemo, used by shemo?labels=modified_shemo.json."
    ),
    folders=frozenset({"shemo", "shemo-master", "sharif-emotional-speech-dataset"}),
    clips=3000,
    speakers=87,
    pattern=stem_pattern(r"(?P<speaker>[FM][0-9]{2})(?P<label>[AFHNSW])[0-9]{2,3}"),
    labels={
        "A": Label("anger", "angry", 1059),
        "F": Label("fear", "fear", 38),
        "H": Label("happiness", "happy", 201),
        "N": Label("neutral", "neutral", 1028),
        "S": Label("sadness", "sad", 449),
        "W": Label("surprise", "surprise", 225),
    },
    females=frozenset(f"F{number:02d}" for number in range(1, 32)),
    males=frozenset(f"M{number:02d}" for number in range(1, 57)),
    protocol="leave speakers out (--by speaker); its usual five classes are shemo?drop=fear",
)
