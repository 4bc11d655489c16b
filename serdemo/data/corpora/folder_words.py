"""Names of folders that hold clips of many people: splits, sessions, intensities, formats, genders."""

from __future__ import annotations

import re

from serdemo.data.corpora.speakers import speaker_form
from serdemo.schema.types import UNKNOWN_SPEAKER

SHARED = """
    train training trn test testing tst dev devel development val valid validation eval evaluation
    holdout heldout fold split part partition subset set batch group section chunk unseen seen
    labelled labeled unlabelled unlabeled
    session sess ses take day date week month year round repetition rep trial run scene version ver
    statement sentence utterance script scripted scenario impro improvised improvisation spontaneous
    acted elicited read
    strong weak normal low high medium mid intense intensity mild moderate extreme level
    recordings recording records wav wave waves wavs flac mp ogg opus audio audios speech
    sound sounds clip clips file files data dataset datasets corpus corpora database raw processed
    original originals augmented augmentation aug clean cleaned noisy noise denoised enhanced
    resampled segmented segments emotion emotions emotional class classes category label labels
    upload uploads download downloads archive backup new old all misc other tmp temp export content
    khz hz bit mono stereo left right near far studio phone microphone mic media video
    samples sample main release final full small large
"""
FEMALE, MALE = "female females woman women girl girls", "male males man men boy boys"
LANGUAGES = """
    english mandarin chinese hindi spanish french arabic bengali portuguese russian urdu german
    italian polish greek japanese turkish indonesian korean persian farsi amharic dutch swedish
    danish norwegian finnish czech hungarian romanian ukrainian vietnamese thai tamil telugu
    american british
    en zh hi es fr ar bn pt ru ur de it pl el ja tr id ko fa am nl sv da no fi cs hu ro uk vi th ta
    te
"""
COLLECTIVE = "voice voices speaker speakers actor actors people"  # without a number
GENDERS = {**dict.fromkeys(FEMALE.split(), "f"), **dict.fromkeys(MALE.split(), "m")}
NUMBERED = frozenset(SHARED.split())
UNNUMBERED = frozenset([*NUMBERED, *LANGUAGES.split(), *COLLECTIVE.split(), *GENDERS])
SPEAKER_WORDS = (
    "voice|female|male|man|woman|actor|actress|speaker|spk|spkr|subject|subj|sub|participant|person"
    "|talker|user|client"
)
SPEAKER_ID = re.compile(rf"(?:(?:{SPEAKER_WORDS}|[a-z])[ _-]*)?\d+", re.IGNORECASE)
NAMED_SPEAKER = re.compile(rf"(?:{SPEAKER_WORDS})(?:[ _-]+\w+|\d+)", re.IGNORECASE)
SPLITS = frozenset({"train", "training", "test", "testing", "dev", "valid", "validation", "eval"})


def is_shared(name: str) -> bool:
    """Whether a folder of this name is likely to hold clips of many people.

    A number beside a word of parts, sessions, intensities or formats does not matter (`session1`,
    `wav_16k`); one beside a gender, a language or "voice" makes it a speaker's id (`male2`). A number
    alone counts as shared only where it is a year.
    """
    if speaker_form(name) == UNKNOWN_SPEAKER or re.fullmatch(r"(?:19|20)\d\d", name):
        return True
    plain = re.sub(r"\d+ ?k(?![a-z])", "khz", name)
    words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", plain).casefold())
    known = NUMBERED if any(map(str.isdecimal, plain)) else UNNUMBERED
    return bool(words) and known.issuperset(words)


def is_surely_shared(name: str) -> bool:
    """Whether that is so beside names of people too: `session1` and `train` are no names, `Val` is one."""
    return is_shared(name) and (any(map(str.isdecimal, name)) or name.casefold() in SPLITS)


def gender(name: str) -> str:
    """`f` or `m` for a folder of one gender, else an empty text."""
    return GENDERS.get(name.strip().casefold(), "")


def is_speaker_id(name: str) -> bool:
    """Whether a name is an id as corpora give to their speakers: `Actor_07`, `0021`, `p225`."""
    return not is_shared(name) and bool(SPEAKER_ID.fullmatch(name) or NAMED_SPEAKER.fullmatch(name))


def is_named_speaker(name: str) -> bool:
    """Whether a name says itself that it is a speaker's: `Actor_07`, `speaker-anna`."""
    return bool(NAMED_SPEAKER.fullmatch(name))
