"""Which sound a cue is scored on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from serdemo.audio.waveform import SAMPLE_RATE, Clip, Samples
from serdemo.inference.cue_scores import ScoredCue, score_cues
from serdemo.inference.subtitles import Cue
from serdemo.schema.types import Prediction, Segment

DURATION_S = 10


class Recorder:
    """A predictor that remembers which seconds it was given: each sample is its own number."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, float]] = []

    def predict_many(self, clips: Sequence[Clip]) -> Iterator[Prediction]:
        for clip in clips:
            first, last = (round(float(clip.samples[i]) * SAMPLE_RATE) for i in (0, -1))
            assert last - first + 1 == len(clip.samples)
            self.heard.append((first / SAMPLE_RATE, (last + 1) / SAMPLE_RATE))
            yield Prediction(clip.name, 1.0, "sad", 0.9, False, {}, (Segment(0, 1, "sad", 1, {}),))


def numbered(piece_s: float) -> Iterator[Samples]:
    whole = np.arange(DURATION_S * SAMPLE_RATE, dtype=np.float32) / SAMPLE_RATE
    step = round(piece_s * SAMPLE_RATE)
    return (whole[start : start + step] for start in range(0, len(whole), step))


def scored(*times: tuple[float, float], piece_s: float = 0.7) -> tuple[list[ScoredCue], Recorder]:
    recorder = Recorder()
    cues, duration_s = score_cues(recorder, numbered(piece_s), [Cue(a, b, "") for a, b in times])  # type: ignore[arg-type]
    assert duration_s == DURATION_S
    return cues, recorder


@pytest.mark.parametrize("piece_s", [0.1, 0.7, 3.0, 100.0])
@pytest.mark.parametrize(
    ("cue", "sound"),
    [
        ((2, 4), (2, 4)),
        ((2, 2.5), (1.75, 2.75)),  # a second at least, around its middle
        ((0, 0.2), (0, 1)),
        ((3, 3), (2.5, 3.5)),
        ((9.9, 10), (9, 10)),
        ((9.5, 60), (9, 10)),
        ((5, 30), (5, 10)),
        ((0, 10), (0, 10)),
    ],
)
def test_the_sound_of_a_cue(
    cue: tuple[float, float], sound: tuple[float, float], piece_s: float
) -> None:
    (one,), recorder = scored(cue, piece_s=piece_s)
    assert recorder.heard == [pytest.approx(sound, abs=1e-4)]
    assert one.label == "sad"


def test_cues_overlap_and_come_back_in_their_order() -> None:
    times = [(4.0, 6.0), (0.0, 9.0), (5.0, 5.2), (1.0, 3.0), (20.0, 21.0), (9.0, 12.0)]
    cues, recorder = scored(*times)
    assert [(one.cue.start_s, one.cue.end_s) for one in cues] == times
    assert sorted(recorder.heard) == [(0, 9), (1, 3), (4, 6), pytest.approx((4.6, 5.6)), (9, 10)]
    assert cues[4].prediction is None
    assert cues[4].error == "This cue begins after the end of the recording (10.0 s)."


def test_many_cues_are_scored_in_batches_and_a_long_one_is_refused() -> None:
    cues, recorder = scored(*[(0.1 * n, 0.1 * n + 1) for n in range(40)], (0.0, 601.0))
    assert len(recorder.heard) == 40
    assert [one.error for one in cues if one.error] == [
        "This cue is longer than 10 minutes: split it."
    ]


def test_a_label_that_is_unsure_says_so_before_the_text() -> None:
    def before(has_speech: bool, unsure: bool, dimensions: dict[str, float] = {}) -> str:  # noqa: B006
        label = "" if dimensions else "sad"
        parts = (Segment(0, 1, "sad", 0.9, {}, float(has_speech)),)
        found = Prediction("x", 1, label, 0.4, unsure, {}, parts, (), dimensions)
        return ScoredCue(Cue(0, 1, "hi"), found).prefix

    assert before(True, False) == "[sad]"
    assert before(True, True) == "[sad?]"
    assert before(False, True) == "[no speech]"
    assert before(True, False, {"arousal": 0.5}) == "[arousal 0.50]"
    assert ScoredCue(Cue(0, 1, "hi"), error="No.").prefix == ""
