"""ESD: ten speakers of Mandarin and ten of English say the same 350 sentences in five emotions."""

from serdemo.data.corpora.corpus import Corpus, Label, stem_pattern

# As its own notes say; the first ten speak Mandarin.
FEMALES = {1, 2, 3, 7, 9, 15, 16, 17, 18, 19}
SPEAKERS = {number: f"{number:04d}" for number in range(1, 21)}

CORPUS = Corpus(
    name="esd",
    title="ESD",
    language="zh, en",
    licence="research only",
    citation="Zhou et al. 2021, ICASSP, doi:10.1109/ICASSP39728.2021.9413391",
    homepage="https://hltsingapore.github.io/ESD/",
    obtain=(
        "Follow the download link of its page, and keep the speakers' folders 0001 to 0020, as"
        " 0011/Angry/0011_000351.wav, as a folder esd."
    ),
    folders=frozenset({"esd", "emotional speech dataset (esd)", "emotion speech dataset"}),
    clips=35000,
    speakers=20,
    pattern=stem_pattern(
        r"(?P<speaker>00(?:0[1-9]|1[0-9]|20))/(?P<label>angry|happy|neutral|sad|surprise)/"
        r"(?:(?P<fold>train|evaluation|test)/)?(?P=speaker)_[0-9]{6}"
    ),
    labels={
        "ANGRY": Label("Angry", "angry", 7000),
        "HAPPY": Label("Happy", "happy", 7000),
        "NEUTRAL": Label("Neutral", "neutral", 7000),
        "SAD": Label("Sad", "sad", 7000),
        "SURPRISE": Label("Surprise", "surprise", 7000),
    },
    speaker_digits=4,
    females=frozenset(SPEAKERS[number] for number in FEMALES),
    males=frozenset(SPEAKERS[number] for number in SPEAKERS.keys() - FEMALES),
    languages={name: "zh" if number <= 10 else "en" for number, name in SPEAKERS.items()},
    protocol=(
        "leave one speaker out (--by speaker): its own parts train, evaluation and test share"
        " their speakers, so --by fold refuses them"
    ),
)
