"""The machine's own microphone, for a visitor who sits at the machine that serves the page."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serdemo.audio import waveform
from serdemo.schema.errors import SerdemoError

if TYPE_CHECKING:
    from serdemo.audio.microphone import Microphone
    from serdemo.inference.live_service import LiveService

LEFT_S = 10.0  # a page that asks for nothing so long has gone, and the microphone is let go
KEPT_S = 60  # of sound that the page has not fetched yet
HANDED_ON = ("forwarded", "via", "x-forwarded", "x-real-ip")  # how a proxy's headers begin


def microphones() -> list[dict[str, Any]]:
    """The inputs of this machine as `device` and `name`; none where there is no sound system."""
    from serdemo.audio.microphone import devices

    try:
        return [{"device": found.number, "name": found.name} for found in devices()]
    except SerdemoError:
        return []


class MicrophoneStream:
    """A thread that hears one microphone for one stream, until the page closes it or has gone."""

    def __init__(self, service: LiveService, microphone: Microphone) -> None:
        self.stream = service.open(microphone.rate)
        self.microphone = microphone
        self.failure = ""
        self._service = service
        self._lock = threading.Lock()
        self._sound = bytearray()  # 16-bit samples that the page has not fetched yet
        self._first = 0  # the number of the first of them
        self._asked_at = time.monotonic()
        self._thread = threading.Thread(target=self._listen, name="desk", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the microphone is still heard."""
        return self._thread.is_alive()

    def fetch(self, first: int) -> bytes:
        """The 16-bit samples from number `first` on; those before are forgotten."""
        with self._lock:
            self._asked_at = time.monotonic()
            known = min(max(0, first - self._first), len(self._sound) // 2)
            del self._sound[: 2 * known]
            self._first += known
            return bytes(self._sound)

    def close(self) -> None:
        """Let the microphone go; the stream stays, for its last answer."""
        self.microphone.close()
        self._thread.join()

    def _listen(self) -> None:
        try:
            for block in self.microphone:
                if time.monotonic() - self._asked_at > LEFT_S:
                    self._service.close(self.stream)
                    with self._lock:
                        self._sound.clear()  # nobody will fetch it
                    break
                self._service.push(self.stream, block)
                self._keep(block)
        except SerdemoError as problem:
            self.failure = str(problem)
        finally:
            self.microphone.close()

    def _keep(self, block: NDArray[np.float32]) -> None:
        with self._lock:
            self._sound += waveform.to_int16(block).tobytes()
            over = max(0, len(self._sound) // 2 - KEPT_S * self.microphone.rate)
            del self._sound[: 2 * over]
            self._first += over


class LocalMicrophone:
    """The microphones of this machine that are being heard."""

    def __init__(self) -> None:
        self._heard: dict[str, MicrophoneStream] = {}

    def open(self, service: LiveService, device: int) -> MicrophoneStream:
        """Hear a device by its number for a service; raises SerdemoError when it cannot be opened."""
        from serdemo.audio.microphone import open_microphone

        self._heard = {key: one for key, one in self._heard.items() if one.alive}
        microphone = open_microphone(device)
        try:
            listening = MicrophoneStream(service, microphone)
        except SerdemoError:
            microphone.close()
            raise
        self._heard[listening.stream] = listening
        return listening

    def find(self, stream: str) -> MicrophoneStream:
        """The microphone heard for a stream; raises SerdemoError when there is none, or it fails."""
        listening = self._heard.get(stream)
        if listening is None:
            raise SerdemoError("This live stream is closed: start it again.")
        if listening.failure:
            raise SerdemoError(listening.failure)
        return listening

    def close(self, stream: str) -> None:
        """Let the microphone of a stream go, if it has one."""
        if listening := self._heard.pop(stream, None):
            listening.close()
