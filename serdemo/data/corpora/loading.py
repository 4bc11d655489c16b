"""Clips of what a user names as a corpus: a known name, a folder, a CSV file or a hub dataset."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from serdemo.data.corpora import class_folders, csv_table, hf_dataset, shard_table
from serdemo.data.corpora.corpus import Note, ignore
from serdemo.data.corpora.equal_sounds import mark_equal_sounds
from serdemo.data.corpora.folder_levels import EmotionOf
from serdemo.data.corpora.label_map import emotion_of
from serdemo.data.corpora.registry import CORPORA, find, normalise_speaker, parse_all
from serdemo.data.corpora.speakers import refuse_look_alikes, tell_merged, tell_unknown
from serdemo.data.corpora.spec import HUB, SpecOptions, split_spec
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.remote_files import is_address
from serdemo.schema.text import counted
from serdemo.schema.types import Utterance


def load(
    spec: str,
    root: Path | None = None,
    note: Note = ignore,
    *,
    unlabelled: bool = True,
    confined: bool = False,
    remote: bool = False,
) -> list[Utterance]:
    """The clips of one `--corpus` item: a name in `CORPORA`, a folder, a table or `hf:ID`.

    Folders and files are looked up as given, then under `root`. A folder may hold files with the
    official names of known corpora, class folders (`class_folders.read`), or both. A table such as a
    CSV file is read by `csv_table.read`, `confined` as there; `root/NAME.csv` stands for a known
    corpus without a folder. `hf:ID` is a dataset of the Hugging Face hub (`hf_dataset.read`). An
    address such as `s3://bucket/corpus` holds shards (`shard_table.read`) where `remote` allows them.
    Options may follow a `?` (`spec.SpecOptions`). `note` takes a sentence on what was left out or
    taken together.

    Raises UsageError when `spec` is none of these or cannot be read without a choice, SerdemoError
    when it holds no clips, or a table has a clip without an emotion unless `unlabelled`.
    """
    item, options = split_spec(spec)
    if is_address(item):
        if not remote:
            raise UsageError(
                f"{item} is an address, which is not read here: name a folder or a table."
            )
        options.refuse_for("shards")
        clips = shard_table.read(item, options, root=root, unlabelled=unlabelled, note=note)
    elif item.startswith(HUB):
        options.refuse_for("dataset")
        clips = hf_dataset.read(
            item.removeprefix(HUB), options, root=root, unlabelled=unlabelled, note=note
        )
    else:
        read_table = partial(
            csv_table.read,
            options=options,
            root=root,
            unlabelled=unlabelled,
            confined=confined,
            note=note,
        )
        clips = _load(item, options, root, note, read_table)
    return options.apply(_canonical(clips, note), root)


def load_many(
    specs: str,
    root: Path | None = None,
    *,
    unlabelled: bool = False,
    confined: bool = False,
    remote: bool = False,
    note: Note = ignore,
) -> list[Utterance]:
    """The clips of all items of a comma-separated `--corpus`, each file once.

    `confined`, `remote` and `note` are those of `load`; `note` also takes sentences on unknown speakers and on
    equal sounds. Raises the errors of `load`, UsageError where two items differ about a clip, or two
    clips of one sound about its emotion, and that of `require_labels` unless `unlabelled` clips are
    allowed.
    """
    items = [item.strip() for item in specs.split(",") if item.strip()]
    if not items:
        raise UsageError(f"No corpus is named: give one or more of {', '.join(CORPORA)}.")
    by_path: dict[Path, tuple[str, Utterance]] = {}
    for item in items:
        found = load(item, root, note, unlabelled=unlabelled, confined=confined, remote=remote)
        for clip in found:
            path = clip.path.resolve()
            earlier = by_path.get(path)
            by_path[path] = (item, _merged(*earlier, item, clip) if earlier else clip)
    utterances = [clip for _, clip in by_path.values()]
    _refuse_look_alikes(utterances)
    if not unlabelled:
        require_labels(utterances)
    tell_unknown(utterances, note)
    return mark_equal_sounds(utterances, lambda clip: clip.corpus in CORPORA, note)


def _merged(item: str, clip: Utterance, other_item: str, other: Utterance) -> Utterance:
    """The one clip that two items of `--corpus` name; raises UsageError where they differ about it."""
    for what, before, after in (
        ("emotion", clip.emotion, other.emotion),
        ("speaker", clip.speaker_known and clip.speaker, other.speaker_known and other.speaker),
    ):
        if before and after and before != after:
            raise UsageError(
                f"{clip.path.name} has the {what} {before} in {item} and {after} in {other_item}:"
                " correct one of them, or leave one out."
            )
    if clip.speaker_known and not other.speaker_known:
        return clip if clip.emotion else replace(clip, emotion=other.emotion)
    return other if other.emotion else replace(other, emotion=clip.emotion)


def require_labels(utterances: Sequence[Utterance]) -> None:
    """Raise SerdemoError when a clip has no emotion."""
    names = [utterance.path.name for utterance in utterances if not utterance.emotion]
    if names:
        raise SerdemoError(
            f"{names[0]} has no emotion ({len(names)} of {len(utterances)} clips): fill it in, or"
            " train a recipe that needs no labels."
        )


def _load(
    spec: str,
    options: SpecOptions,
    root: Path | None,
    note: Note,
    read_table: Callable[[Path], list[Utterance]],
) -> list[Utterance]:
    name = spec.strip().lower()
    if name in CORPORA:
        return _load_known(name, options, root, read_table)
    for path in [Path(spec), *([root / spec, root / f"{spec}.csv"] if root else [])]:
        if name and os.path.isdir(path):
            options.refuse_for("folder")
            emotion = partial(emotion_of, labels=options.read_label_map(root))
            return _load_folder(path, options.levels(), emotion, note)
        if os.path.isfile(path):
            options.refuse_for("table")
            return read_table(path)
    raise UsageError(
        f"There is no corpus, folder or CSV file called {spec!r}; the known corpora are "
        f"{', '.join(CORPORA)}."
    )


def _load_known(
    name: str,
    options: SpecOptions,
    root: Path | None,
    read_table: Callable[[Path], list[Utterance]],
) -> list[Utterance]:
    corpus = CORPORA[name]
    if root is None:
        raise UsageError(
            f"Where {corpus.title} lies is not known: give --root or set SERDEMO_DATA."
        )
    if utterances := find(root, name):
        options.refuse_for("known")
        return utterances
    if (root / f"{name}.csv").is_file():
        options.refuse_for("table")
        return read_table(root / f"{name}.csv")
    raise SerdemoError(f"No clip of {corpus.title} was found under {root}. {corpus.obtain}")


def _load_folder(
    root: Path, levels: class_folders.Levels, emotion: EmotionOf, note: Note
) -> list[Utterance]:
    """The clips of a folder: those with official names, and those in class folders.

    A file that could be both is official where most files of its folder are, as short names such as
    `a01-1.wav` may be anybody's.
    """
    files = list(class_folders.audio_files(root))
    official = {
        clip.path: clip for corpus in CORPORA.values() for clip in parse_all(corpus, [root])
    }
    in_folder = Counter(path.parent for path in files)
    named = Counter(path.parent for path in official)
    own = [
        path
        for path in files
        if path not in official
        or (
            2 * named[path.parent] <= in_folder[path.parent]
            and any(map(emotion, path.relative_to(root).parts[:-1]))
        )
    ]
    by_class = class_folders.read(root, own, levels, emotion)
    undecided = set(own)
    clips = [*(clip for path, clip in official.items() if path not in undecided), *by_class]
    if not clips:
        raise SerdemoError(
            f"No clip under {root} lies in a folder named after an emotion: sort the audio into "
            "folders such as angry, happy, neutral, sad, or describe it in a CSV file with the "
            "columns path,speaker,emotion."
        )
    taken = {clip.path for clip in clips}
    if rest := [path for path in files if path not in taken]:
        where = class_folders.describe_left_out(root, rest, by_class)
        note(
            f"{len(rest)} of {counted(len(files), 'file')} in {root.resolve().name} are left out: {where}."
        )
    return clips


def _canonical(clips: list[Utterance], note: Note) -> list[Utterance]:
    """The clips with speakers under their canonical ids."""
    tell_merged((clip.speaker for clip in clips if clip.corpus not in CORPORA), note)
    clips = [replace(clip, speaker=normalise_speaker(clip.corpus, clip.speaker)) for clip in clips]
    _refuse_look_alikes(clips)
    return clips


def _refuse_look_alikes(clips: Sequence[Utterance]) -> None:
    """Raise UsageError where two speakers of a corpus, not a known one, differ in zeros alone."""
    for corpus in sorted({clip.corpus for clip in clips} - CORPORA.keys()):
        refuse_look_alikes(corpus, (clip.speaker for clip in clips if clip.corpus == corpus))
