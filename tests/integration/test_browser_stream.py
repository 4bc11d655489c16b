"""What answers in the browser beside what answers on the server: the same streams, the same recordings."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr
from numpy.typing import NDArray
from support.browser_worker import BrowserWorker, browser_worker, floats

from serdemo.audio import waveform
from serdemo.data import corpora
from serdemo.inference.predictor import Predictor
from serdemo.inference.same_speaker import predict_same_speaker
from serdemo.nn.checkpoint_files import bundled_checkpoint
from serdemo.schema.types import Utterance
from serdemo.ui.live.handlers import Live
from serdemo.ui.shell.examples import EXAMPLES, EXAMPLES_DIR
from serdemo.ui.shell.session import Visitors, WarmPredictor

pytestmark = pytest.mark.slow

RATE = waveform.SAMPLE_RATE
CLOSE = 1e-4 + 1e-4  # between probabilities, which come with four digits
VARYING = ("delay_s", "stream", "streams")

Samples = NDArray[np.float32]


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserWorker]:
    """A browser's worker that has the model of voices at hand."""
    with browser_worker(tmp_path_factory.mktemp("worker")) as made:
        made.ask("load", {"models": ["speaker"]})
        warm = Page(made, "base")
        warm.open(adapt=True)
        warm.say(example(), [8000])
        yield made


@pytest.fixture(scope="module")
def voices() -> list[list[Samples]]:
    """Clips of a few speakers: of a corpus where there is one, else the packaged examples."""
    root = os.environ.get("SERDEMO_DATA")
    if root and (Path(root) / "ravdess").is_dir():
        clips = corpora.load("ravdess", Path(root))
        speakers = sorted({clip.speaker for clip in clips})[:4]
        return [decoded([c for c in clips if c.speaker == name][::11][:8]) for name in speakers]
    return [[waveform.decode(EXAMPLES_DIR / name).samples] for name in EXAMPLES.values()]


def decoded(clips: list[Utterance]) -> list[Samples]:
    return [waveform.decode(clip.path).samples for clip in clips]


def example() -> Samples:
    return waveform.decode(EXAMPLES_DIR / next(iter(EXAMPLES.values()))).samples


class Page:
    """One page's calls to the server's `Live` or to a browser's worker; a stream that both answer."""

    def __init__(self, remote: Live | BrowserWorker, model: str) -> None:
        self.remote, self.model = remote, model

    def ask(self, call: str, **fields: Any) -> Any:
        request = {"call": call, **fields}
        if isinstance(self.remote, BrowserWorker):
            if call == "push":
                request["samples"] = base64.b64encode(fields["samples"].tobytes()).decode()
            return self.remote.ask("live", request)
        if call == "push":  # as the worker, which answers before it returns
            self.remote.call(request, None)  # type: ignore[arg-type]
            self.remote.services.find(self.stream).flush(self.stream, 60)
            request["samples"] = fields["samples"][:0]
            request["sequence"] = 0  # taken already
        return self.remote.call(request, None)  # type: ignore[arg-type]

    def open(self, rate: int = RATE, **fields: Any) -> Any:
        opened = self.ask("open", rate=rate, model=self.model, **fields)
        assert not opened.get("refused"), opened
        self.stream, self.pushed, self.sequence = opened["stream"], 0, 0
        return opened

    def push(self, samples: NDArray[np.int16]) -> Any:
        answer = self.ask(
            "push", stream=self.stream, sequence=self.sequence, samples=samples, since=0.0
        )
        assert not answer.get("refused"), answer
        self.pushed, self.sequence = self.pushed + len(samples), self.sequence + 1
        return answer

    def say(self, samples: Samples, cuts: list[int]) -> Any:
        """Push it all in pieces of these lengths, over and over, and wait until it is answered."""
        sound, start, turn = waveform.to_int16(samples), 0, 0
        while start < len(sound):
            answer = self.push(sound[start : start + cuts[turn % len(cuts)]])
            start, turn = start + cuts[turn % len(cuts)], turn + 1
        while answer["received"] < self.pushed:  # a busy machine
            answer = self.push(sound[:0])
        return answer

    def whole(self, samples: Samples, cuts: list[int], rate: int = RATE) -> list[Any]:
        """The answers to a stream from its beginning to its end."""
        return [self.open(rate), self.say(samples, cuts), self.close()]

    def close(self) -> Any:
        return self.ask("close", stream=self.stream, since=0.0)


@pytest.fixture(scope="module")
def pages(worker: BrowserWorker) -> Iterator[dict[str, tuple[Page, Page]]]:
    """By the name of a model, the server's page and the browser's."""
    made = {}
    for name in ("compact", "base"):
        model = Predictor(bundled_checkpoint(name), device="cpu")
        live = Live(Visitors(WarmPredictor(lambda model=model: model)))  # type: ignore[misc]
        live.services.keeps_up = lambda _: True  # type: ignore[method-assign]
        live.service._idle_s = 600  # it waits for the browser
        made[name] = Page(live, name), Page(worker, name)
    yield made
    for page, _ in made.values():
        assert isinstance(page.remote, Live)
        page.remote.services.shutdown()


def differences(server: Any, browser: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two responses differ: numbers by more than `CLOSE`, the rest at all."""
    if isinstance(server, dict) and isinstance(browser, dict):
        for key in sorted({*server, *browser} - {*VARYING}):
            yield from differences(server.get(key), browser.get(key), f"{path}/{key}")
    elif isinstance(server, (list, tuple)) and isinstance(browser, list):
        if len(server) != len(browser):
            yield path, len(server), len(browser)
        for number, (one, other) in enumerate(zip(server, browser, strict=False)):
            yield from differences(one, other, f"{path}/{number}")
    elif type(server) is float and isinstance(browser, (int, float)):
        exact = path.endswith(("_s", "speech")) and "adapted" not in path
        if abs(server - browser) > (1e-9 if exact else CLOSE):
            yield path, server, browser
    elif server != browser:
        yield path, server, browser


def compare(server: Any, browser: Any) -> None:
    assert not list(differences(server, browser))


def pause(seconds: float, level: float = 0.0) -> Samples:
    noise = np.random.default_rng(7).normal(size=round(seconds * RATE)) * level
    return noise.astype(np.float32)


def test_a_stream_has_the_same_segments_however_it_is_cut(
    pages: dict[str, tuple[Page, Page]], voices: list[list[Samples]]
) -> None:
    clip = voices[0][0]
    sounds = [
        np.concatenate([pause(1.3), *voices[0][:2], pause(4.2), voices[1][0], pause(0.7)]),
        clip[: round(0.4 * RATE)],
        np.concatenate([clip, pause(5.0, 0.02)]),
        pause(7.1),
        pause(5.0, 0.1),
    ]
    server, browser = pages["compact"]
    for sound in sounds:
        compare(server.whole(sound, [6400]), browser.whole(sound, [7801, 333, 1, 6999, 4512]))


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_a_stream_of_another_rate(
    pages: dict[str, tuple[Page, Page]], voices: list[list[Samples]], rate: int
) -> None:
    sound = soxr.resample(np.concatenate([pause(0.5), voices[2][0], pause(2)]), RATE, rate)
    server, browser = pages["compact"]  # no window of it is left out on a busy machine
    cuts = [rate // 3], [rate // 4, rate // 7]
    compare(server.whole(sound, cuts[0], rate), browser.whole(sound, cuts[1], rate))


def test_a_voice_is_learnt_alike_and_another_one_is_noticed(
    pages: dict[str, tuple[Page, Page]], voices: list[list[Samples]]
) -> None:
    server, browser = pages["base"]
    compare(server.open(adapt=True), browser.open(adapt=True))
    for voice in voices[:2]:
        sound = np.concatenate(voice)[: 15 * RATE]
        answers = server.say(sound, [7000]), browser.say(sound, [6100, 1700])
        compare(*answers)
        assert answers[1]["adapted_s"] > 2
        assert 0 < answers[1]["adaptation"] < 1
    known = server.ask("voice", stream=server.stream), browser.ask("voice", stream=browser.stream)
    compare(*known)
    compare(server.close(), browser.close())
    # What one has learnt the other goes on with.
    compare(server.open(adapt=True), browser.open(adapt=True))
    for page, other in ((server, known[1]), (browser, known[0])):
        assert page.ask("restore", stream=page.stream, voice=other["voice"]) == {}
    sound = np.concatenate(voices[1])[: 6 * RATE]
    compare(server.say(sound, [6400]), browser.say(sound, [6400]))
    for page in (server, browser):
        assert page.ask("forget", stream=page.stream) == {}
    compare(server.push(np.zeros(0, np.int16)), browser.push(np.zeros(0, np.int16)))
    for page in (server, browser):
        assert page.ask("adapt", stream=page.stream, adapt=False) == {}
    answer = browser.say(sound, [6400])
    compare(server.say(sound, [1536]), answer)
    assert answer["adapted_s"] == 0
    compare(server.close(), browser.close())


def test_an_everyday_voice_is_calibrated_alike(
    pages: dict[str, tuple[Page, Page]], voices: list[list[Samples]]
) -> None:
    sound = np.concatenate(voices[0])[: 9 * RATE]
    for server, browser in pages.values():
        compare(server.open(), browser.open())
        early = [page.ask("calibrate", stream=page.stream) for page in (server, browser)]
        compare(*early)
        assert early[1]["refused"] == "Nothing was heard yet: speak, then calibrate."
        compare(server.say(sound, [6400]), browser.say(sound, [6400]))
        calibrated = [page.ask("calibrate", stream=page.stream) for page in (server, browser)]
        compare(*calibrated)
        assert calibrated[1]["adapted_s"] > 2
        compare(server.say(sound, [6400]), browser.say(sound, [6400]))
        foreign = {"model": "other", "counts": [1, 1, 1]}
        refused = [
            page.ask("restore", stream=page.stream, voice=foreign) for page in (server, browser)
        ]
        compare(*refused)
        assert refused[1]["refused"].startswith("This voice was not learnt by this model")
        compare(server.close(), browser.close())


def recognised(worker: BrowserWorker, model: str, sounds: list[Samples], **fields: Any) -> Any:
    """Predictions of the browser for sounds at 16 kHz, and what else it answers."""
    sent = [{"name": str(n), "rate": RATE, "channels": [floats(x)]} for n, x in enumerate(sounds)]
    answer = worker.ask("recognise", {"sounds": sent, "model": model, **fields})
    return [one.get("prediction", one) for one in answer["answers"]], answer


def test_recordings_get_the_same_predictions(
    worker: BrowserWorker, voices: list[list[Samples]]
) -> None:
    sounds = [voices[0][0], voices[1][0][: round(0.6 * RATE)], pause(3.0), pause(7.2, 0.05)]
    sounds += [np.concatenate([pause(1.1), *voices[1][:2], pause(5.0), voices[2][0]])]
    for name in ("compact", "base"):
        model = Predictor(bundled_checkpoint(name), device="cpu")
        given = sounds if name == "compact" else sounds[:2]
        predictions, _ = recognised(worker, name, given)
        for number, (sound, browser) in enumerate(zip(given, predictions, strict=True)):
            server = model.predict(waveform.from_array(sound, RATE, str(number)))
            compare(server.to_json(), browser)


def test_recordings_of_one_person_share_an_offset(
    worker: BrowserWorker, voices: list[list[Samples]]
) -> None:
    sounds = [voice[0] for voice in voices[:2]]
    clips = [waveform.from_array(sound, RATE, str(n)) for n, sound in enumerate(sounds)]
    server = predict_same_speaker(Predictor(bundled_checkpoint("base"), device="cpu"), clips)
    predictions, answer = recognised(worker, "base", sounds, samePerson=True)
    compare([one.to_json() for one in server.predictions], predictions)  # type: ignore[union-attr]
    assert answer["speechS"] == pytest.approx(server.speech_s)
