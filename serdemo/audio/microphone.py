"""The desk's own microphone, through sounddevice: a source of samples like any other."""

from __future__ import annotations

import os
import queue
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from serdemo.audio.waveform import Samples
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.libraries import install_command

BLOCK_S = 0.1
WAITING_BLOCKS = 100  # what a slow reader may leave lying before samples are lost
SILENT_S = 3.0  # a microphone that sends nothing for so long is gone


@dataclass(frozen=True, slots=True)
class Device:
    """An input of this machine. `rate` in Hz is its own; `number` is what to open it by."""

    number: int
    name: str
    channels: int
    rate: int
    default: bool


def devices() -> list[Device]:
    """All inputs of this machine; raises SerdemoError where sounddevice or PortAudio is missing."""
    with _hushed():
        sound = _sounddevice()
        default, found_devices = sound.default.device[0], sound.query_devices()
    return [
        Device(
            number,
            str(found["name"]),
            int(found["max_input_channels"]),
            int(found["default_samplerate"]),
            number == default,
        )
        for number, found in enumerate(found_devices)
        if found["max_input_channels"] > 0
    ]


def open_microphone(device: int | str | None = None, rate: int | None = None) -> Microphone:
    """Listen to the input that `find` finds; `rate` in Hz is its own unless given.

    Raises what `find` and `Microphone.open` raise.
    """
    return Microphone(find(device), rate).open()


def find(wanted: int | str | None = None) -> Device:
    """An input by its number or a part of its name, None for the default one.

    Raises SerdemoError when there is none at all or sounddevice or PortAudio is missing,
    UsageError for one that is not there.
    """
    found = devices()
    if not found:
        raise SerdemoError(
            "There is no microphone on this machine: plug one in, or give a sound file with --file."
        )
    if wanted is None:
        return next((one for one in found if one.default), found[0])
    if isinstance(wanted, int) or wanted.isdecimal():
        fits = [one for one in found if one.number == int(wanted)]
    else:
        fits = [one for one in found if wanted.lower() in one.name.lower()]
    if not fits:
        known = ", ".join(f"{one.number} ({one.name})" for one in found)
        raise UsageError(f"There is no microphone {wanted!r}; there are {known}.")
    return fits[0]


class Microphone:
    """An input. Once open, iterate over it for its sound: mono float32 blocks (n,).

    `rate` is that of the blocks in Hz. `lost_samples` counts what the reader was too slow for,
    `overflows` how often the system said that it lost some itself. `with` opens and closes it.
    Iterating raises SerdemoError when it is unplugged.
    """

    def __init__(self, device: Device, rate: int | None = None) -> None:
        self.name, self.rate = device.name, rate or device.rate
        self.lost_samples = self.overflows = 0
        self._device = device
        self._blocks: queue.Queue[Samples | None] = queue.Queue(WAITING_BLOCKS)
        self._stream: Any = None

    def __enter__(self) -> Microphone:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> Microphone:
        """Begin to listen; raises SerdemoError when the input cannot be opened."""
        if self._stream:
            return self
        sound = _sounddevice()
        try:
            with _hushed():
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
                f"The microphone {self.name!r} cannot be opened ({_short(problem)}): close other"
                " programs that use it, allow the microphone, or choose another with --device."
            ) from problem
        return self

    def __iter__(self) -> Iterator[Samples]:
        while self._stream:
            try:
                block = self._blocks.get(timeout=SILENT_S)
            except queue.Empty:
                block = None
            if block is not None:
                yield block
            elif self._stream:
                self.close()
                raise SerdemoError(
                    f"The microphone {self.name!r} sends no more sound: "
                    "plug it in again and start again."
                )

    def close(self) -> None:
        """Stop listening; iterating ends."""
        stream, self._stream = self._stream, None
        if stream:
            stream.abort()
            stream.close()
            self._end()  # a reader in another thread need not wait to find out

    # Both run in a thread of PortAudio, which must never wait.

    def _take(self, block: Samples, frames: int, time: Any, status: Any) -> None:
        self.overflows += bool(status.input_overflow)
        try:
            self._blocks.put_nowait(block.mean(axis=1))
        except queue.Full:
            self.lost_samples += frames

    def _end(self) -> None:
        try:
            self._blocks.put_nowait(None)
        except queue.Full:
            return  # the reader will find out by waiting in vain


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
def _hushed() -> Iterator[None]:
    """Keep the system's sound libraries from writing about every device they try to stderr."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _short(problem: Exception) -> str:
    text = str(problem.args[0]) if problem.args else ""
    return text.partition("\n")[0].strip().rstrip(".") or "for no stated reason"
