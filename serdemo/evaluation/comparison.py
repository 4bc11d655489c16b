"""Two checkpoints on the same clips: their answers side by side, or which of them is better."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from serdemo.audio import waveform
from serdemo.evaluation.predictions import predict_dataset
from serdemo.evaluation.scoring import select_test_clips
from serdemo.inference.predictor import Predictor
from serdemo.metrics.classification import class_of
from serdemo.metrics.significance import PairedComparison, paired_bootstrap
from serdemo.nn.description import Description
from serdemo.nn.provenance import merge, seen_speakers
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import read_json, write_json
from serdemo.schema.text import counted
from serdemo.schema.types import Prediction, Utterance

BEFORE_AFTER = "before_after.json"  # in the folder of a run that began with a checkpoint
INTERVALS = ("ci95_a", "ci95_b", "ci95")


@dataclass(frozen=True, slots=True)
class ClipComparison:
    """Two answers to one file, or the sentence why there is none."""

    file: str
    a: Prediction | None = None
    b: Prediction | None = None
    refusal: str = ""

    @property
    def agree(self) -> bool:
        """Whether both give the same label to the speech in it."""
        return bool(self.a and self.b and self.a.has_speech and self.a.label == self.b.label)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary, ready for JSON."""
        return {**asdict(self), "agree": self.agree}


@dataclass(frozen=True, slots=True)
class Comparison:
    """How checkpoint `b` compares with `a` on a corpus; rates are fractions.

    Both are scored on the `classes` they have in common. `found` holds the figures, its verdict is
    of `b`. `unseen_speakers` says that neither was trained or selected on any of the speakers.
    """

    a: str
    b: str
    corpus: str
    classes: tuple[str, ...]
    speakers: int
    unseen_speakers: bool
    found: PairedComparison

    @property
    def sentence(self) -> str:
        """The verdict in plain words, with what it was drawn from."""
        found, who = self.found, "unseen speaker" if self.unseen_speakers else "speaker"
        where = f"{counted(found.n, 'clip')} of {counted(self.speakers, who)}"
        if found.verdict == "no difference":
            told = f"No difference between {self.a} and {self.b} that {where} can show"
        else:
            told = f"{self.b} is {found.verdict} than {self.a} by {found.points}, sure: {where}"
        low, high = (f"{100 * bound:+.1f}" for bound in found.ci95)
        but = "" if self.unseen_speakers else "; not all of the speakers are new to both"
        if self.speakers == 1:
            but += "; it is one voice, and others may differ"
        return f"{told} (95 % interval of the difference {low} to {high} points{but})."

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary, ready for JSON."""
        values = asdict(self)
        figures = values.pop("found")
        return {**values, **figures, "difference": self.found.difference, "sentence": self.sentence}

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """What `to_json` gave; raises SerdemoError for anything else."""
        try:
            figures = {field.name: values[field.name] for field in fields(PairedComparison)}
            pairs = {name: (float(figures[name][0]), float(figures[name][1])) for name in INTERVALS}
            told = {name: values[name] for name in ("a", "b", "corpus", "speakers")}
            return cls(
                **told,
                classes=tuple(values["classes"]),
                unseen_speakers=values["unseen_speakers"] is True,
                found=PairedComparison(**{**figures, **pairs}),
            )
        except (KeyError, TypeError, ValueError, IndexError) as problem:
            raise SerdemoError("The saved comparison is damaged.") from problem


def side_by_side(a: Predictor, b: Predictor, files: Sequence[Path]) -> Iterator[ClipComparison]:
    """The answers of both to each file, in order; one that cannot be read has its refusal."""
    for file in files:
        try:
            clip = waveform.decode(file)
            yield ClipComparison(str(file), a.predict(clip), b.predict(clip))
        except SerdemoError as problem:
            yield ClipComparison(str(file), refusal=str(problem))


def compare(
    a: Predictor,
    b: Predictor,
    utterances: Sequence[Utterance],
    speakers: str = "unseen",
    progress: Callable[[int, int], None] = lambda done, total: None,
    names: tuple[str, str] | None = None,
    most: int = 0,
) -> list[Comparison]:
    """Which is better on labelled clips: a comparison for each corpus, and of several for all.

    `speakers` are as for `evaluate.choose`, unseen being those that neither has heard; `most` is
    how many clips are heard, evenly from all speakers and emotions, 0 for all. `progress` is told
    how many answers there are of how many. Raises UsageError when the two have fewer than two
    emotions in common, SerdemoError when no speaker is unseen or no clip can be scored.
    """
    title_a, title_b = names or (a.name, b.name)
    common = tuple(label for label in a.labels if label in b.labels)
    if len(common) < 2:
        raise UsageError(
            f"{title_a} and {title_b} have fewer than two emotions in common, so there is nothing to"
            " compare."
        )
    both = merged_provenance(a, b, f"{title_a} or {title_b}")
    chosen = select_test_clips(utterances, speakers, both)
    clips = [clip for clip in chosen if class_of(clip.emotion, common)]
    if not clips:
        raise UsageError(f"None of these clips carries one of {', '.join(common)}.")
    if most:
        clips = sorted(clips, key=lambda u: (u.corpus, u.emotion, u.speaker, u.path.name))
        clips = clips[:: -(-len(clips) // most)]
    total = 2 * len(clips)
    said_a = _answers(a, clips, common, lambda done: progress(done, total))
    said_b = _answers(b, clips, common, lambda done: progress(len(clips) + done, total))
    heard = [clip for clip in clips if clip.path in said_a and clip.path in said_b]
    if not heard:
        raise SerdemoError("None of the clips could be read by both models.")
    seen = seen_speakers(both)

    def of(corpus: str, part: Sequence[Utterance]) -> Comparison:
        truth = [class_of(clip.emotion, common) or "" for clip in part]
        right_a = np.array([said_a[c.path] == t for c, t in zip(part, truth, strict=True)])
        right_b = np.array([said_b[c.path] == t for c, t in zip(part, truth, strict=True)])
        keys = [clip.speaker_key for clip in part]
        return Comparison(
            title_a,
            title_b,
            corpus,
            tuple(label for label in common if label in truth),
            len(set(keys)),
            not seen.intersection(keys),
            paired_bootstrap(truth, right_a, right_b, keys),
        )

    corpora = sorted({clip.corpus for clip in heard})
    each = [of(name, [clip for clip in heard if clip.corpus == name]) for name in corpora]
    return each if len(each) == 1 else [*each, of("all together", heard)]


def before_and_after(
    before: Path,
    after: Path,
    clips: Sequence[Utterance],
    run_dir: Path,
    load: Callable[[Path], Predictor] = Predictor,
) -> tuple[list[Comparison], str]:
    """Compare a run's model with the checkpoint it began with, on its test clips, and write the comparison
    to the run's folder.

    `load` loads a checkpoint. Only speakers unseen by both count. Returns what `load_before_after` does.
    """
    comparisons: list[Comparison] = []
    sentence = ""
    try:
        if not clips:
            raise UsageError(
                "No speaker was kept for testing, so before and after are not compared."
            )
        comparisons = compare(load(before), load(after), clips)
        sentence = comparisons[-1].sentence
    except SerdemoError as problem:
        sentence = str(problem)
    figures = [comparison.to_json() for comparison in comparisons]
    write_json(run_dir / BEFORE_AFTER, {"found": figures, "said": sentence})
    return comparisons, sentence


def load_before_after(run_dir: Path) -> tuple[list[Comparison], str]:
    """What `before_and_after` kept: comparisons, the one of all corpora last, and what it returned.

    Both are empty where it kept nothing. Raises SerdemoError when that is damaged.
    """
    if not (run_dir / BEFORE_AFTER).is_file():
        return [], ""
    told = read_json(run_dir / BEFORE_AFTER)
    if not isinstance(told, dict) or not isinstance(told.get("found", []), list):
        raise SerdemoError(f"{BEFORE_AFTER} is damaged.")
    found = [Comparison.from_json(one) for one in told.get("found", [])]
    return found, str(told.get("said", ""))


def fairest_speaker_set(a: Predictor, b: Predictor, utterances: Sequence[Utterance]) -> str:
    """Whom to compare two on: speakers `unseen` by both where there are any, else `all`."""
    seen = seen_speakers(merged_provenance(a, b))
    return "unseen" if any(clip.speaker_key not in seen for clip in utterances) else "all"


def merged_provenance(a: Predictor, b: Predictor, name: str = "") -> Description:
    """A description that has heard every speaker that either has."""
    return merge(replace(a.description, name=name), b.description)


def _answers(
    predictor: Predictor,
    clips: Sequence[Utterance],
    common: Sequence[str],
    progress: Callable[[int], None],
) -> dict[Path, str]:
    """What is said to each clip, in the common words where there is one for it."""
    found = predict_dataset(predictor, clips, progress=progress)
    said = [predictor.labels[place] for place in np.argmax(found.probabilities, axis=1)]
    return {
        Path(file): class_of(label, common) or label
        for file, label in zip(found.files, said, strict=True)
    }
