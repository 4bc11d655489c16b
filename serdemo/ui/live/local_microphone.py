"""The server's own microphone, for a visitor who sits at the machine that serves the page."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serdemo.schema.errors import SerdemoError

if TYPE_CHECKING:
    from serdemo.audio.microphone import Microphone
    from serdemo.inference.live_service import LiveService

IDLE_S = 10.0  # a page that asks for nothing so long has gone, and the microphone is closed
MAX_BUFFER_S = 60  # of sound that the page has not fetched yet


def microphones() -> list[dict[str, Any]]:
    """The inputs of this machine as `device` and `name`; none where there is no sound system."""
    from serdemo.audio.microphone import devices

    try:
        return [{"device": device.number, "name": device.name} for device in devices()]
    except SerdemoError:
        return []


class MicrophoneStream:
    """A thread that feeds one microphone to one live stream, until it is closed or the page is gone."""

    def __init__(self, service: LiveService, microphone: Microphone, adapt: bool) -> None:
        self.stream = service.open(microphone.rate, adapt=adapt)
        self.microphone = microphone
        self.failure = ""
        self._service = service
        self._lock = threading.Lock()
        self._samples = np.zeros(0, np.int16)  # that the page has not fetched yet
        self._first = 0  # the number of the first of them
        self._fetched_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="microphone", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the microphone is still open."""
        return self._thread.is_alive()

    def fetch(self, first: int) -> NDArray[np.int16]:
        """The 16-bit samples (N,) from number `first` on; those before are dropped."""
        with self._lock:
            self._fetched_at = time.monotonic()
            self._drop(min(max(0, first - self._first), len(self._samples)))
            return self._samples

    def close(self) -> None:
        """Close the microphone; the stream stays open, for its last answer."""
        self.microphone.close()
        self._thread.join()

    def _run(self) -> None:
        try:
            for block in self.microphone:
                if time.monotonic() - self._fetched_at > IDLE_S:
                    self._service.close(self.stream)
                    with self._lock:
                        self._drop(len(self._samples))  # nobody will fetch them
                    break
                self._service.push(self.stream, block)
                self._append(block)
        except SerdemoError as problem:
            self.failure = str(problem)
        finally:
            self.microphone.close()

    def _append(self, block: NDArray[np.float32]) -> None:
        from serdemo.audio.waveform import to_int16

        with self._lock:
            self._samples = np.concatenate([self._samples, to_int16(block).ravel()])
            self._drop(max(0, len(self._samples) - MAX_BUFFER_S * self.microphone.rate))

    def _drop(self, count: int) -> None:
        self._samples = self._samples[count:]
        self._first += count


class LocalMicrophones:
    """The microphones of this machine that are open, by the handles of their streams."""

    def __init__(self) -> None:
        self._open: dict[str, MicrophoneStream] = {}

    def open(self, service: LiveService, device: int, *, adapt: bool = False) -> MicrophoneStream:
        """Feed a device, by its number, to a service; `adapt` is as in `LiveService.open`. Raises
        SerdemoError when it cannot be opened."""
        from serdemo.audio.microphone import open_microphone

        self._open = {stream: source for stream, source in self._open.items() if source.is_alive}
        microphone = open_microphone(device)
        try:
            source = MicrophoneStream(service, microphone, adapt)
        except SerdemoError:
            microphone.close()
            raise
        self._open[source.stream] = source
        return source

    def find(self, stream: str) -> MicrophoneStream:
        """The microphone of a stream; raises SerdemoError when there is none, or it failed."""
        source = self._open.get(stream)
        if source is None:
            raise SerdemoError("This live stream is closed: start it again.")
        if source.failure:
            raise SerdemoError(source.failure)
        return source

    def close(self, stream: str) -> None:
        """Close the microphone of a stream, if it has one."""
        if source := self._open.pop(stream, None):
            source.close()
