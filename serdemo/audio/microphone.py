"""Microphones of this machine, through sounddevice, as iterators over blocks of samples."""

from __future__ import annotations

import os
import queue
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from serdemo.audio.channels import StreamMixer
from serdemo.audio.samples import Samples
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.libraries import install_command

BLOCK_S = 0.1
MAX_WAITING_BLOCKS = 100  # unread ones, before samples are lost
TIMEOUT_S = 3.0  # a microphone that sends nothing for so long is gone


@dataclass(frozen=True, slots=True)
class Device:
    """Audio input of this machine: its `number` for opening it and its native `rate` in Hz."""

    number: int
    name: str
    channels: int
    rate: int
    default: bool


def devices() -> list[Device]:
    """All audio inputs of this machine; raises SerdemoError without sounddevice or PortAudio."""
    with _silenced_stderr():
        sound = _sounddevice()
        default, descriptions = sound.default.device[0], sound.query_devices()
    return [
        Device(
            number,
            str(description["name"]),
            int(description["max_input_channels"]),
            int(description["default_samplerate"]),
            number == default,
        )
        for number, description in enumerate(descriptions)
        if description["max_input_channels"] > 0
    ]


def open_microphone(device: int | str | None = None, rate: int | None = None) -> Microphone:
    """Open the input that `find(device)` selects, at `rate` Hz (default: its native rate)."""
    return Microphone(find(device), rate).open()


def find(selector: int | str | None = None) -> Device:
    """Select an input by its number or a part of its name; None for the default one.

    Raises SerdemoError without any input, sounddevice or PortAudio, UsageError if none matches.
    """
    inputs = devices()
    if not inputs:
        raise SerdemoError(
            "There is no microphone on this machine: plug one in, or give a sound file with --file."
        )
    if selector is None:
        return next((device for device in inputs if device.default), inputs[0])
    if isinstance(selector, int) or selector.isdecimal():
        matches = [device for device in inputs if device.number == int(selector)]
    else:
        matches = [device for device in inputs if selector.lower() in device.name.lower()]
    if not matches:
        known = ", ".join(f"{device.number} ({device.name})" for device in inputs)
        raise UsageError(f"There is no microphone {selector!r}; there are {known}.")
    return matches[0]


class Microphone:
    """Audio input as a context manager and, once open, an iterator of mono float32 blocks (n,).

    `rate` is the sample rate of the blocks in Hz. `lost_samples` counts samples dropped because the
    reader was too slow, `overflows` the losses that the system reported. Iterating raises
    SerdemoError when the device is unplugged.
    """

    def __init__(self, device: Device, rate: int | None = None) -> None:
        self.name, self.rate = device.name, rate or device.rate
        self.lost_samples = self.overflows = 0
        self._device = device
        self._blocks: queue.Queue[Samples | None] = queue.Queue(MAX_WAITING_BLOCKS)
        self._stream: Any = None

    def __enter__(self) -> Microphone:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> Microphone:
        """Start recording; raises SerdemoError when the input cannot be opened."""
        if self._stream:
            return self
        sound = _sounddevice()
        try:
            with _silenced_stderr():
                self._stream = sound.InputStream(
                    samplerate=self.rate,
                    blocksize=round(BLOCK_S * self.rate),
                    device=self._device.number,
                    channels=min(self._device.channels, 2),  # some cards refuse mono
                    dtype="float32",
                    callback=self._take,
                    finished_callback=self._end,
                )
                self._stream.start()
        except (sound.PortAudioError, ValueError) as problem:
            self.close()
            raise SerdemoError(
                f"The microphone {self.name!r} cannot be opened ({_first_line(problem)}): close other"
                " programs that use it, allow the microphone, or choose another with --device."
            ) from problem
        return self

    def __iter__(self) -> Iterator[Samples]:
        mixer: StreamMixer | None = None
        while self._stream:
            try:
                block = self._blocks.get(timeout=TIMEOUT_S)
            except queue.Empty:
                block = None
            if block is not None:
                if mixer is None:
                    mixer = StreamMixer(self.rate, block.shape[1])
                yield mixer.apply(block)
            elif self._stream:
                self.close()
                raise SerdemoError(
                    f"The microphone {self.name!r} sends no more sound: "
                    "plug it in again and start again."
                )

    def close(self) -> None:
        """Stop recording; iterating ends."""
        stream, self._stream = self._stream, None
        if stream:
            stream.abort()
            stream.close()
            self._end()  # wakes a reader in another thread

    # Both run in a thread of PortAudio, which must never wait.

    def _take(self, block: Samples, frames: int, time: Any, status: Any) -> None:
        self.overflows += bool(status.input_overflow)
        try:
            self._blocks.put_nowait(block.copy())
        except queue.Full:
            self.lost_samples += frames

    def _end(self) -> None:
        with suppress(queue.Full):  # the reader will time out
            self._blocks.put_nowait(None)


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError as problem:
        raise SerdemoError(
            f"The microphone needs the package sounddevice: {install_command('sounddevice')}"
        ) from problem
    except OSError as problem:
        raise SerdemoError(
            "The microphone needs the PortAudio library: "
            "install libportaudio2 with your system's package manager."
        ) from problem
    return sounddevice


@contextmanager
def _silenced_stderr() -> Iterator[None]:
    """Silence stderr, to which the system's sound libraries write about every device they try."""
    sys.stderr.flush()
    stderr, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)


def _first_line(problem: Exception) -> str:
    text = str(problem.args[0]) if problem.args else ""
    return text.partition("\n")[0].strip().rstrip(".") or "for no stated reason"
