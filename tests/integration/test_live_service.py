"""The live service: shared batches, order, faults, speaker offsets and consumers of streams."""

from __future__ import annotations

import gc
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support import bad_audio
from support.detectors import Hears

from serdemo.audio import waveform
from serdemo.cli.benchmarks.live import live
from serdemo.inference.aggregation import Window, WindowAggregator
from serdemo.inference.live_service import LiveService
from serdemo.inference.live_services import LiveServices
from serdemo.inference.live_totals import LiveTotals
from serdemo.inference.predictor import Predictor
from serdemo.inference.speaker_adaptation import SpeakerAdapter
from serdemo.inference.speaker_prior import CLIP_S, require_prior
from serdemo.inference.stream import NO_SPEECH, Stream
from serdemo.nn import description
from serdemo.schema.errors import SerdemoError

RATE = 16_000
LABELS = ("angry", "happy", "neutral", "sad")


class Fake:
    """In place of a model: the louder the window, the later the label."""

    unsure_below = 0.5
    name = "fake"
    labels = LABELS

    def __init__(self, seconds_a_window: float = 0.0) -> None:
        self.seconds_a_window = seconds_a_window
        self.batches: list[int] = []
        self.breaks = False

    def stream(self, rate: int, **times: Any) -> Stream:
        return Stream(
            rate, labels=self.labels, unsure_below=self.unsure_below, detector=Hears(), **times
        )

    def embeddings(self, waves: Any) -> np.ndarray:
        if self.breaks and any(np.abs(wave).max() > 0.9 for wave in waves):
            raise RuntimeError("the model broke")
        self.batches.append(len(waves))
        time.sleep(self.seconds_a_window * len(waves))
        return np.array([[np.abs(wave).max()] for wave in waves], np.float32)

    def classify(self, embeddings: np.ndarray) -> np.ndarray:
        if not self.labels:
            return np.zeros((len(embeddings), 0))
        loudness = (embeddings[:, 0] * 10 + 0.5).astype(int) // 2
        return np.eye(len(LABELS))[np.minimum(loudness, 3)] * 0.9 + 0.025


def tone(level: float, seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    """A sine of 4 kHz, whose samples reach `level`."""
    times = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * 4000 * times)).astype(np.float32)


def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it did not come to that"
        time.sleep(0.005)


@pytest.fixture
def model() -> Fake:
    return Fake()


@pytest.fixture
def service(model: Fake) -> Iterator[LiveService]:
    with LiveService(model) as running:
        yield running


def settled(service: LiveService, handle: str, samples: int) -> None:
    until(lambda: service.state(handle).received_samples == samples)


@pytest.mark.slow
def test_each_stream_gets_its_own_answers_in_shared_passes(
    service: LiveService, model: Fake
) -> None:
    levels = (0.1, 0.2, 0.4, 0.6) * 2
    handles = [service.open(RATE) for _ in levels]
    assert len(service) == len(set(handles)) == 8
    for piece in range(40):
        for handle, level in zip(handles, levels, strict=True):
            service.push(handle, tone(level, 0.1), sequence=piece)
        if piece % 5 == 4:
            time.sleep(0.02)
    for handle, level in zip(handles, levels, strict=True):
        settled(service, handle, 64_000)
        state = service.state(handle)
        assert state.label == LABELS[int(level * 5)]
        assert state.confidence == pytest.approx(0.925)
        assert state.probabilities[state.label] == state.confidence
        assert not state.unsure and state.is_speaking
        assert (state.n_scored, state.n_silent, state.n_skipped, state.lost_pieces) == (7, 0, 0, 0)
        assert [segment.end_s for segment in state.segments] == [
            0.95, 1.45, 1.95, 2.45, 2.95, 3.45, 3.95
        ]  # fmt: skip
        assert state.level_dbfs == pytest.approx(20 * np.log10(level / np.sqrt(2)), abs=0.1)
        assert state.received_s == pytest.approx(4)
        assert state.prediction("b").label == state.label
    assert sum(model.batches) == 8 * 7 + 1
    assert max(model.batches) >= 4


def test_the_end_gives_the_answer_for_all(service: LiveService, model: Fake) -> None:
    handle = service.open(48_000)
    for piece in np.array_split(tone(0.4, 2.2, 48_000), 22):
        service.push(handle, np.stack([piece, piece], 1))
    whole = service.finish(handle, name="voice")
    assert (whole.file, whole.label, whole.unsure) == ("voice", "neutral", False)
    assert whole.duration_s == pytest.approx(2.2, abs=0.001)
    assert whole.segments[-1].end_s == pytest.approx(2.2, abs=0.001)
    assert len(service) == 0
    for call in (service.state, service.finish):
        with pytest.raises(SerdemoError, match="closed: start it again"):
            call(handle)
    with pytest.raises(SerdemoError, match="closed: start it again"):
        service.push(handle, tone(0.1))
    service.close(handle)


def test_pushed_pieces_give_what_the_file_gives(tiny_checkpoint: Path) -> None:
    predictor = Predictor(tiny_checkpoint, device="cpu")
    voice = bad_audio.voice(5.0, rate=44_100)
    expected = predictor.predict(waveform.from_array(voice, 44_100, "live"))
    with LiveService(predictor) as service:
        handle = service.open(44_100, hop_s=waveform.HOP_S, first_s=waveform.WINDOW_S)
        for piece in np.array_split(voice, 33):
            service.push(handle, piece)
        found = service.finish(handle)
    assert found.label == expected.label
    assert found.probabilities == pytest.approx(expected.probabilities, abs=1e-4)
    assert len(found.segments) == len(expected.segments) == 3


def test_nothing_pushed_gives_no_answer(service: LiveService) -> None:
    with pytest.raises(SerdemoError, match="holds no sound yet"):
        service.finish(service.open(RATE))


def test_a_full_service_refuses_in_a_sentence(model: Fake) -> None:
    with LiveService(model, max_streams=2) as service:
        first = service.open(RATE)
        service.open(RATE)
        with pytest.raises(SerdemoError, match="All 2 places for live sound are taken: try again"):
            service.open(RATE)
        service.close(first)
        service.open(RATE)


@pytest.mark.slow
def test_an_idle_stream_is_forgotten_with_all_it_holds(model: Fake) -> None:
    with LiveService(model, idle_s=0.6) as service:
        idle, busy = service.open(RATE), service.open(RATE)
        session = service._sessions[idle]
        held = [weakref.ref(session), weakref.ref(session.stream)]
        del session
        service.push(idle, tone(0.2, 0.5))
        ends = time.monotonic() + 5
        while len(service) > 1 and time.monotonic() < ends:
            service.push(busy, tone(0.2, 0.02))
            time.sleep(0.02)
        with pytest.raises(SerdemoError, match="closed: start it again"):
            service.state(idle)
        assert service.state(busy).received_samples > 0
        service.push(busy, tone(0.2, 0.5))
        service.finish(busy)
        gc.collect()
        assert [reference() for reference in held] == [None, None]


@pytest.mark.slow
def test_a_busy_machine_leaves_out_older_windows_and_says_so() -> None:
    with LiveService(Fake(seconds_a_window=0.4)) as service:
        handles = [service.open(RATE) for _ in range(4)]
        began = time.monotonic()
        for piece in range(25):
            time.sleep(max(0.0, began + piece * 0.1 - time.monotonic()))
            for handle in handles:
                service.push(handle, tone(0.4, 0.1))
        for handle in handles:
            settled(service, handle, 40_000)
        states = [service.state(handle) for handle in handles]
        for state in states:
            assert state.n_skipped > 0
            assert "This machine is busy" in " ".join(state.warnings)
            assert (state.n_scored + state.n_skipped, state.n_silent) == (4, 0)
            assert state.segments[-1].end_s == 2.45  # the newest, not the oldest
            assert state.received_samples == 40_000
        assert max(service.delays_s) < 4.0


def test_an_idle_machine_answers_everything(service: LiveService) -> None:
    handle = service.open(RATE)
    service.push(handle, tone(0.4, 20.0))
    settled(service, handle, 320_000)
    state = service.state(handle)
    assert (state.n_scored, state.n_skipped) == (39, 0)


def test_one_broken_stream_does_not_stop_the_others(service: LiveService, model: Fake) -> None:
    good, bad = service.open(RATE), service.open(RATE)
    model.breaks = True
    for _ in range(20):
        service.push(good, tone(0.4, 0.1))
        with suppress(SerdemoError):  # once its fault is known
            service.push(bad, tone(0.95, 0.1))
    settled(service, good, 32_000)
    until(lambda: service.state(bad).warnings != ())
    assert service.state(good).label == "neutral"
    (sentence,) = service.state(bad).warnings
    assert sentence == "The model could not answer this sound: stop and start again."
    with pytest.raises(SerdemoError, match="could not answer this sound"):
        service.push(bad, tone(0.1))
    with pytest.raises(SerdemoError, match="could not answer this sound"):
        service.finish(bad)
    assert service.finish(good).label == "neutral"


def test_bad_sound_is_refused_and_the_stream_goes_on(service: LiveService) -> None:
    handle = service.open(RATE)
    for samples, rate, pattern in (
        (np.array([np.nan], np.float32), None, "not numbers"),
        (np.zeros((2, 3, 4)), None, "shape"),
        (np.zeros(3, np.complex64), None, "type complex64"),
        (tone(0.1), 100, "sample rate of 100 Hz"),
        (tone(0.1), 0, "sample rate of 0 Hz"),
        (tone(0.1, 61.0), None, "faster than it can be answered: send it"),
    ):
        with pytest.raises(SerdemoError, match=pattern):
            service.push(handle, samples, rate)
    service.push(handle, tone(0.2, 1.0))
    assert service.finish(handle).label == "happy"
    with pytest.raises(SerdemoError, match="sample rate"):
        service.open(100)


def test_a_pushed_array_may_be_used_again(service: LiveService) -> None:
    handle, sound = service.open(RATE), tone(0.4, 0.5)
    buffer = sound.copy()
    for _ in range(4):
        buffer[:] = sound
        service.push(handle, buffer)
        buffer[:] = 0.9
    assert service.finish(handle).label == "neutral"


def test_the_rate_may_change(service: LiveService) -> None:
    handle = service.open(48_000)
    service.push(handle, tone(0.4, 1.0, 48_000), rate=48_000)
    service.push(handle, tone(0.4, 1.0, 44_100), rate=44_100)
    assert service.finish(handle).duration_s == pytest.approx(2, abs=0.001)


def test_numbered_pieces_are_put_in_order_and_counted(service: LiveService) -> None:
    handle = service.open(RATE)
    parts = [tone(0.01 * number, 0.1) for number in range(1, 31)]
    order = [0, 2, 1, 1, 3, 6, 5, 4, 0, *range(7, 20), *range(21, 30)]
    for number in order:
        service.push(handle, parts[number], sequence=number)
    settled(service, handle, 29 * 1_600)
    state = service.state(handle)
    assert state.lost_pieces == 1
    assert any("lost on its way" in sentence for sentence in state.warnings)
    stream = service._sessions[handle].stream
    joined = np.concatenate([part for number, part in enumerate(parts) if number != 20])
    expected = waveform.from_array(joined, RATE).samples
    np.testing.assert_array_equal(stream.recent[-16_000:], expected[-16_000:])


def test_pieces_after_a_gap_are_not_forgotten_at_the_end(service: LiveService) -> None:
    handle = service.open(RATE)
    for number in (0, 1, 3, 4):
        service.push(handle, tone(0.2, 0.5), sequence=number)
    assert service.finish(handle).duration_s == 2.0


@pytest.mark.slow
def test_delays_run_from_the_last_sample(service: LiveService) -> None:
    handle = service.open(RATE)
    began = time.monotonic()
    for piece in range(6):
        time.sleep(max(0.0, began + (piece + 1) * 0.25 - time.monotonic()))
        service.push(handle, tone(0.2, 0.25))
    settled(service, handle, 24_000)
    # Windows end 0.05 s before a piece does, and the piece comes when it is full.
    assert len(service.delays_s) == 2
    assert all(0.05 <= delay < 1.0 for delay in service.delays_s)  # not from the first
    assert service.state(handle).delay_s == service.delays_s[-1]


@pytest.mark.slow
def test_what_is_wrong_is_told(service: LiveService, monkeypatch: pytest.MonkeyPatch) -> None:
    import serdemo.inference.live_session

    def told(samples: np.ndarray) -> tuple[str, ...]:
        handle = service.open(RATE)
        service.push(handle, samples)
        settled(service, handle, len(samples))
        return service.state(handle).warnings

    assert told(tone(0.2, 3.0)) == ()
    assert told(tone(0.0, 3.0)) == ("The microphone is silent: check that it is on and not muted.",)
    assert "The sound is clipped: turn the microphone down" in told(tone(1.0, 3.0))[0]
    assert "The voice is very quiet: turn the microphone up" in told(tone(0.002, 3.0))[0]
    monkeypatch.setattr(serdemo.inference.live_session, "NO_SOUND_S", 0.1)
    handle = service.open(RATE)
    until(lambda: service.state(handle).warnings != ())
    expected = "No sound arrives: check that the microphone is connected and allowed."
    assert service.state(handle).warnings == (expected,)
    state = service.state(handle)
    assert (state.label, state.probabilities, state.unsure, state.delay_s) == ("", {}, True, None)


def test_silence_says_so(service: LiveService) -> None:
    handle = service.open(RATE)
    service.push(handle, tone(0.0, 2.0))
    settled(service, handle, 32_000)
    state = service.state(handle)
    assert (state.label, state.unsure, state.is_speaking, state.n_silent) == (
        NO_SPEECH,
        True,
        False,
        3,
    )
    assert not state.prediction().has_speech


def test_many_threads_may_push_at_once(service: LiveService) -> None:
    def visit() -> None:
        handle = service.open(RATE)
        for _ in range(50):
            service.push(handle, tone(0.4, 0.05))
            service.state(handle)
        found.append(service.finish(handle).duration_s)

    found: list[float] = []
    threads = [threading.Thread(target=visit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == [2.5] * 8
    assert len(service) == 0


def test_shutting_down_ends_the_worker_and_tells_who_waits(model: Fake) -> None:
    before = {*threading.enumerate()}
    service = LiveService(model)
    service.shutdown()
    service = LiveService(model)
    handle = service.open(RATE)
    service.push(handle, tone(0.4))
    assert {thread.name for thread in {*threading.enumerate()} - before} == {"live"}
    service.shutdown()
    assert {*threading.enumerate()} <= before
    with pytest.raises(SerdemoError, match="closed"):
        service.push(handle, tone(0.4))
    with pytest.raises(SerdemoError, match="shutting down"):
        service.open(RATE)


@pytest.mark.slow
def test_the_bench_loses_nothing(tiny_checkpoint: Path) -> None:
    predictor = Predictor(tiny_checkpoint, device="cpu")
    figures = live(
        streams=3, seconds=2.5, chunk_s=0.1, threads=torch.get_num_threads(), predictor=predictor
    )
    assert figures["lost_samples"] == 0
    windows = figures["windows"]
    assert windows["scored"] + windows["without_speech"] + windows["skipped"] == 3 * 4
    assert windows["scored"] > 0
    assert 0.03 < figures["delay_s"]["p50"] <= figures["delay_s"]["p99"] < 2
    assert figures["cpu_share"] > 0


@pytest.mark.slow
def test_calibration_moves_the_answers_of_one_stream_alone(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "tiny"
    shutil.copytree(tiny_checkpoint, folder)
    described = description.read_description(folder)
    description.write_description(folder, replace(described, neutral=[3.0] * 8))
    voice = bad_audio.voice(6.0)
    with LiveService(Predictor(folder, device="cpu")) as service:
        handles = [service.open(RATE) for _ in range(2)]
        for handle in handles:
            service.push(handle, voice)
            until(lambda handle=handle: service.state(handle).n_scored >= 10)  # type: ignore[misc]
        plain = service.state(handles[1]).probabilities
        assert service.speaker_state(handles[0]) is None and not service.can_adapt
        found = service.calibrate(handles[0])
        assert found.adapter.speech_s > 4
        assert service.speaker_state(handles[0]) == {**found.adapter.to_json(), "voice": []}
        for handle in handles:
            service.push(handle, voice)
            until(lambda handle=handle: service.state(handle).n_scored >= 22)  # type: ignore[misc]
        one, other = (service.state(handle).probabilities for handle in handles)
        assert other == pytest.approx(plain, abs=0.05)
        assert max(abs(one[label] - other[label]) for label in one) > 0.1
        # Forgotten, its answers are those of the other again.
        service.forget_speaker(handles[0])
        for handle in handles:
            service.push(handle, voice)
            until(lambda handle=handle: service.state(handle).n_scored >= 34)  # type: ignore[misc]
        one, other = (service.state(handle).probabilities for handle in handles)
        assert one == pytest.approx(other, abs=1e-3)
        with pytest.raises(SerdemoError, match="not learnt by this model"):
            service.set_speaker_state(handles[0], {"model": "other"})
        silent = service.open(RATE)
        service.push(silent, np.zeros(6 * RATE, np.float32))
        until(lambda: service.state(silent).n_silent >= 10)
        with pytest.raises(SerdemoError, match=r"Only 0\.0 s of speech were heard"):
            service.calibrate(silent)


def test_a_consumer_gets_every_scored_window_with_its_embedding(
    service: LiveService, model: Fake
) -> None:
    received: list[tuple[int, float, int]] = []

    def consume(window: Window, embedding: np.ndarray, probabilities: np.ndarray) -> None:
        received.append((window.stop, round(float(embedding[0]), 1), int(probabilities.argmax())))

    handle = service.open(RATE, consumer=consume)
    service.push(handle, np.concatenate([tone(0.2, 1.0), tone(0.4, 1.0)]))
    service.flush(handle, 10.0)
    assert received == [(15_200, 0.2, 1), (23_200, 0.4, 2), (31_200, 0.4, 2)]
    assert service.state(handle).n_scored == 3
    # A speaker offset moves the scores, not the embeddings that the consumer gets.
    model.description = SimpleNamespace(neutral=[0.0], labels=LABELS, speaker_prior={})
    adapter = SpeakerAdapter(require_prior(model))
    adapter.update([0.7], CLIP_S, "neutral")  # 0.21 is subtracted
    service.set_speaker_state(handle, adapter.to_json())
    service.push(handle, tone(0.4, 0.5))
    service.flush(handle, 10.0)
    assert received[-1] == (39_200, 0.4, 1)


def adapting(model: Fake) -> None:
    """Give the model a prior by which every voice is a quiet one, whatever its emotion."""
    means = {label: [0.6] for label in LABELS}
    prior = {"class_means": means, "discriminants": [[10.0]], "offset_scale": 1e-7}
    model.description = SimpleNamespace(neutral=[], labels=LABELS, speaker_prior=prior)


class Voices:
    """In place of a speaker model: a voice is loud or not."""

    def __init__(self) -> None:
        self.stops: list[int] = []

    def embeddings(self, waves: Any) -> np.ndarray:
        self.stops += [len(wave) for wave in waves]
        loud = [np.abs(wave).max() > 0.6 for wave in waves]
        return np.array([[yes, not yes] for yes in loud], np.float32)


def test_a_stream_that_adapts_gives_the_same_in_any_pieces(model: Fake) -> None:
    adapting(model)
    sound = np.concatenate([tone(level, 1.7) for level in (0.15, 0.35, 0.2, 0.55, 0.25, 0.15)])
    states, answers = [], []
    for pieces in (1, 7, 60):
        with LiveService(model) as service:
            assert service.can_adapt
            plain, handle = service.open(RATE), service.open(RATE, adapt=True)
            for piece in np.array_split(sound, pieces):
                for one in (plain, handle):
                    service.push(one, piece)
                    service.flush(one, 10.0)
            states.append(service.speaker_state(handle))
            state = service.state(handle)
            assert state.adapted_s == pytest.approx(len(sound) / RATE, abs=0.5)
            assert 0.1 < state.adaptation < 1
            assert service.state(plain).adapted_s == 0 == service.state(plain).adaptation
            answers.append(service.finish(handle))
            assert service.finish(plain).segments != answers[-1].segments
    assert states[0] == states[1] == states[2]
    assert answers[0] == answers[1] == answers[2]


def test_an_estimate_is_carried_on_and_starts_anew_with_another_voice(model: Fake) -> None:
    adapting(model)
    voices = Voices()
    with LiveService(model, speaker_model=lambda: voices) as service:  # type: ignore[arg-type,return-value]
        handle = service.open(RATE, adapt=True)
        service.push(handle, tone(0.4, 13.0))
        service.flush(handle, 10.0)
        state = service.speaker_state(handle)
        assert state and state["counts"][0] == pytest.approx(12.95)
        assert len(voices.stops) == 5  # of 25 windows those that do not overlap
        again = service.open(RATE, adapt=True)
        service.set_speaker_state(again, state)
        service.push(again, tone(0.4, 4.0))
        service.flush(again, 10.0)
        assert service.state(again).adapted_s == pytest.approx(12.95 + 3.95)
        service.push(again, tone(0.8, 16.0))
        service.flush(again, 10.0)
        new = service.state(again)
        assert new.voice_changes == 1 and new.adapted_s < 16
        service.forget_speaker(again)
        assert service.speaker_state(again) is None
        service.push(again, tone(0.8, 4.0))
        service.flush(again, 10.0)
        assert 0 < service.state(again).adapted_s < 7.1
        fixed = service.open(RATE)  # used, but not added to
        service.set_speaker_state(fixed, state)
        service.push(fixed, tone(0.4, 4.0))
        service.flush(fixed, 10.0)
        assert service.state(fixed).adapted_s == pytest.approx(12.95)


def test_a_consumer_that_fails_ends_its_own_stream_alone(service: LiveService) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the consumer broke")

    good, bad = service.open(RATE), service.open(RATE, consumer=fail)
    for handle in (good, bad):
        service.push(handle, tone(0.2))
    service.flush(bad, 10.0)
    with pytest.raises(SerdemoError, match="stop and start again"):
        service.finish(bad)
    assert service.finish(good).label == "happy"


def test_a_model_without_labels_gives_its_consumer_embeddings(model: Fake) -> None:
    embeddings = WindowAggregator(1)
    model.labels = ()
    with LiveService(model) as service:
        handle = service.open(
            RATE, consumer=lambda window, embedding, _: embeddings.update(window, embedding)
        )
        service.push(handle, tone(0.4, 2.0))
        whole = service.finish(handle)
    assert (whole.label, whole.confidence, whole.probabilities) == ("", 0.0, {})
    assert embeddings.has_speech
    assert embeddings.mean == pytest.approx([0.4], abs=0.02)


def test_services_are_one_per_model_and_found_by_the_stream(model: Fake) -> None:
    other = Fake()
    services = LiveServices(max_services=1, max_streams=2)
    try:
        first = services.of(model)
        assert services.of(model) is first
        handle = first.open(RATE)
        second = services.of(other)  # the first has a stream and stays
        assert services.find(handle) is first and handle in services and len(services) == 1
        second.open(RATE)
        for full in (first, second):
            with pytest.raises(SerdemoError, match="All 2 places for live sound are taken"):
                full.open(RATE)
        first.close(handle)
        second.close(second.open(RATE))
        assert services.of(Fake()) is not second
        with pytest.raises(SerdemoError, match="shutting down"):
            first.open(RATE)
        with pytest.raises(SerdemoError, match="closed: start it again"):
            services.find(handle)
    finally:
        services.shutdown()


def test_totals_count_all_streams_closed_ones_too(model: Fake) -> None:
    totals = LiveTotals()
    with LiveService(model, max_streams=2, totals=totals) as first, LiveService(model) as other:
        one, two = first.open(RATE), first.open(48_000)
        with pytest.raises(SerdemoError, match="All 2 places"):
            first.open(RATE)
        first.push(one, tone(0.4, 1.0), sequence=0)
        first.push(two, tone(0.1, 1.5, 48_000))
        for sequence in range(3, 12):  # two pieces are lost
            first.push(one, tone(0.4, 0.1), sequence=sequence)
        first.flush(one, 10)
        first.flush(two, 10)
        assert first.waiting_s == pytest.approx(0)
        assert len(other) == 0 and other.totals.received_samples == 0
        states = [first.state(one), first.state(two)]
        first.close(one)
        first.close(two)
    assert totals.received_samples == round(1.9 * RATE) + 72_000
    assert (totals.lost_pieces, totals.n_refused) == (2, 1)
    assert totals.n_scored == sum(state.n_scored for state in states)
    assert totals.n_skipped == sum(state.n_skipped for state in states)
    assert totals.delays_s.cumulated[-1] == totals.n_scored > 2
    assert 0 <= totals.delays_s.sum < 10


def test_sound_that_waits_is_measured(model: Fake) -> None:
    with LiveService(model) as service:
        stuck, release = threading.Event(), threading.Event()

        def hold(*_: object) -> None:
            stuck.set()
            release.wait(10)

        handle = service.open(RATE, consumer=hold)
        service.push(handle, tone(0.4, 1.0))
        assert stuck.wait(10)
        service.push(handle, tone(0.4, 2.0))
        assert service.waiting_s == pytest.approx(3)
        release.set()
        service.flush(handle, 10)
        assert service.waiting_s == pytest.approx(0)
