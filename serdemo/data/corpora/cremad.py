"""CREMA-D: twelve sentences, six emotions, 91 actors."""

from serdemo.data.corpora.corpus import Corpus, Label, stem_pattern

ACTORS = set(range(1001, 1092))
# The rest of the 91 are men, by the corpus's own demographics table.
FEMALES = {
    *(1002, 1003, 1004, 1006, 1007, 1008, 1009, 1010, 1012, 1013, 1018, 1020, 1021, 1024, 1025),
    *(1028, 1029, 1030, 1037, 1043, 1046, 1047, 1049, 1052, 1053, 1054, 1055, 1056, 1058, 1060),
    *(1061, 1063, 1072, 1073, 1074, 1075, 1076, 1078, 1079, 1082, 1084, 1089, 1091),
}

CORPUS = Corpus(
    name="cremad",
    title="CREMA-D",
    language="en",
    licence="ODbL 1.0",
    citation="Cao et al. 2014, IEEE Trans. Affective Computing 5(4)",
    homepage="https://github.com/CheyneyComputerScience/CREMA-D",
    obtain="Clone the CREMA-D repository with Git LFS and keep its AudioWAV folder as cremad.",
    folders=frozenset({"cremad", "crema-d", "crema_d", "audiowav", "crema-d-master"}),
    clips=7442,
    speakers=91,
    # The strength is LO, MD, HI or XX, and once a single X (1040_ITH_SAD_X).
    pattern=stem_pattern(
        r"(?P<speaker>10[0-9]{2})_[A-Z]{3}_(?P<label>ANG|DIS|FEA|HAP|NEU|SAD)_(?:LO|MD|HI|XX?)"
    ),
    labels={
        "ANG": Label("anger", "angry", 1271),
        "DIS": Label("disgust", "disgust", 1271),
        "FEA": Label("fear", "fear", 1271),
        "HAP": Label("happy", "happy", 1271),
        "NEU": Label("neutral", "neutral", 1087),
        "SAD": Label("sad", "sad", 1271),
    },
    speaker_digits=4,
    females=frozenset(map(str, FEMALES)),
    males=frozenset(map(str, ACTORS - FEMALES)),
)
