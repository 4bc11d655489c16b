"""The known corpora by name, and their clips under a data folder."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from serdemo.data.corpora import (
    aesdd,
    ased,
    casia,
    cremad,
    emodb,
    emovo,
    esd,
    iemocap,
    msppodcast,
    nemo,
    ravdess,
    savee,
    shemo,
    tess,
    turevdb,
    urdu,
)
from serdemo.data.corpora.class_folders import audio_files
from serdemo.data.corpora.corpus import Corpus
from serdemo.data.corpora.speakers import speaker_form
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.settings import data_root
from serdemo.schema.types import UNKNOWN_SPEAKER, Utterance

CORPORA: dict[str, Corpus] = {
    module.CORPUS.name: module.CORPUS
    for module in (
        ravdess,
        cremad,
        emodb,
        nemo,
        ased,
        aesdd,
        urdu,
        iemocap,
        casia,
        shemo,
        esd,
        savee,
        tess,
        emovo,
        turevdb,
        msppodcast,
    )
}


def normalise_speaker(corpus: str, text: str) -> str:
    """Canonical id of a speaker of `corpus`, in `speaker_form` where the corpus is not a known one."""
    form, known = speaker_form(text), CORPORA.get(corpus)
    return known.normalise_speaker(text) if known and form != UNKNOWN_SPEAKER else form


def find(root: Path, name: str) -> list[Utterance]:
    """All clips of the corpus `name` under `root`, sorted by file stem; may be empty.

    Every folder in `root` that has one of the corpus's usual names, in any letter case, is searched
    to any depth; if there is none, `root` itself is, but for the folders of other known corpora. Files
    that are no clips of the corpus are skipped, and a clip that occurs twice (packs often hold a second
    copy) counts once.

    Raises UsageError for an unknown name or a `root` that is not a folder.
    """
    corpus = CORPORA.get(name.strip().lower())
    if corpus is None:
        raise UsageError(
            f"There is no corpus called {name!r}; the known ones are {', '.join(CORPORA)}."
        )
    folders = _folders(corpus, root)
    return parse_all(
        corpus, folders, _names_of_others(corpus) if folders == [root] else frozenset()
    )


def parse_all(
    corpus: Corpus, folders: list[Path], excluded: frozenset[str] = frozenset()
) -> list[Utterance]:
    """All clips of a corpus below `folders`, each once, sorted by file stem. Folders directly in these
    that have one of the `excluded` names, in any letter case, are not searched."""
    clips: dict[tuple[str, str, str], Utterance] = {}
    annotations = corpus.annotations(folders)
    for folder in folders:
        for path in audio_files(folder, excluded):
            clip = corpus.parse(path, annotations)
            if clip is not None:
                clips.setdefault((path.stem.lower(), clip.speaker, clip.native_label), clip)
    return [clips[key] for key in sorted(clips)]


COPIED = ("name", "title", "language", "licence", "citation", "homepage", "protocol")


@dataclass(frozen=True, slots=True)
class Status:
    """Completeness of one corpus on this machine; `emotions` counts clips by our labels.

    Where releases differ in size, the corpus's label files give the expected counts; they are 0
    without those files. `missing` tells how to get the rest lawfully, empty for a complete corpus.
    """

    name: str
    title: str
    language: str
    licence: str
    citation: str
    homepage: str
    clips: int
    expected_clips: int
    speakers: int
    expected_speakers: int
    emotions: dict[str, int]
    expected_emotions: dict[str, int]
    protocol: str
    complete: bool
    missing: str


def status(root: Path | None) -> list[Status]:
    """Status of every known corpus under `root`; without a root nothing is there."""
    return [_status(corpus, root) for corpus in CORPORA.values()]


def available_corpora() -> list[tuple[str, str]]:
    """(title with the number of clips, name) of each known corpus found under SERDEMO_DATA."""
    root = data_root(None)
    try:
        rows = status(root) if root else []
    except SerdemoError:
        return []
    return [(f"{row.title} ({row.clips} clips)", row.name) for row in rows if row.clips]


def _status(corpus: Corpus, root: Path | None) -> Status:
    utterances = find(root, corpus.name) if root else []
    clips, speakers, emotions = corpus.clips, corpus.speakers, corpus.emotion_counts
    if not clips and root:  # the size differs by release
        clips, speakers, emotions = corpus.listed(_folders(corpus, root))
    n_speakers = len({utterance.speaker for utterance in utterances})
    complete = bool(utterances) and len(utterances) >= clips and n_speakers >= speakers
    return Status(
        **{name: getattr(corpus, name) for name in COPIED},
        clips=len(utterances),
        expected_clips=clips,
        speakers=n_speakers,
        expected_speakers=speakers,
        emotions=dict(Counter(utterance.emotion for utterance in utterances)),
        expected_emotions=emotions,
        complete=complete,
        missing="" if complete else f"{corpus.obtain} ({corpus.homepage})",
    )


def _names_of_others(corpus: Corpus) -> frozenset[str]:
    """The usual folder names of all other known corpora."""
    others = (other.folders for other in CORPORA.values() if other is not corpus)
    return frozenset().union(*others)


def _folders(corpus: Corpus, root: Path) -> list[Path]:
    """The folders of `root` that bear the corpus's name, else `root`."""
    if not root.is_dir():
        raise UsageError(f"The data folder {root} does not exist: check --root or SERDEMO_DATA.")
    try:
        children = sorted(root.iterdir())
    except OSError as error:
        raise SerdemoError(f"The data folder {root} cannot be read: {error.strerror}.") from None
    named = [child for child in children if child.name.lower() in corpus.folders and child.is_dir()]
    return named or [root]
