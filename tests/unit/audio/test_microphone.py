"""The microphone through a PortAudio that is made up, and through a real sound system."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from support import bad_audio, pulse
from support.command import ROOT

from serdemo.audio import microphone
from serdemo.schema.errors import SerdemoError, UsageError

RATE = 44_100
DEVICES = [
    {"name": "Speakers", "max_input_channels": 0, "default_samplerate": 48_000.0},
    {"name": "Webcam", "max_input_channels": 1, "default_samplerate": 16_000.0},
    {"name": "Interface", "max_input_channels": 8, "default_samplerate": 44_100.0},
]


class RefusedError(Exception):
    """In place of sounddevice.PortAudioError."""


class FakeInput:
    """A stream that calls back from a thread of its own, as PortAudio does."""

    blocks: Any = ()
    refuse: Exception | None = None
    unplugged = False
    overflow = False
    opened: Any = None

    def __init__(self, callback: Any, finished_callback: Any, **values: Any) -> None:
        if self.refuse:
            raise self.refuse
        self.callback, self.finished, self.values = callback, finished_callback, values
        self.thread = threading.Thread(target=self._run)
        self.aborted = self.closed = False
        type(self).opened = self

    def start(self) -> None:
        self.thread.start()

    def _run(self) -> None:
        for block in self.blocks:
            if self.aborted:
                break
            buffer = np.array(block, np.float32)
            self.callback(buffer, len(buffer), None, SimpleNamespace(input_overflow=self.overflow))
            buffer[:] = 9.0  # PortAudio uses its buffer again
        if self.unplugged:
            self.finished()

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.closed = True
        self.thread.join()


@pytest.fixture
def portaudio(monkeypatch: pytest.MonkeyPatch) -> type[FakeInput]:
    fake = type("Input", (FakeInput,), {})
    module = SimpleNamespace(
        InputStream=fake,
        PortAudioError=RefusedError,
        default=SimpleNamespace(device=(2, 0)),
        query_devices=lambda: DEVICES,
    )
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    return fake


def test_devices_are_those_that_hear(portaudio: type[FakeInput]) -> None:
    inputs = microphone.devices()
    assert [
        (item.number, item.name, item.channels, item.rate, item.default) for item in inputs
    ] == [
        (1, "Webcam", 1, 16_000, False),
        (2, "Interface", 8, 44_100, True),
    ]


@pytest.mark.parametrize(
    ("selector", "number"), [(None, 2), (1, 1), ("1", 1), ("webc", 1), ("FACE", 2)]
)
def test_a_device_goes_by_number_or_name(
    portaudio: type[FakeInput], selector: int | str | None, number: int
) -> None:
    assert microphone.find(selector).number == number


@pytest.mark.parametrize("selector", [0, 7, "0", "-1", "theremin"])
def test_an_unknown_device(portaudio: type[FakeInput], selector: int | str) -> None:
    expected = rf"^There is no microphone {selector!r}; there are 1 \(Webcam\), 2 \(Interface\)\.$"
    with pytest.raises(UsageError, match=expected):
        microphone.find(selector)


def test_sound_comes_as_it_was_and_the_input_is_closed(portaudio: type[FakeInput]) -> None:
    portaudio.blocks = [np.stack([np.full(10, level)] * 2, 1) for level in (0.1, 0.2, 0.3)]
    with microphone.open_microphone(rate=48_000) as source:
        assert (source.name, source.rate) == ("Interface", 48_000)
        blocks = []
        for block in source:
            blocks.append(block)
            if len(blocks) == 3:
                break
        values = portaudio.opened.values
    np.testing.assert_allclose(
        np.concatenate(blocks), np.repeat([0.0, 0.1, 0.2], 10), atol=1e-7
    )  # the first frame is at rest
    assert blocks[0].dtype == np.float32
    assert values == {
        "samplerate": 48_000,
        "blocksize": 4_800,
        "device": 2,
        "channels": 2,
        "dtype": "float32",
    }
    assert portaudio.opened.aborted and portaudio.opened.closed
    assert (source.lost_samples, source.overflows) == (0, 0)
    assert list(source) == []
    source.close()


def test_closing_from_another_thread_ends_the_reader(portaudio: type[FakeInput]) -> None:
    portaudio.blocks = [np.zeros((10, 2))]
    source = microphone.open_microphone()
    closer = threading.Timer(0.2, source.close)
    closer.start()
    began = time.monotonic()
    assert [len(block) for block in source] == [10]
    assert time.monotonic() - began < microphone.TIMEOUT_S / 2


def test_a_slow_reader_is_told_what_was_lost(
    portaudio: type[FakeInput], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(microphone, "MAX_WAITING_BLOCKS", 5)
    portaudio.blocks = [np.zeros((10, 1))] * 8
    portaudio.overflow = True
    with microphone.open_microphone(1) as source:
        portaudio.opened.thread.join()
        assert len(next(iter(source))) == 10
    assert (source.lost_samples, source.overflows) == (30, 8)


def test_unplugging_ends_in_one_sentence(
    portaudio: type[FakeInput], monkeypatch: pytest.MonkeyPatch
) -> None:
    portaudio.blocks = [np.zeros((10, 1))] * 2
    sentence = (
        r"^The microphone 'Interface' sends no more sound: plug it in again and start again\.$"
    )
    for reported in (True, False):  # PortAudio says so, or simply calls no more
        portaudio.unplugged = reported
        monkeypatch.setattr(microphone, "TIMEOUT_S", 0.2)
        blocks: list[int] = []
        with microphone.open_microphone() as source:
            with pytest.raises(SerdemoError, match=sentence):
                blocks.extend(map(len, source))
            assert portaudio.opened.closed
        assert blocks == [10, 10]


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (RefusedError("Invalid sample rate.", -9997), r"Invalid sample rate"),
        (RefusedError("Device unavailable\nmore"), r"Device unavailable"),
        (ValueError("odd"), "odd"),
        (RefusedError(), "for no stated reason"),
    ],
)
def test_an_input_that_cannot_be_opened(
    portaudio: type[FakeInput], problem: Exception, reason: str
) -> None:
    portaudio.refuse = problem
    expected = rf"^The microphone 'Webcam' cannot be opened \({reason}\): close other .*--device\.$"
    with pytest.raises(SerdemoError, match=expected), microphone.open_microphone(1):
        pass


def test_no_input_at_all(portaudio: type[FakeInput], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["sounddevice"], "query_devices", lambda: DEVICES[:1])
    assert microphone.devices() == []
    with pytest.raises(SerdemoError, match="no microphone on this machine: plug one in, or give"):
        microphone.open_microphone()


def test_without_sounddevice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(
        SerdemoError, match='needs the package sounddevice: python -m pip install "sounddevice>='
    ):
        microphone.devices()


def test_without_portaudio(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SerdemoError, match="PortAudio library: install libportaudio2"):
        microphone.devices()


@pytest.fixture
def virtual_microphone(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment with a microphone that hears what is played."""
    pytest.importorskip("sounddevice", exc_type=(ImportError, OSError))
    with pulse.null_sink(tmp_path) as environment:
        listing = listen(environment, "--list", "--json")
        if listing.returncode or "pulse" not in listing.stdout:
            pytest.skip("PortAudio does not see PulseAudio here (libasound2-plugins is missing)")
        yield environment


def listen(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "serdemo", "listen", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )


@pytest.mark.slow
def test_a_virtual_microphone_is_heard(
    virtual_microphone: dict[str, str], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    path = tmp_path / "voice.wav"
    soundfile.write(path, 0.8 * np.tile(bad_audio.voice(10.0), 6), 16_000)
    player = subprocess.Popen(
        ["paplay", "--device=virtual", str(path)], env={**os.environ, **virtual_microphone}
    )
    try:
        done = listen(
            virtual_microphone, "--device", "pulse", "--seconds", "4", "--json",
            "--checkpoint", str(tiny_checkpoint),
        )  # fmt: skip
    finally:
        player.terminate()
        player.wait(10)
    assert done.returncode == 0, done.stderr
    *answers, summary = map(json.loads, done.stdout.splitlines())
    assert [item["end_s"] for item in answers[:3]] == [0.95, 1.45, 1.95]
    assert max(item["speech"] for item in answers) > 0.7
    assert summary["event"] == "summary"
    assert summary["duration_s"] == pytest.approx(4, abs=0.01)
    assert summary["label"] in ("angry", "happy", "sad")
    assert summary["received_samples"] == 4 * RATE
