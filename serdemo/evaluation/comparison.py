"""Comparison of two checkpoints on the same clips: side by side, or which of them is better."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from serdemo.evaluation.predictions import predict_dataset
from serdemo.evaluation.scoring import select_test_clips
from serdemo.inference.predictor import Predictor
from serdemo.metrics.classification import class_of
from serdemo.metrics.significance import PairedComparison, paired_bootstrap
from serdemo.nn.description import Description, require_classifier
from serdemo.nn.provenance import are_unseen, merge, seen_speakers
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import read_json, write_json
from serdemo.schema.text import counted, counted_speakers
from serdemo.schema.types import Prediction, Utterance, is_known_speaker

BEFORE_AFTER = "before_after.json"  # in the folder of a run that began with a checkpoint
INTERVALS = ("ci95_a", "ci95_b", "ci95")


@dataclass(frozen=True, slots=True)
class ClipComparison:
    """Predictions `a` and `b` of two models for one file, or the error why there is none."""

    file: str
    a: Prediction | None = None
    b: Prediction | None = None
    refusal: str = ""

    @property
    def agree(self) -> bool:
        """Whether both give the same label to the speech in it."""
        a, b = self.a, self.b
        return bool(a and b and a.has_speech and a.label and a.label == b.label)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary, ready for JSON."""
        a, b = (prediction and prediction.to_json() for prediction in (self.a, self.b))
        return {"file": self.file, "a": a, "b": b, "refusal": self.refusal, "agree": self.agree}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Comparison of checkpoint `b` with `a` on a corpus; rates are fractions.

    Both are scored on the `classes` they have in common. The verdict of `paired` is on `b`.
    `unseen_speakers` says that neither was trained or selected on any of the speakers; `unknown` names
    the models of which that is not known.
    """

    a: str
    b: str
    corpus: str
    classes: tuple[str, ...]
    speakers: int
    unseen_speakers: bool
    paired: PairedComparison
    unknown: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The verdict in plain words, with the number of clips and speakers and the interval."""
        paired = self.paired
        speakers = counted_speakers(self.speakers, unseen=self.unseen_speakers)
        clips = f"{counted(paired.n, 'clip')} of {speakers}"
        if paired.verdict == "no difference":
            verdict = f"No difference between {self.a} and {self.b} that {clips} can show"
        else:
            verdict = (
                f"{self.b} is {paired.verdict} than {self.a} by {paired.points}, sure: {clips}"
            )
        low, high = (f"{100 * bound:+.1f}" for bound in paired.ci95)
        caveat = "" if self.unseen_speakers else "; not all of the speakers are new to both"
        if self.unknown:
            caveat = f"; the training speakers of {' and '.join(self.unknown)} are unknown"
        if self.speakers == 1:
            caveat += "; it is one voice, and others may differ"
        return f"{verdict} (95 % interval of the difference {low} to {high} points{caveat})."

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary, ready for JSON."""
        values = asdict(self)
        figures = values.pop("paired")
        return {
            **values,
            **figures,
            "difference": self.paired.difference,
            "sentence": self.sentence,
        }

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """Inverse of `to_json`; raises SerdemoError for anything else."""
        try:
            figures = {field.name: values[field.name] for field in fields(PairedComparison)}
            pairs = {name: (float(figures[name][0]), float(figures[name][1])) for name in INTERVALS}
            return cls(
                **{name: values[name] for name in ("a", "b", "corpus", "speakers")},
                classes=tuple(values["classes"]),
                unseen_speakers=values["unseen_speakers"] is True,
                paired=PairedComparison(**{**figures, **pairs}),
                unknown=tuple(map(str, values.get("unknown", ()))),
            )
        except (KeyError, TypeError, ValueError, IndexError) as problem:
            raise SerdemoError("The saved comparison is damaged.") from problem


def side_by_side(a: Predictor, b: Predictor, files: Sequence[Path]) -> Iterator[ClipComparison]:
    """Predictions of both models for each file, in order; an unreadable file has its error."""
    for file in files:
        try:
            yield ClipComparison(str(file), a.predict(file), b.predict(file))
        except SerdemoError as problem:
            yield ClipComparison(str(file), refusal=str(problem))


def compare(
    a: Predictor,
    b: Predictor,
    utterances: Sequence[Utterance],
    speakers: str = "unseen",
    progress: Callable[[int, int], None] = lambda done, total: None,
    names: tuple[str, str] | None = None,
    max_clips: int = 0,
) -> list[Comparison]:
    """Compare two models on labelled clips: per corpus and, of several, on all clips together.

    `speakers` is as for `select_test_clips`, with "unseen" meaning unseen by both; `names` are the
    titles of the models. `max_clips` limits the clips, spread evenly over speakers and emotions; 0
    for all. `progress` gets the number of predictions done and their total. Raises UsageError when the
    models have fewer than two emotions in common, SerdemoError when no speaker is unseen or no clip
    can be scored.
    """
    title_a, title_b = names or (a.name, b.name)
    for model in (a, b):
        require_classifier(model.description)
    unknown = tuple(t for t, m in ((title_a, a), (title_b, b)) if m.description.is_foreign)
    common = tuple(label for label in a.labels if label in b.labels)
    if len(common) < 2:
        raise UsageError(
            f"{title_a} and {title_b} have fewer than two emotions in common, so there is nothing to"
            " compare."
        )
    provenance = merged_provenance(a, b, f"{title_a} or {title_b}")
    selected = select_test_clips(utterances, speakers, provenance)
    clips = [clip for clip in selected if class_of(clip.emotion, common)]
    if not clips:
        raise UsageError(f"None of these clips carries one of {', '.join(common)}.")
    if max_clips:
        clips = sorted(clips, key=lambda u: (u.corpus, u.emotion, u.speaker, u.path.name))
        clips = clips[:: -(-len(clips) // max_clips)]
    total = 2 * len(clips)
    labels_a = _labels(a, clips, common, lambda done: progress(done, total))
    labels_b = _labels(b, clips, common, lambda done: progress(len(clips) + done, total))
    scored = [clip for clip in clips if clip.path in labels_a and clip.path in labels_b]
    if not scored:
        raise SerdemoError("None of the clips could be read by both models.")
    seen = seen_speakers(provenance)

    def comparison(corpus: str, part: Sequence[Utterance]) -> Comparison:
        truth = [class_of(clip.emotion, common) or "" for clip in part]
        correct_a, correct_b = (
            np.array([labels[clip.path] == name for clip, name in zip(part, truth, strict=True)])
            for labels in (labels_a, labels_b)
        )
        keys = [clip.speaker_key for clip in part]
        return Comparison(
            title_a,
            title_b,
            corpus,
            tuple(label for label in common if label in truth),
            len(set(filter(is_known_speaker, keys))),
            not unknown and are_unseen(seen, keys),
            paired_bootstrap(truth, correct_a, correct_b, keys),
            unknown,
        )

    corpora = sorted({clip.corpus for clip in scored})
    comparisons = [
        comparison(name, [clip for clip in scored if clip.corpus == name]) for name in corpora
    ]
    if len(comparisons) > 1:
        comparisons.append(comparison("all together", scored))
    return comparisons


def before_and_after(
    before: Path,
    after: Path,
    clips: Sequence[Utterance],
    run_dir: Path,
    load: Callable[[Path], Predictor] = Predictor,
) -> tuple[list[Comparison], str]:
    """Compare a run's model with the checkpoint it began with, on its test clips, and write the comparison
    to the run's folder.

    `load` loads a checkpoint. Only speakers unseen by both count, where they are known. Returns what `load_before_after` does.
    """
    comparisons: list[Comparison] = []
    sentence = ""
    try:
        if not clips:
            raise UsageError(
                "No speaker was kept for testing, so before and after are not compared."
            )
        known = all(clip.speaker_known for clip in clips)
        comparisons = compare(load(before), load(after), clips, "unseen" if known else "all")
        sentence = comparisons[-1].sentence
    except SerdemoError as problem:
        sentence = str(problem)
    figures = [comparison.to_json() for comparison in comparisons]
    write_json(run_dir / BEFORE_AFTER, {"found": figures, "said": sentence})
    return comparisons, sentence


def load_before_after(run_dir: Path) -> tuple[list[Comparison], str]:
    """Comparisons that `before_and_after` wrote, the one of all corpora last, and its sentence.

    Both are empty where there is no file. Raises SerdemoError when it is damaged.
    """
    if not (run_dir / BEFORE_AFTER).is_file():
        return [], ""
    values = read_json(run_dir / BEFORE_AFTER)
    if not isinstance(values, dict) or not isinstance(values.get("found", []), list):
        raise SerdemoError(f"{BEFORE_AFTER} is damaged.")
    comparisons = [Comparison.from_json(entry) for entry in values.get("found", [])]
    return comparisons, str(values.get("said", ""))


def fairest_speaker_set(a: Predictor, b: Predictor, utterances: Sequence[Utterance]) -> str:
    """ "unseen" where any speaker is unseen by both models, else "all"; for `compare`."""
    seen = seen_speakers(merged_provenance(a, b))
    return "unseen" if any(clip.speaker_key not in seen for clip in utterances) else "all"


def merged_provenance(a: Predictor, b: Predictor, name: str = "") -> Description:
    """A description whose seen speakers are those of both models."""
    return merge(replace(a.description, name=name), b.description)


def _labels(
    predictor: Predictor,
    clips: Sequence[Utterance],
    common: Sequence[str],
    progress: Callable[[int], None],
) -> dict[Path, str]:
    """Predicted label per file, as one of the `common` labels where there is a match."""
    predictions = predict_dataset(predictor, clips, progress=progress)
    return {
        Path(file): class_of(label, common) or label
        for file, label in zip(predictions.files, predictions.predicted, strict=True)
    }
