"""What the field's tables ask: all of a corpus's classes, by its speaker-independent protocol, of an
SVM on functionals and of a linear classifier on an encoder as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from serdemo.cli.embed import common_folder, embedder
from serdemo.cli.options import CORPUS, DEVICE, JSON, PATH, ROOT, option_flags, print_json
from serdemo.data import splits
from serdemo.data.array_cache import CacheOptions
from serdemo.embeddings.extract import embed
from serdemo.evaluation import baselines, functionals
from serdemo.evaluation.baselines import Table
from serdemo.metrics import classification
from serdemo.metrics import scores as metrics_scores
from serdemo.metrics.clusters import single_thread
from serdemo.metrics.probes import linear
from serdemo.nn import description, provenance
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.settings import data_root
from serdemo.schema.types import Utterance

# Training clips and test clips -> the answers to the latter
Method = Callable[[Table, Table], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Row:
    """What a method is worth on a corpus, rates as fractions.

    `uar` is of all answers together, with its 95 % interval over speakers; `uar_folds` the mean of
    the folds' own, each over the classes that it holds.
    """

    corpus: str
    protocol: str
    method: str
    clips: int
    classes: int
    speakers: int
    folds: int
    uar: float
    uar_ci95: tuple[float, float]
    uar_folds: float
    wa: float

    def to_json(self) -> dict[str, object]:
        """A plain dictionary, ready for JSON."""
        return asdict(self)


def measure(
    utterances: Sequence[Utterance],
    encoder: Path | None,
    base: Path,
    options: CacheOptions,
    *,
    device: str = "auto",
    progress: Callable[[int], None] = lambda done: None,
) -> list[Row]:
    """A row for each corpus and method: an SVM (RBF, C = 1) on functionals, and with the checkpoint
    folder `encoder` logistic regression on what it makes of a clip.

    Folds are those a corpus has published, else its speakers. `progress` is told the clips done;
    `options` say where embeddings are kept, `base` is the folder above all clips. Clips that cannot
    be read are left out. Raises UsageError where there is nothing to leave out, and for an encoder
    that has heard one of the speakers; SerdemoError when no clip can be read.
    """
    corpora = sorted({clip.corpus for clip in utterances})
    name, describe = functionals.default_functionals()
    methods: list[tuple[str, Method, Table]] = []
    if encoder is not None:
        provenance.refuse_overlap(
            description.read_description(encoder),
            encoder.name,
            splits.Split(test=tuple(utterances)),
        )
        found = embed(encoder, utterances, base, options, device=device, progress=progress)
        kept: Mapping[str, Utterance] = {
            clip.path.absolute().relative_to(base).as_posix(): clip for clip in utterances
        }
        clips = tuple(kept[word] for word in found.table.text["clip"])
        rows = found.table.embedding.astype(np.float64)
        table = Table(rows, tuple(clip.emotion for clip in clips), clips)
        told = f"linear classifier on {found.table.about['checkpoint']}"
        methods.append((told, _regression, table))
    emotions = sorted({clip.emotion for clip in utterances})
    methods.insert(0, (f"SVM on {name}", _machine, baselines.table(utterances, emotions, describe)))
    if not any(table.clips for _, _, table in methods):
        raise SerdemoError(f"None of the {len(utterances)} clips could be read.")
    return [
        by_protocol(own, told, answer)
        for corpus in corpora
        for told, answer, table in methods
        if (own := _of(table, corpus)).clips
    ]


def by_protocol(table: Table, told: str, answer: Method) -> Row:
    """The row of a method on the clips of one corpus, each answered when its fold is left out.

    Raises UsageError where there are fewer than two speakers or emotions.
    """
    corpus = table.clips[0].corpus
    by: splits.By = "fold" if all(clip.fold for clip in table.clips) else "speaker"
    labels = sorted(set(table.truth))
    place = {clip.path: at for at, clip in enumerate(table.clips)}
    said, own = [""] * len(table.clips), []
    for _, split in splits.folds(table.clips, by):
        train, test = ([place[clip.path] for clip in part] for part in (split.train, split.test))
        if len({table.truth[at] for at in train}) < 2:
            raise UsageError(
                f"There is nothing to tell apart in {corpus}: give two emotions or more."
            )
        answers = answer(_take(table, train), _take(table, test))
        for at, label in zip(test, answers, strict=True):
            said[at] = label
        truth = [table.truth[at] for at in test]
        own.append(classification.uar(classification.confusion(truth, answers, labels)))
    sure = np.array([[float(label == one) for label in labels] for one in said])
    scores = metrics_scores.score(
        table.truth, sure, labels, [clip.speaker_key for clip in table.clips]
    )
    return Row(
        corpus=corpus,
        protocol="its published folds" if by == "fold" else "one speaker left out",
        method=told,
        clips=len(table.clips),
        classes=len(labels),
        speakers=len({clip.speaker_key for clip in table.clips}),
        folds=len(own),
        uar=scores.uar,
        uar_ci95=scores.uar_ci95,
        uar_folds=float(np.mean(own)),
        wa=scores.wa,
    )


def _machine(train: Table, test: Table) -> Sequence[str]:
    nothing = _take(train, [])
    return baselines.fit_svm(train, nothing, test)[0]


def _regression(train: Table, test: Table) -> Sequence[str]:
    with single_thread():
        found: list[str] = linear().fit(train.rows, train.truth).predict(test.rows).tolist()
    return found


def _of(table: Table, corpus: str) -> Table:
    return _take(table, [at for at, clip in enumerate(table.clips) if clip.corpus == corpus])


def _take(table: Table, places: Sequence[int]) -> Table:
    return Table(
        table.rows[list(places)],
        tuple(table.truth[at] for at in places),
        tuple(table.clips[at] for at in places),
    )


@click.command("field")
@click.argument("encoder", required=False, type=PATH)
@CORPUS
@ROOT
@click.option("--source", help="Of a pretrained encoder: a hub id, a folder or a file.")
@DEVICE
@JSON
def command(
    encoder: Path | None,
    corpus: str,
    root: Path | None,
    source: str | None,
    device: str,
    as_json: bool,
    **values: Any,
) -> None:
    """All of a corpus's classes by its own protocol: an SVM, and a linear classifier on an ENCODER.

    The SVM is on functionals. ENCODER is what `embed` takes, and may have heard none of the speakers.
    """
    from serdemo.data import corpora

    pass
    from serdemo.cli.views.console import progress

    options = CacheOptions.from_json({k: v for k, v in values.items() if v is not None})
    where = data_root(root)
    folder = None if encoder is None else embedder(encoder, source, options.folder)
    utterances = corpora.load_many(corpus, where)
    base = common_folder(utterances, where)
    with progress("Embedding", len(utterances), hidden=folder is None) as advance:
        rows = measure(utterances, folder, base, options, device=device, progress=advance)
    if as_json:
        print_json([row.to_json() for row in rows])
        return
    for row in rows:
        low, high = row.uar_ci95
        click.echo(
            f"{row.corpus}, {row.classes} classes, {row.protocol} ({row.folds} folds, {row.speakers}"
            f" speakers, {row.clips} clips): {row.method}: UAR {row.uar:.1%} ({low:.1%} to"
            f" {high:.1%}), {row.uar_folds:.1%} as a mean of folds, accuracy {row.wa:.1%}"
        )


command.params += option_flags((CacheOptions,))
