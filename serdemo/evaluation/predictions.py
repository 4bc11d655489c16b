"""What models said to labelled clips, kept clip by clip, so that folds and seeds can be pooled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serdemo.inference.predictor import Predictor, Source
from serdemo.metrics import bootstrap, classification
from serdemo.metrics import scores as metrics_scores
from serdemo.metrics.scores import Scores
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import Utterance


@dataclass(frozen=True)
class PredictionSet:
    """Columns of N answered clips: file, corpus, speaker (`corpus/speaker`), true class, and the
    probabilities of `labels`.

    `refused` has (corpus, sentence) for clips that could not be read; `left_out` counts, by corpus,
    clips whose emotion is not among the classes asked about.
    """

    labels: tuple[str, ...]
    files: tuple[str, ...] = ()
    corpora: tuple[str, ...] = ()
    speakers: tuple[str, ...] = ()
    truth: tuple[str, ...] = ()
    probabilities: tuple[tuple[float, ...], ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes present in the truth, in the order of the labels."""
        return tuple(label for label in self.labels if label in self.truth)

    def of(self, corpus: str) -> PredictionSet:
        """What concerns one corpus."""
        kept = [place for place, name in enumerate(self.corpora) if name == corpus]
        return PredictionSet(
            self.labels,
            **{name: tuple(getattr(self, name)[place] for place in kept) for name in _COLUMNS},
            refused=tuple(one for one in self.refused if one[0] == corpus),
            left_out={corpus: self.left_out.get(corpus, 0)},
        )

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """What `to_json` gave; raises SerdemoError for anything else."""
        try:
            columns = {name: tuple(values[name]) for name in ("labels", *_COLUMNS[:-1])}
            rows = tuple(tuple(map(float, row)) for row in values["probabilities"])
            refused = tuple((corpus, told) for corpus, told in values["refused"])
            left_out = {corpus: int(count) for corpus, count in values["left_out"].items()}
            found = cls(**columns, probabilities=rows, refused=refused, left_out=left_out)
            lengths = {len(getattr(found, name)) for name in _COLUMNS}
            widths = {len(row) for row in rows} | {len(found.labels)}
            if len(lengths) != 1 or len(widths) != 1:
                raise ValueError("columns of different lengths")
        except (AttributeError, KeyError, TypeError, ValueError) as problem:
            raise SerdemoError("The saved answers are damaged.") from problem
        return found


_COLUMNS = ("files", "corpora", "speakers", "truth", "probabilities")


def predict_dataset(
    predictor: Predictor,
    utterances: Sequence[Utterance],
    classes: Collection[str] | None = None,
    progress: Callable[[int], None] = lambda done: None,
    hear: Callable[[Utterance], Source] = lambda clip: clip.path,
) -> PredictionSet:
    """The predictor's answers to the clips of the named classes (all it knows where None).

    `progress` is told the number of clips done; `hear` gives what of a clip is to be heard. Raises
    SerdemoError when there are such clips and none of them can be read.
    """
    labels = predictor.labels
    wanted = set(labels if classes is None else classes)
    named = [(u, classification.class_of(u.emotion, labels)) for u in utterances]
    known = [(u, name) for u, name in named if name in wanted]
    kept: list[tuple[Any, ...]] = []
    refused: list[tuple[str, str]] = []
    # By what counts in a prediction alone: the windows that it shows besides would be as much again.
    replies = predictor.embed_many(hear(u) for u, _ in known)
    for done, ((clip, name), reply) in enumerate(zip(known, replies, strict=True), start=1):
        if isinstance(reply, SerdemoError):
            refused.append((clip.corpus, str(reply)))
        else:
            row = tuple(reply.probabilities.tolist())
            kept.append((clip.path.as_posix(), clip.corpus, clip.speaker_key, name, row))
        progress(done)
    if known and not kept:
        raise SerdemoError(
            f"None of the {len(known)} clips could be read; the first: {refused[0][1]}"
        )
    columns = dict(zip(_COLUMNS, zip(*kept, strict=True), strict=True)) if kept else {}
    out = Counter(u.corpus for u, name in named if name not in wanted)
    return PredictionSet(labels, **columns, refused=tuple(refused), left_out=dict(out))


def concat(parts: Sequence[PredictionSet]) -> PredictionSet:
    """All answers in one, over the labels of any part: a label a model lacks has probability 0."""
    labels = tuple(dict.fromkeys(label for part in parts for label in part.labels))
    rows: list[tuple[float, ...]] = []
    for part in parts:
        places = [part.labels.index(name) if name in part.labels else None for name in labels]
        rows += [
            tuple(0.0 if at is None else row[at] for at in places) for row in part.probabilities
        ]
    columns = {
        name: tuple(value for part in parts for value in getattr(part, name))
        for name in (*_COLUMNS[:-1], "refused")
    }
    left_out = sum((Counter(part.left_out) for part in parts), Counter())
    return PredictionSet(labels, **columns, probabilities=tuple(rows), left_out=dict(left_out))


def score(answers: PredictionSet, *, repeated: bool = False) -> Scores | None:
    """What the answers are worth; None where there is none.

    With `repeated`, a clip answered by several models (seeds) counts in the confusion matrix as
    often, and in `n` once; UAR and WA are then the means over the models.
    """
    if not answers.files:
        return None
    return metrics_scores.score(
        answers.truth,
        np.array(answers.probabilities),
        answers.labels,
        answers.speakers,
        clips=answers.files if repeated else None,
    )


def mean_of_corpora(seeds: Sequence[PredictionSet]) -> dict[str, Any] | None:
    """The mean UAR of the corpora, each counting alike, and its interval; None without answers.

    `seeds` are the answers of one model a seed to the same clips. In each draw of the interval the
    speakers of every corpus are drawn anew (of a corpus of one speaker its clips).
    """
    whole = concat(seeds)
    found: list[tuple[float, NDArray[np.float64]]] = []
    for name in sorted(set(whole.corpora)):
        one = whole.of(name)
        guess = np.array(one.labels)[np.array(one.probabilities).argmax(axis=1)].tolist()
        matrix = classification.confusion(one.truth, guess, one.labels)
        values, _, _ = bootstrap.bootstrap_draws(
            one.truth, guess, one.speakers, clips=one.files, seed=len(found)
        )
        found.append((classification.uar(matrix), values))
    if not found:
        return None
    drawn = np.mean([values for _, values in found], axis=0)
    return {
        "uar": float(np.mean([rate for rate, _ in found])),
        "uar_ci95": list(bootstrap.percentile_interval(drawn)),
        "corpora": len(found),
    }


def mean_std(values: Sequence[float]) -> dict[str, Any]:
    """Mean and sample standard deviation; with one value the deviation is None (not known)."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "sd": deviation, "values": list(values)}


def result(seeds: Sequence[PredictionSet]) -> dict[str, Any] | None:
    """Scores of the same clips as answered by one model a seed, ready for JSON.

    The keys of `Scores` over all seeds together (so `confusion` is their sum, and the interval is
    of the mean), with `classes`, `left_out` and `refused` of one seed, and `over_seeds`: mean, sd
    and values of each rate. None without a clip to score.
    """
    scores = [one for part in seeds if (one := score(part)) is not None]
    together = score(concat(seeds), repeated=True)
    if together is None:
        return None
    return {
        **together.to_json(),
        "classes": list(seeds[0].classes),
        "left_out": sum(seeds[0].left_out.values()),
        "refused": [told for _, told in seeds[0].refused],
        "over_seeds": {
            rate: mean_std([getattr(one, rate) for one in scores])
            for rate in ("uar", "wa", "macro_f1", "ece")
        },
    }
