from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support import bad_audio
from support.command import ROOT, Ran, here

from serdemo.audio import microphone
from serdemo.cli import listen as cli_listen
from serdemo.cli.benchmarks import live as live_bench
from serdemo.schema.errors import SerdemoError

ANSWER_KEYS = [
    "event",
    "start_s",
    "end_s",
    "label",
    "confidence",
    "probabilities",
    "speech",
    "unsure",
    "delay_s",
    "adapted_s",
]
SUMMARY_KEYS = [
    "event",
    "file",
    "duration_s",
    "label",
    "confidence",
    "unsure",
    "probabilities",
    "warnings",
    "received_samples",
    "skipped",
]


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "voice.wav"
    soundfile.write(path, 0.5 * bad_audio.voice(3.0)[-38_400:], 16_000)
    return path


def listen(checkpoint: Path, *arguments: object) -> Ran:
    return here("listen", "--checkpoint", checkpoint, *arguments)


def lines(ran: Ran) -> list[dict[str, Any]]:
    assert ran.code == 0, ran.err
    return [json.loads(line) for line in ran.out.splitlines()]


@pytest.mark.slow
def test_a_file_is_answered_at_the_pace_of_speech(tiny_checkpoint: Path, voice: Path) -> None:
    began = time.monotonic()
    ran = listen(tiny_checkpoint, "--file", voice, "--json")
    assert time.monotonic() - began > 2.4
    *answers, summary = lines(ran)
    assert ran.err == ""
    assert all(list(row) == ANSWER_KEYS and row["event"] == "answer" for row in answers)
    assert [row["end_s"] for row in answers] == [0.95, 1.45, 1.95, 2.4]
    assert all(row["label"] in row["probabilities"] and row["speech"] > 0.5 for row in answers)
    assert all(0.04 < row["delay_s"] < 2 for row in answers[1:3])
    assert list(summary) == SUMMARY_KEYS
    assert (summary["event"], summary["file"]) == ("summary", "voice.wav")
    assert (summary["duration_s"], summary["received_samples"]) == (2.4, 38_400)
    assert summary["confidence"] == summary["probabilities"][summary["label"]]
    assert summary["warnings"] == [] and summary["skipped"] == 0


@pytest.mark.slow
def test_it_stops_after_the_seconds_given(tiny_checkpoint: Path, voice: Path) -> None:
    *_, summary = lines(listen(tiny_checkpoint, "--file", voice, "--json", "--seconds", 1.25))
    assert (summary["duration_s"], summary["received_samples"]) == (1.25, 20_000)


@pytest.mark.slow
def test_without_a_terminal_the_end_is_shown(tiny_checkpoint: Path, voice: Path) -> None:
    ran = listen(tiny_checkpoint, "--file", voice, "--seconds", 1.5)
    assert ran.code == 0, ran.err
    output = ran.out.splitlines()
    assert output[0] == "voice.wav  1.5 s"
    assert output[1].startswith(("  Sounds ", "  Not sure: "))
    assert [line.split()[1] for line in output[2:5]] == ["angry", "happy", "sad"]
    assert all(line.endswith("%") for line in output[2:5])
    assert len(output[6].strip()) == 3  # a mark for each answer


@pytest.mark.slow
def test_silence_is_called_silence(tiny_checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "silent.wav"
    soundfile.write(path, np.zeros(40_000), 16_000)
    ran = listen(tiny_checkpoint, "--file", path)
    assert ran.code == 0
    assert ran.out.splitlines()[1] == "  No speech found"
    assert "Note: The microphone is silent: check that it is on and not muted." in ran.out
    ran = listen(tiny_checkpoint, "--file", path, "--json")
    assert {device["label"] for device in lines(ran)[:-1]} == {"no speech"}
    assert ran.err == "serdemo: The microphone is silent: check that it is on and not muted.\n"


class Desk:
    """In place of a microphone: a second of voice, then what the test wants."""

    name, rate, overflows, lost_samples = "Webcam", 16_000, 0, 0
    then: BaseException | None = None

    def __enter__(self) -> Desk:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> Iterator[np.ndarray]:
        yield from np.array_split(bad_audio.voice(2.0)[-19_200:], 12)
        if self.then:
            raise self.then


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    matches = Desk()
    monkeypatch.setattr(microphone, "find", lambda device: None)
    monkeypatch.setattr(microphone, "Microphone", lambda device: matches)
    return matches


def test_ctrl_c_ends_with_the_summary(tiny_checkpoint: Path, desk: Desk) -> None:
    desk.then = KeyboardInterrupt()
    *answers, summary = lines(listen(tiny_checkpoint, "--json"))
    assert answers[-1]["end_s"] == summary["duration_s"] == 1.2
    ran = listen(tiny_checkpoint)
    assert (ran.code, ran.out.splitlines()[0]) == (0, "Webcam  1.2 s")


def test_an_unplugged_microphone_keeps_what_was_heard(tiny_checkpoint: Path, desk: Desk) -> None:
    desk.then = SerdemoError("The microphone is gone: plug it in.")
    desk.lost_samples = 7
    ran = listen(tiny_checkpoint, "--json")
    assert ran.code == 1
    assert json.loads(ran.out.splitlines()[-1])["duration_s"] == 1.2
    lost, gone = ran.err.splitlines()
    assert lost.startswith("serdemo: Some sound was lost")
    assert gone == "serdemo: The microphone is gone: plug it in."


def test_a_microphone_that_sends_nothing(tiny_checkpoint: Path, desk: Desk) -> None:
    desk.__class__ = type("Mute", (Desk,), {"__iter__": lambda self: iter(())})
    ran = listen(tiny_checkpoint)
    assert (ran.code, ran.out.strip()) == (1, "")
    assert ran.err == "serdemo: No answer for Webcam: it holds no sound yet.\n"


def test_a_list_of_microphones(monkeypatch: pytest.MonkeyPatch) -> None:
    matches = [microphone.Device(1, "Webcam", 1, 16_000, False)]
    matches.append(microphone.Device(2, "Interface", 8, 44_100, True))
    monkeypatch.setattr(microphone, "devices", lambda: matches)
    assert here("listen", "--list").out.splitlines() == [
        "  1  Webcam, 16000 Hz, 1 channels",
        "  2  Interface, 44100 Hz, 8 channels  (default)",
    ]
    assert here("listen", "--list", "--json").json()[1] == {
        "number": 2,
        "name": "Interface",
        "channels": 8,
        "rate": 44_100,
        "default": True,
    }
    monkeypatch.setattr(microphone, "devices", lambda: [])
    assert here("listen", "--list").out == "There is no microphone on this machine.\n"


@pytest.mark.parametrize(
    ("arguments", "code", "pattern"),
    [
        (("--file", "a.wav", "--device", "1"), 2, "Give --file, or a microphone, not both."),
        (("--file", "a.wav", "--list"), 2, "Give --file, or a microphone, not both."),
        (("--seconds", "0"), 2, "--seconds"),
        (("--seconds", "nan"), 2, "--seconds"),
        (("--file", "nowhere.wav"), 1, "nowhere.wav was not found: check"),
        ((), 1, "needs the package sounddevice: python -m pip install"),
        (("--device", "9"), 1, "needs the package sounddevice"),
    ],
)
def test_wrong_usage_and_failures(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, pattern: str
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    ran = here("listen", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert pattern in ran.err and len(ran.err.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for a child alone")
def test_a_real_ctrl_c(tiny_checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, 0.5 * bad_audio.voice(30.0), 16_000)
    command = ["listen", "--json", "--file", path, "--checkpoint", tiny_checkpoint]
    child = subprocess.Popen(
        [sys.executable, "-m", "serdemo", *map(str, command)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    assert child.stdout is not None
    first = child.stdout.readline()
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (0, "")
    assert json.loads(first)["event"] == "answer"
    assert json.loads(out.splitlines()[-1])["event"] == "summary"


def test_bench_live_shows_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {"streams": 3, "delay_s": {"p50": 0.1, "p99": 0.2}, "lost_samples": 0}
    command_line = []
    monkeypatch.setattr(
        live_bench, "live", lambda *arguments: command_line.append(arguments) or figures
    )
    assert here("bench", "live", "--streams", 3, "--seconds", 5, "--json").json() == figures
    assert command_line == [(3, 5, 0.5, 2)]
    output = here("bench", "live").out.splitlines()
    assert [" ".join(line.split()) for line in output] == [
        "streams 3",
        "delay_s p50 0.1, p99 0.2",
        "lost_samples 0",
    ]
    assert here("bench", "live", "--streams", 0).code == 2


def test_the_picture_shows_what_is_known() -> None:
    from serdemo.cli.views import live
    from serdemo.inference.live_session import LiveState
    from serdemo.schema.types import Segment

    parts = tuple(Segment(i, i + 1, "angry", 0.9, {}, float(i % 2)) for i in range(4))
    state = LiveState(
        "angry", 0.9, False, {"angry": 0.9, "sad": 0.1}, True, -30.0, 0.5, 0.0, 0.12,
        received_s=4.0, segments=parts, warnings=("This machine is busy: wait.",),
    )  # fmt: skip
    name, says, angry, sad, _, level, course, note = live.picture("Webcam", state).plain.split("\n")
    assert (name, says) == ("Webcam  4.0 s", "  Sounds angry, very sure")
    assert (angry.count("█"), angry[-3:], sad.count("█")) == (27, "90%", 3)
    assert level.count("█") == 15 and level.endswith("-30 dBFS  speech  0.12 s behind")
    assert course == "    ·▲·▲"
    assert note == "  Note: This machine is busy: wait."
    assert "Listening" in live.picture("Webcam", LiveState()).plain


def test_until_cuts_the_last_block() -> None:
    blocks = [np.zeros((10, 2)), np.zeros((10, 2)), np.zeros((10, 2))]
    assert [len(block) for block in cli_listen._until(blocks, 100, 0.15)] == [10, 5]
    assert [len(block) for block in cli_listen._until(blocks, 100, 0.2)] == [10, 10]
    assert len(list(cli_listen._until(blocks, 100, None))) == 3
