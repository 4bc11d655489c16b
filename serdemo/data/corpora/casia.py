"""CASIA, the public part: speaker and emotion are folders, the file name is the sentence."""

from serdemo.data.corpora.corpus import Corpus, Label, stem_pattern

CORPUS = Corpus(
    name="casia",
    title="CASIA",
    language="zh",
    licence="by licence from its makers, text unverified",
    citation="CASIA Chinese emotional corpus, Chinese Academy of Sciences",
    homepage="http://shachi.org/resources/27",
    obtain=(
        "Ask the Institute of Automation of the Chinese Academy of Sciences for the 1200 clips of"
        " public use (50 sentences; the whole has 9600), and keep the four speakers' folders, as"
        " liuchanhg/angry/201.wav, as a folder casia."
    ),
    folders=frozenset({"casia", "casia database", "casia-master"}),
    clips=1200,
    speakers=4,
    pattern=stem_pattern(
        r"(?P<speaker>liuchanhg|wangzhe|zhaoquanyin|zhaozuoxiang)/"
        r"(?P<label>angry|fear|happy|neutral|sad|surprise)/[0-9]+"
    ),
    labels={
        "ANGRY": Label("angry", "angry", 200),
        "FEAR": Label("fear", "fear", 200),
        "HAPPY": Label("happy", "happy", 200),
        "NEUTRAL": Label("neutral", "neutral", 200),
        "SAD": Label("sad", "sad", 200),
        "SURPRISE": Label("surprise", "surprise", 200),
    },
    protocol="leave one speaker out (--by speaker), which EmoBox's four folds are too",
)
