from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import bad_audio
from support.detectors import Hears

from serdemo.audio import quality, vad, waveform
from serdemo.inference import aggregation
from serdemo.inference.predictor import Predictor
from serdemo.inference.stream import NO_SPEECH, Stream
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.types import Prediction

RATE = waveform.SAMPLE_RATE
LABELS = ("angry", "sad")
CHUNK = vad.CHUNK


def fresh(rate: int = RATE, **values) -> Stream:
    return Stream(rate, labels=LABELS, **{"detector": Hears(), **values})


def noise(seconds: float) -> np.ndarray:
    found = np.random.default_rng(0).uniform(0.1, 0.5, round(seconds * RATE))
    return found.astype(np.float32)


@pytest.fixture(scope="module")
def predictor(tiny_checkpoint: Path) -> Predictor:
    """A model whose answers are soft enough to show small differences."""
    found = Predictor(tiny_checkpoint, device="cpu")
    found.description = replace(found.description, temperature=15.0)
    return found


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Five seconds at 16 kHz: a voice, a pause longer than a window's hop, and a voice again."""
    voice = bad_audio.voice(4.0)
    return np.concatenate([voice[:30_000], np.zeros(20_000), voice[-30_000:]]).astype(np.float32)


def answer(predictor: Predictor, live: Stream, pieces: list[np.ndarray]) -> Prediction:
    for piece in pieces:
        live.push(piece)
        for window in live.ready_windows():
            live.add_scores(window, predictor.probabilities([window.wave])[0])
    live.finish()
    for window in live.ready_windows():
        live.add_scores(window, predictor.probabilities([window.wave])[0])
    return live.result("the sound")


def assert_same(one: Prediction, other: Prediction, within: float) -> None:
    assert (one.label, one.unsure, one.duration_s) == (other.label, other.unsure, other.duration_s)
    pairs = [(one, other), *zip(one.segments, other.segments, strict=True)]
    for a, b in pairs:
        assert a.label == b.label
        assert a.probabilities == pytest.approx(b.probabilities, abs=within)
    for a, b in pairs[1:]:
        assert (a.start_s, a.end_s) == (b.start_s, b.end_s)
        assert a.speech_ratio == pytest.approx(b.speech_ratio, abs=within)


def test_the_answers_differ_enough_to_compare(predictor: Predictor, speech: np.ndarray) -> None:
    rows = predictor.probabilities([speech[:16_000], speech[30_000:60_000], speech[-20_000:]])
    assert np.ptp(rows, axis=0).max() > 0.02
    assert rows.max() < 0.95


def at_rate(samples: np.ndarray, rate: int) -> np.ndarray:
    import soxr

    return soxr.resample(samples, RATE, rate)


@settings(deadline=None, max_examples=30)
@given(
    rate=st.sampled_from((8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000)),
    cuts=st.lists(st.floats(0, 1), max_size=25),
    n_samples=st.integers(100, 80_000),
)
def test_a_stream_in_any_pieces_gives_what_the_file_gives(
    predictor: Predictor, speech: np.ndarray, rate: int, cuts: list[float], n_samples: int
) -> None:
    sound = at_rate(speech[:n_samples], rate)
    whole = predictor.predict(waveform.from_array(sound, rate, "the sound"))
    live = predictor.stream(rate, hop_s=waveform.HOP_S, first_s=waveform.WINDOW_S, keep_s=math.inf)
    pieces = np.split(sound, sorted(round(cut * len(sound)) for cut in cuts))
    assert_same(answer(predictor, live, pieces), whole, 1e-4)


@pytest.mark.slow
@settings(deadline=None, max_examples=20)
@given(
    rate=st.sampled_from((8_000, 16_000, 44_100, 48_000, 96_000)),
    cuts=st.lists(st.floats(0, 1), max_size=25),
    channels=st.integers(1, 2),
)
def test_live_answers_do_not_depend_on_the_pieces(
    predictor: Predictor, speech: np.ndarray, rate: int, cuts: list[float], channels: int
) -> None:
    sound = np.stack([np.round(at_rate(speech, rate) * 20_000).astype(np.int16)] * channels, 1)
    pieces = np.split(sound, sorted(round(cut * len(sound)) for cut in cuts))
    found = answer(predictor, predictor.stream(rate), pieces)
    assert_same(found, answer(predictor, predictor.stream(rate), [sound]), 1e-4)
    assert {segment.label for segment in found.segments} - {NO_SPEECH}
    assert found.segments[-1].end_s == pytest.approx(5.0, abs=1e-3)


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000, 96_000])
def test_the_source_rate_hardly_matters(predictor: Predictor, rate: int) -> None:
    """What lies below 3 kHz is the same sound at every rate."""
    import scipy.signal

    low_pass = scipy.signal.firwin(801, 3_000, fs=RATE)
    sound = np.convolve(bad_audio.voice(4.0), low_pass, "same").astype(np.float32)
    expected = predictor.predict(waveform.from_array(sound, RATE, "a"))
    found = answer(
        predictor, predictor.stream(rate, hop_s=1.0, first_s=3.0), [at_rate(sound, rate)]
    )
    assert expected.segments[0].speech_ratio > 0.5
    assert found.probabilities == pytest.approx(expected.probabilities, abs=0.01)


@given(n_samples=st.integers(1, 300_000), hop=st.integers(1_000, 48_000))
@settings(max_examples=60, deadline=None)
def test_windows_of_a_whole_sound(n_samples: int, hop: int) -> None:
    live = fresh(hop_s=hop / RATE, first_s=waveform.WINDOW_S)
    live.push(noise(n_samples / RATE))
    live.finish()
    windows = live.ready_windows()
    expected = waveform.windows(n_samples, hop_s=hop / RATE)
    if len(expected) > 1 and n_samples <= 6 * RATE:  # a short sound is answered from all of it
        assert windows[-1].whole and (windows[-1].start, windows[-1].stop) == (0, n_samples)
        windows = windows[:-1]
    assert not any(window.whole for window in windows)
    assert [(window.start, window.stop) for window in windows] == expected
    assert all(len(window.wave) == window.stop - window.start for window in windows)
    assert {window.speech_ratio for window in windows} == {float(n_samples > 3 * CHUNK)}


def test_live_windows_grow_and_then_slide() -> None:
    live, sound = fresh(), noise(6.0)
    passed = waveform.Resampler(RATE).push(sound)
    seen = []
    for start in range(0, len(sound), 1_600):
        live.push(sound[start : start + 1_600])
        for window in live.ready_windows():
            assert window.stop <= start + 1_600 < window.stop + 1_600
            np.testing.assert_array_equal(window.wave, passed[window.start : window.stop])
            seen.append((window.start / RATE, window.stop / RATE))
    assert seen[:6] == [(0, 0.95), (0, 1.45), (0, 1.95), (0, 2.45), (0, 2.95), (0.45, 3.45)]
    assert len(seen) == 11 and seen[-1] == (2.95, 5.95)
    live.finish()
    last, whole = live.ready_windows()
    assert (last.start, last.stop, last.whole) == (48_000, 96_000, False)
    assert (whole.start, whole.stop, whole.whole) == (0, 96_000, True)
    np.testing.assert_array_equal(whole.wave, passed)
    assert live.ready_windows() == []


def test_a_short_sound_is_answered_from_all_of_it() -> None:
    for seconds, answered in ((5.9, 0.75), (6.1, 0.1)):
        live = fresh()
        live.push(noise(seconds))
        live.finish()
        for window in live.ready_windows():
            live.add_scores(window, [0.75, 0.25] if window.whole else [0.1, 0.9])
        assert live.result("a").probabilities["angry"] == pytest.approx(answered)
        assert {segment.label for segment in live.segments} == {"sad"}
        assert max(segment.end_s for segment in live.segments) == pytest.approx(seconds)


def test_no_piece_of_a_browser_waits_for_the_next() -> None:
    """With pieces of half a second every window is due with the piece that holds its end."""
    for rate in (44_100, 48_000):
        live, piece = fresh(rate), noise(0.5 * rate / RATE)
        for number in range(1, 12):
            live.push(piece)
            due = live.ready_windows()
            assert [window.stop for window in due] == [number * 8_000 - 800] * (number > 1)


def test_what_holds_no_speech_is_not_scored() -> None:
    live = fresh()
    live.push(np.zeros(4 * RATE, np.float32))
    assert live.ready_windows() == []
    assert [segment.label for segment in live.segments] == [NO_SPEECH] * 7
    assert not live.is_speaking
    assert live.segments[-1].speech_ratio == live.segments[-1].confidence == 0
    assert sum(live.segments[-1].probabilities.values()) == pytest.approx(1)
    with pytest.raises(SerdemoError, match="No answer for a: it holds no sound yet"):
        live.result("a")
    live.push(noise(1.0))
    (first, second) = live.ready_windows()
    assert live.is_speaking
    assert (first.stop, first.speech_ratio) == (71_200, pytest.approx(14 / 94, abs=0.02))
    assert second.speech_ratio > first.speech_ratio
    live.add_scores(first, [0.2, 0.8])
    live.add_scores(second, [0.2, 0.8])
    assert (live.n_scored, live.n_silent) == (2, 7)
    assert [segment.label for segment in live.segments[-3:]] == [NO_SPEECH, "sad", "sad"]
    assert live.result("a").probabilities == pytest.approx({"angry": 0.2, "sad": 0.8})


def test_a_sound_without_speech_is_answered_by_its_likeliest_window() -> None:
    live = fresh()
    sound = np.zeros(8 * RATE, np.float32)
    sound[100_000:100_900] = 0.1  # too short to count as speech
    live.push(sound)
    assert live.ready_windows() == []
    live.finish()
    (window,) = live.ready_windows()
    assert window.speech_ratio == 0 and window.start <= 100_000 < window.stop
    live.add_scores(window, [0.9, 0.1])
    whole = live.result("a")
    assert (whole.label, whole.unsure, whole.has_speech) == ("angry", True, False)
    assert {segment.label for segment in whole.segments} == {NO_SPEECH}


def test_smoothing_by_hand() -> None:
    live = fresh(hop_s=1.0, first_s=1.0, window_s=1.0)
    live.push(noise(2.0))
    first, second = live.ready_windows()
    assert live.add_scores(first, [1.0, 0.0]).probabilities["angry"] == 1
    past = math.exp(-1 / aggregation.SMOOTHING_S)
    shown = live.add_scores(second, [0.4, 0.6])
    assert shown.label == "sad"
    assert shown.probabilities["sad"] == pytest.approx(0.6 / (1 + past))
    # The whole is the mean of what the windows said, not of what was shown.
    assert live.result("a").probabilities["sad"] == pytest.approx(0.3)


def test_a_pause_makes_it_forget_and_speech_is_the_weight() -> None:
    live = fresh(hop_s=1.0, first_s=1.0, window_s=1.0)
    live.push(np.concatenate([noise(1.0), np.zeros(8 * RATE, np.float32), noise(0.5)]))
    live.push(np.zeros(RATE // 2, np.float32))
    first, last = live.ready_windows()
    live.add_scores(first, [1.0, 0.0])
    assert last.speech_ratio == pytest.approx(0.5, abs=0.05)
    assert live.add_scores(last, [0.0, 1.0]).probabilities["sad"] == pytest.approx(1, abs=1e-4)
    whole = live.result("a").probabilities["sad"]
    assert whole == pytest.approx(last.speech_ratio / (first.speech_ratio + last.speech_ratio))


def test_a_clear_change_is_shown_at_once() -> None:
    live = fresh()
    live.push(noise(20.0))
    windows = live.ready_windows()
    shown = [live.add_scores(w, [0.7, 0.3] if w.stop < 10 * RATE else [0.3, 0.7]) for w in windows]
    assert all(segment.label == ("angry" if segment.end_s < 10 else "sad") for segment in shown)


def test_a_window_left_out_counts_for_nothing() -> None:
    live = fresh()
    live.push(noise(3.0))
    windows = live.ready_windows()
    live.add_scores(windows[-1], [0.2, 0.8])
    assert [segment.end_s for segment in live.segments] == [2.95]
    assert live.result("a").probabilities["sad"] == pytest.approx(0.8)


def test_memory_stays_bounded() -> None:
    live, piece = fresh(), noise(0.5)
    for _ in range(600):
        live.push(piece)
        for window in live.ready_windows():
            live.add_scores(window, [0.5, 0.5])
    assert live.received_s == pytest.approx(300)
    held = [value for value in vars(live).values() if isinstance(value, np.ndarray)]
    assert sum(value.nbytes for value in held) < 500_000
    assert len(live.segments) == 120
    assert live.segments[0].end_s > 240
    assert live.segments[-1].end_s == pytest.approx(299.95)


def test_the_rate_may_change_on_the_way() -> None:
    live = fresh(48_000)
    live.push(at_rate(noise(2.0), 48_000))
    live.push(at_rate(noise(2.0), 8_000), rate=8_000)
    live.push(noise(1.0), rate=16_000)
    live.finish()
    assert [window.stop for window in live.ready_windows()][-1] == pytest.approx(80_000, abs=2)
    assert live.received_samples == 96_000 + 16_000 + 16_000
    assert live.received_s == pytest.approx(5)


def test_bad_pieces_are_refused_and_the_stream_goes_on() -> None:
    live = fresh()
    live.push(noise(0.5))
    for bad, pattern in (
        (np.array([0.1, np.nan], np.float32), "not numbers"),
        (np.full(10, 900.0), "beyond full scale"),
        (np.zeros(9, np.complex64), "type complex64"),
        (np.zeros((2, 2, 2)), "shape"),
    ):
        with pytest.raises(SerdemoError, match=f"^The sound .*{pattern}"):
            live.push(bad)
    with pytest.raises(SerdemoError, match="sample rate of 0 Hz"):
        live.push(noise(0.1), rate=0)
    live.push(np.zeros(0, np.float32))
    live.push(noise(0.5))
    assert live.received_samples == 16_000
    assert [window.stop for window in live.ready_windows()] == [15_200]
    live.finish()
    live.finish()
    with pytest.raises(UsageError, match="finished: open another"):
        live.push(noise(0.1))


@pytest.mark.parametrize(
    "times", [{"hop_s": 0}, {"hop_s": 4}, {"first_s": 9}, {"first_s": math.nan}, {"keep_s": 0}]
)
def test_impossible_times(times: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=r"^Windows of 3 s.*: give positive times"):
        fresh(**times)
    with pytest.raises(SerdemoError, match="sample rate"):
        fresh(10)


def test_an_empty_stream_ends_without_an_answer() -> None:
    live = fresh()
    live.finish()
    assert live.ready_windows() == []
    with pytest.raises(SerdemoError, match="no sound yet"):
        live.result("a")


def test_the_meter() -> None:
    live = fresh(48_000)
    tone = bad_audio.sine(3.0, 48_000)
    for piece in np.split(tone, 30):
        live.push(piece)
    assert live.meter.level_dbfs == pytest.approx(-9.03, abs=0.1)
    assert live.meter.peak == pytest.approx(0.5, abs=0.01)
    assert live.meter.clipped == 0
    live.push(np.ones(4_800, np.float32))
    assert live.meter.peak == pytest.approx(1.1, abs=0.15)  # with the overshoot of filters
    assert live.meter.clipped == pytest.approx(0.1 / quality.CLIPPING_S, rel=0.05)
    for _ in range(100):
        live.push(np.zeros(4_800, np.float32))
    assert live.meter.level_dbfs == -120
    assert live.meter.clipped < 0.005 > live.meter.peak


def test_on_real_voices_what_is_held_for_a_second_is_shown(data_root: Path) -> None:
    clips = sorted(data_root.glob("ravdess/**/03-01-0[1-8]-0?-01-01-11.*"))
    if len(clips) < 10:
        pytest.skip("the corpus ravdess is not under SERDEMO_DATA")
    model = Predictor(device="cpu")
    live = model.stream(RATE, keep_s=math.inf)
    for clip in clips:
        live.push(waveform.decode(clip).samples)
    windows = live.ready_windows()
    rows = model.probabilities([window.wave for window in windows])
    said = [model.labels[place] for place in rows.argmax(1)]
    shown = [live.add_scores(w, row).label for w, row in zip(windows, rows, strict=True)]
    held = [i for i in range(2, len(said)) if said[i - 2] == said[i - 1] == said[i]]
    assert len(windows) > 60 and len(set(said)) > 3
    assert np.mean([shown[i] == said[i] for i in held]) > 0.95
    changes = [sum(a != b for a, b in pairwise(labels)) for labels in (said, shown)]
    assert changes[1] <= changes[0]
