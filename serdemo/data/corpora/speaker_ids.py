"""Speaker ids as users write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from serdemo.data.corpora.registry import normalise_speaker
from serdemo.schema.errors import UsageError
from serdemo.schema.types import Utterance

Speakers = str | Iterable[str] | Mapping[str, Iterable[str]]


def speaker_keys(utterances: Sequence[Utterance], speakers: Speakers) -> frozenset[str]:
    """The `corpus/speaker` keys of `speakers` among the speakers of `utterances`.

    `speakers` holds `corpus/speaker` keys, or bare ids that only one corpus has, as an iterable or
    a comma-separated text; or it maps corpora to ids. `07` and `Actor_07` are the same.

    Raises UsageError for an unknown speaker, or a bare id that two corpora have.
    """
    if isinstance(speakers, Mapping):
        speakers = [f"{corpus}/{speaker}" for corpus in speakers for speaker in speakers[corpus]]
    elif isinstance(speakers, str):
        speakers = speakers.split(",")
    known = {clip.speaker_key for clip in utterances}
    corpora = sorted({clip.corpus for clip in utterances})
    return frozenset(
        _speaker_key(text.strip(), corpora, known) for text in speakers if text.strip()
    )


def _speaker_key(text: str, corpora: Sequence[str], known: set[str]) -> str:
    # A slash splits off a corpus only where there is one of that name.
    head, slash, rest = text.partition("/")
    named = [corpus for corpus in corpora if slash and corpus.lower() == head.lower()]
    speaker = rest if named else text
    candidates = [f"{name}/{normalise_speaker(name, speaker)}" for name in named or corpora]
    matches = [key for key in candidates if key in known]
    if not matches:
        raise UsageError(
            f"There is no speaker {text!r} in {', '.join(corpora) or 'no clips'}: check the id."
        )
    if len(matches) > 1:
        raise UsageError(f"Speaker {text!r} could be {' or '.join(matches)}: write it in full.")
    return matches[0]
