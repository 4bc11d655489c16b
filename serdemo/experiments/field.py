"""SVM on functionals and linear probe of an encoder, by the protocols of published tables.

All classes of a corpus count, and its speakers are kept apart by its published folds or in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from serdemo.cli.embed import common_folder, embedder
from serdemo.cli.options import (
    CORPUS,
    DEVICE,
    JSON,
    PATH,
    ROOT,
    SOURCE,
    given_options,
    option_flags,
    print_json,
)
from serdemo.cli.views.console import progress as progress_bar
from serdemo.data import corpora, splits
from serdemo.data.array_cache import CacheOptions
from serdemo.embeddings.extract import embed
from serdemo.evaluation import baselines, functionals
from serdemo.evaluation.baselines import FeatureTable
from serdemo.metrics import classification
from serdemo.metrics.clusters import single_thread
from serdemo.metrics.probes import linear
from serdemo.metrics.scores import score
from serdemo.nn import description, provenance
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.settings import data_root
from serdemo.schema.types import Utterance

Method = Callable[
    [FeatureTable, FeatureTable], Sequence[str]
]  # training and test clips -> labels of the latter


@dataclass(frozen=True, slots=True)
class Row:
    """Result of a method on a corpus, rates as fractions.

    `uar` is over all predictions, with its 95 % interval over speakers; `uar_folds` is the mean of the
    folds' UAR, each over the classes present in the fold.
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
    """A row for each corpus and method: an SVM (RBF, C = 1) on functionals, and logistic regression
    on the embeddings of the checkpoint folder `encoder` where there is one.

    `options` say where embeddings are cached, `base` is the folder above all clips, `progress` receives
    the number of clips done. Unreadable clips are left out. Raises UsageError where a corpus has a
    single fold, and for an encoder trained on one of the speakers; SerdemoError when no clip is
    readable.
    """
    name, extract = functionals.default_functionals()
    emotions = sorted({clip.emotion for clip in utterances})
    methods = [(f"SVM on {name}", svm, baselines.feature_table(utterances, emotions, extract))]
    if encoder is not None:
        provenance.refuse_overlap(
            description.read_description(encoder),
            encoder.name,
            splits.Split(test=tuple(utterances)),
        )
        embedded = embed(encoder, utterances, base, options, device=device, progress=progress).table
        by_path = {clip.path.absolute().relative_to(base).as_posix(): clip for clip in utterances}
        clips = tuple(by_path[path] for path in embedded.text["clip"])
        rows = embedded.embedding.astype(np.float64)
        table = FeatureTable(rows, tuple(clip.emotion for clip in clips), clips)
        methods.append((f"linear classifier on {embedded.about['checkpoint']}", probe, table))
    if not any(table.clips for _, _, table in methods):
        raise SerdemoError(f"None of the {len(utterances)} clips could be read.")
    return [
        by_protocol(part, name, method)
        for corpus in sorted({clip.corpus for clip in utterances})
        for name, method, table in methods
        if (part := _of_corpus(table, corpus)).clips
    ]


def by_protocol(table: FeatureTable, name: str, method: Method) -> Row:
    """Cross-validate a method on the clips of one corpus, each predicted when its fold is left out.

    Raises UsageError where there are fewer than two speakers or emotions.
    """
    corpus = table.clips[0].corpus
    by: splits.By = "fold" if all(clip.fold for clip in table.clips) else "speaker"
    labels = sorted(set(table.truth))
    index = {clip.path: row for row, clip in enumerate(table.clips)}
    predicted, fold_uar = [""] * len(table.clips), []
    for _, split in splits.folds(table.clips, by):
        train, test = ([index[clip.path] for clip in part] for part in (split.train, split.test))
        if len({table.truth[row] for row in train}) < 2:
            raise UsageError(
                f"There is nothing to tell apart in {corpus}: give two emotions or more."
            )
        answers = method(take(table, train), take(table, test))
        for row, label in zip(test, answers, strict=True):
            predicted[row] = label
        truth = [table.truth[row] for row in test]
        fold_uar.append(classification.uar(classification.confusion(truth, answers, labels)))
    one_hot = (np.array(predicted)[:, None] == np.array(labels)).astype(float)
    speakers = [clip.speaker_key for clip in table.clips]
    scores = score(table.truth, one_hot, labels, speakers)
    return Row(
        corpus=corpus,
        protocol="its published folds" if by == "fold" else "one speaker left out",
        method=name,
        clips=len(table.clips),
        classes=len(labels),
        speakers=len(set(speakers)),
        folds=len(fold_uar),
        uar=scores.uar,
        uar_ci95=scores.uar_ci95,
        uar_folds=float(np.mean(fold_uar)),
        wa=scores.wa,
    )


def svm(train: FeatureTable, test: FeatureTable) -> Sequence[str]:
    """Labels of the test clips by an SVM, without validation clips."""
    return baselines.fit_svm(train, take(train, []), test)[0]


def probe(train: FeatureTable, test: FeatureTable) -> Sequence[str]:
    """Labels of the test clips by logistic regression."""
    with single_thread():
        labels: list[str] = linear().fit(train.rows, train.truth).predict(test.rows).tolist()
    return labels


def take(table: FeatureTable, rows: Sequence[int]) -> FeatureTable:
    """The given rows of a table."""
    return FeatureTable(
        table.rows[list(rows)],
        tuple(table.truth[row] for row in rows),
        tuple(table.clips[row] for row in rows),
    )


def _of_corpus(table: FeatureTable, corpus: str) -> FeatureTable:
    return take(table, [row for row, clip in enumerate(table.clips) if clip.corpus == corpus])


@click.command("field")
@click.argument("encoder", required=False, type=PATH)
@CORPUS
@ROOT
@SOURCE
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
    """All of a corpus's classes by its own protocol: an SVM, and a linear probe of an ENCODER.

    The SVM is on functionals. ENCODER is what `embed` takes, not trained on any of the speakers.
    """
    options = CacheOptions.from_json(given_options(values))
    clips_root = data_root(root)
    folder = None if encoder is None else embedder(encoder, source, options.folder)
    utterances = corpora.load_many(corpus, clips_root)
    base = common_folder(utterances, clips_root)
    with progress_bar("Embedding", len(utterances), hidden=folder is None) as advance:
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
