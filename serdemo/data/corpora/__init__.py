"""The corpora we know: official file names -> utterances, found under one data folder."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from serdemo.data.corpora import (
    aesdd,
    ased,
    casia,
    class_folders,
    cremad,
    csv_table,
    emodb,
    emovo,
    esd,
    hf_dataset,
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
from serdemo.data.corpora.corpus import Corpus
from serdemo.data.corpora.spec import split_spec
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.settings import data_root
from serdemo.schema.types import Utterance

HUB = "hf:"

CORPORA: dict[str, Corpus] = {
    corpus.name: corpus
    for corpus in (
        ravdess.CORPUS,
        cremad.CORPUS,
        emodb.CORPUS,
        nemo.CORPUS,
        ased.CORPUS,
        aesdd.CORPUS,
        urdu.CORPUS,
        iemocap.CORPUS,
        casia.CORPUS,
        shemo.CORPUS,
        esd.CORPUS,
        savee.CORPUS,
        tess.CORPUS,
        emovo.CORPUS,
        turevdb.CORPUS,
        msppodcast.CORPUS,
    )
}


def normalise_speaker(corpus: str, text: str) -> str:
    """The canonical id of a speaker of `corpus`; other corpora's ids stay as they are."""
    known = CORPORA.get(corpus)
    return known.normalise_speaker(text) if known else text.strip()


def same_speaker(corpus: str, one: str, other: str) -> bool:
    """Whether two spellings name the same speaker of `corpus`."""
    return normalise_speaker(corpus, one) == normalise_speaker(corpus, other)


def find(root: Path, name: str) -> list[Utterance]:
    """All clips of the corpus `name` under `root`, by official name, sorted by stem.

    Each folder in `root` that bears one of the corpus's usual names is searched, in any letter
    case and to any depth; without such a folder `root` itself is. Files that are no clips of the
    corpus are passed over, and a clip that occurs twice (packs often hold a second copy) counts
    once. An empty list means that nothing was found.

    Raises UsageError for an unknown name or a `root` that is no folder.
    """
    corpus = _known(name)
    return _parse_all(corpus, _folders(corpus, root))


def load(spec: str, root: Path | None = None) -> list[Utterance]:
    """The clips of one `--corpus` item: a name in `CORPORA`, a folder, a CSV file or `hf:ID`.

    Folders and files are looked for as given, then under `root`. A folder may hold known corpora
    or class names as folders (see `folder.read`), and whichever reading accounts for more clips
    counts, official file names on a tie. A CSV is read by `table.read`, also `root/NAME.csv` where
    a known corpus has no folder. `hf:ID` is a dataset of the Hugging Face hub, see `hub.read`. After
    a `?` options may follow, see `options.SpecOptions`.

    Raises UsageError when `spec` is none of these, SerdemoError when there is nothing in it.
    """
    item, options = split_spec(spec)
    if item.startswith(HUB):
        clips = _canonical(hf_dataset.read(item.removeprefix(HUB), options))
    else:
        options.refuse_columns()
        clips = _load(item, root)
    return options.apply(clips, root)


def _load(spec: str, root: Path | None) -> list[Utterance]:
    name = spec.strip().lower()
    if name in CORPORA:
        if root is None:
            raise UsageError(
                f"Where {CORPORA[name].title} lies is not known: give --root or set SERDEMO_DATA."
            )
        utterances = find(root, name)
        if utterances:
            return utterances
        if (root / f"{name}.csv").is_file():
            return _load_table(root / f"{name}.csv")
        raise SerdemoError(
            f"No clip of {CORPORA[name].title} was found under {root}. {CORPORA[name].obtain}"
        )
    for path in [Path(spec), *([root / spec, root / f"{spec}.csv"] if root else [])]:
        if name and os.path.isdir(path):
            return _load_folder(path)
        if os.path.isfile(path):
            return _load_table(path)
    raise UsageError(
        f"There is no corpus, folder or CSV file called {spec!r}; the known corpora are "
        f"{', '.join(CORPORA)}."
    )


def load_many(specs: str, root: Path | None = None, *, unlabelled: bool = False) -> list[Utterance]:
    """The clips of all items of a comma-separated `--corpus`, each file once.

    Raises SerdemoError, beside what `load` raises, for clips without an emotion, but where
    `unlabelled` lets them through.
    """
    items = [item.strip() for item in specs.split(",") if item.strip()]
    if not items:
        raise UsageError(f"No corpus is named: give one or more of {', '.join(CORPORA)}.")
    utterances = [utterance for item in items for utterance in load(item, root)]
    if not unlabelled:
        csv_table.refuse_unlabelled(utterances)
    return list({utterance.path.resolve(): utterance for utterance in utterances}.values())


@dataclass(frozen=True, slots=True)
class Status:
    """What was found of one corpus, beside what there should be; `emotions` in our words.

    Where releases differ in size, their own labels say what there should be, and 0 stands for
    unknown while they are missing.
    `missing` is empty when the corpus is complete, else it says how to get the rest lawfully.
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
    """One row for each known corpus; with `root` None nothing counts as found."""
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
    found = find(root, corpus.name) if root else []
    clips, speakers, emotions = corpus.clips, corpus.speakers, corpus.emotion_counts
    if not clips and root:  # differs by release: what the corpus's own labels list
        clips, speakers, emotions = corpus.listed(_folders(corpus, root))
    heard = len({utterance.speaker for utterance in found})
    complete = bool(found) and len(found) >= clips and heard >= speakers
    return Status(
        name=corpus.name,
        title=corpus.title,
        language=corpus.language,
        licence=corpus.licence,
        citation=corpus.citation,
        homepage=corpus.homepage,
        clips=len(found),
        expected_clips=clips,
        speakers=heard,
        expected_speakers=speakers,
        emotions=dict(Counter(utterance.emotion for utterance in found)),
        expected_emotions=emotions,
        protocol=corpus.protocol,
        complete=complete,
        missing="" if complete else f"{corpus.obtain} ({corpus.homepage})",
    )


def _known(name: str) -> Corpus:
    try:
        return CORPORA[name.strip().lower()]
    except KeyError:
        raise UsageError(
            f"There is no corpus called {name!r}; the known ones are {', '.join(CORPORA)}."
        ) from None


def _data_folder(root: Path) -> Path:
    if not root.is_dir():
        raise UsageError(f"The data folder {root} does not exist: check --root or SERDEMO_DATA.")
    return root


def _folders(corpus: Corpus, root: Path) -> list[Path]:
    root = _data_folder(root)
    try:
        children = sorted(root.iterdir())
    except OSError as error:
        raise SerdemoError(f"The data folder {root} cannot be read: {error.strerror}.") from None
    named = [child for child in children if child.name.lower() in corpus.folders and child.is_dir()]
    return named or [root]


def _parse_all(corpus: Corpus, folders: list[Path]) -> list[Utterance]:
    found: dict[tuple[str, str, str], Utterance] = {}
    notes = corpus.annotations(folders)
    for top in folders:
        for path in class_folders.audio_files(top):
            clip = corpus.parse(path, notes)
            if clip is not None:
                found.setdefault((path.stem.lower(), clip.speaker, clip.native_label), clip)
    return [found[key] for key in sorted(found)]


def _load_folder(path: Path) -> list[Utterance]:
    official = [clip for corpus in CORPORA.values() for clip in _parse_all(corpus, [path])]
    by_class = class_folders.read(path)
    if not official and not by_class:
        raise SerdemoError(
            f"No clip under {path} lies in a folder named after an emotion: sort the audio into "
            "folders such as angry, happy, neutral, sad, or describe it in a CSV file with the "
            "columns path,speaker,emotion."
        )
    return by_class if len(by_class) > len(official) else official


def _load_table(path: Path) -> list[Utterance]:
    return _canonical(csv_table.read(path))


def _canonical(clips: list[Utterance]) -> list[Utterance]:
    """Speakers of a known corpus under their canonical ids."""
    return [replace(clip, speaker=normalise_speaker(clip.corpus, clip.speaker)) for clip in clips]
