"""What the page bears: many visitors speak at once, through the very calls that a browser makes.

Each visitor is a thread that sends its own clip at the pace of speech, in numbered pieces of what
has been "captured" since the last call, and takes the answers from the replies.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil

from serdemo import audio
from serdemo.bench import speech
from serdemo.predict import Predictor
from serdemo.schema import SerdemoError

PIECE_S = 0.096  # what the page's recorder gives at a time
SETTLE_S = 10.0
START_S = 120.0


class Page:
    """The page at an address, as a browser talks to it. Each thread needs its own."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url if "//" in url else f"//{url}", scheme="http")
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        if not parts.hostname:
            raise SerdemoError(f"{url} is no address: give one such as http://127.0.0.1:7860.")
        self._url, self._path = url, parts.path.rstrip("/")
        self._connection = kind(parts.hostname, parts.port, timeout=30)
        config = self._ask("GET", "/config", None)
        live = [c for c in config.get("components", []) if c["props"].get("elem_id") == "live"]
        if not live:
            raise SerdemoError(f"{url} is no page of serdemo: give the address of one.")
        self._component = live[0]["id"]
        self._prefix = config.get("api_prefix", "")

    def call(self, name: str, **asked: Any) -> dict[str, Any]:
        """One call of the Live tab; raises SerdemoError when it is refused."""
        body = {
            "data": {"call": name, **asked},
            "component_id": self._component,
            "fn_name": "live",
            "session_hash": "",
        }
        told: dict[str, Any] = self._ask("POST", f"{self._prefix}/component_server/", body)
        if "refused" in told:
            raise SerdemoError(told["refused"])
        return told

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _ask(self, method: str, path: str, body: Any) -> Any:
        text = None if body is None else json.dumps(body)
        headers = {"Content-Type": "application/json"}
        try:
            self._connection.request(method, self._path + path, text, headers)
            reply = self._connection.getresponse()
            told = reply.read()
        except (OSError, http.client.HTTPException) as problem:
            raise SerdemoError(
                f"{self._url} cannot be reached ({problem}): check that it runs."
            ) from problem
        if reply.status != 200:
            raise SerdemoError(
                f"{self._url} answers with the error {reply.status}: is it serdemo's page?"
            )
        try:
            return json.loads(told)
        except ValueError as problem:
            raise SerdemoError(
                f"{self._url} is no page of serdemo: give the address of one."
            ) from problem


@dataclass(slots=True)
class Visitor:
    """One visitor's clip (16-bit, 16 kHz) and what became of it."""

    clip: np.ndarray[Any, np.dtype[np.int16]]
    sent: int = 0
    received: int = 0
    skipped: int = 0
    delays: list[float] = field(default_factory=list)
    labels: dict[float, str] = field(default_factory=dict)  # end of a window -> what it says
    failure: str = ""

    def speak(self, url: str, seconds: float) -> None:
        """Send the clip over and over for so long; a refusal ends it with `failure`."""
        try:
            self._speak(Page(url), seconds)
        except SerdemoError as problem:
            self.failure = str(problem)

    def sound(self, first: int, stop: int) -> np.ndarray[Any, np.dtype[np.int16]]:
        """Samples [first, stop) of what is said."""
        return np.take(self.clip, range(first, stop), mode="wrap")

    def _speak(self, page: Page, seconds: float) -> None:
        stream = page.call("open", rate=audio.SAMPLE_RATE)["stream"]
        piece, total = round(PIECE_S * audio.SAMPLE_RATE), round(seconds * audio.SAMPLE_RATE)
        sequence, began = 0, time.monotonic()
        while self.sent < total:
            captured = int((time.monotonic() - began) * audio.SAMPLE_RATE) // piece * piece
            if captured <= self.sent:
                time.sleep(0.005)
                continue
            stop = min(captured, total)
            self._push(page, stream, sequence, stop, began)
            sequence += 1
        until = time.monotonic() + SETTLE_S
        while self.received < self.sent and time.monotonic() < until:
            time.sleep(0.05)
            self._push(page, stream, sequence, self.sent, began)
            sequence += 1
        page.call("close", stream=stream)
        page.close()

    def _push(self, page: Page, stream: str, sequence: int, stop: int, began: float) -> None:
        samples = base64.b64encode(self.sound(self.sent, stop).tobytes()).decode()
        newest = max(self.labels, default=0.0)
        since = max(0.0, newest - 5)
        told = page.call("push", stream=stream, sequence=sequence, samples=samples, since=since)
        now = time.monotonic() - began
        self.sent, self.received, self.skipped = stop, told["received"], told["skipped"]
        for segment in told["segments"]:
            if segment["speech"] > 0 and segment["end_s"] not in self.labels:
                self.labels[segment["end_s"]] = segment["label"]
        if max(self.labels, default=0.0) > newest:
            self.delays.append(now - max(self.labels))


def load(
    streams: int, seconds: float, url: str | None = None, checkpoint: Path | None = None
) -> dict[str, Any]:
    """Let `streams` visitors speak to the page for `seconds`: at `url`, or one started for this.

    Delays run from the last sample of an answered window being spoken to the answer's arrival.
    `labels_as_file` is, for each visitor, the share of windows whose label is the one that the
    same sound gets in this process, with the shipped model or `checkpoint`. Memory is that of the
    page that was started. Raises SerdemoError when the page cannot be reached or refuses.
    """
    clips = [np.round(clip.samples * 32_767).astype(np.int16) for clip in speech(streams)]
    visitors = [Visitor(clip) for clip in clips]
    with _served(url, checkpoint) as (address, process):
        first = Visitor(clips[0])
        first.speak(address, 1.5)  # the model's first answer is slow, for one
        if first.failure:
            raise SerdemoError(first.failure)
        start = _rss_mb(process)
        threads = [
            threading.Thread(target=visitor.speak, args=(address, seconds)) for visitor in visitors
        ]
        for number, thread in enumerate(threads):
            thread.start()
            time.sleep(PIECE_S * (number % 7) / 7)  # nobody speaks in step with another
        for thread in threads:
            thread.join()
        end = _rss_mb(process)
    if failed := [visitor.failure for visitor in visitors if visitor.failure]:
        raise SerdemoError(f"{len(failed)} of {streams} visitors were refused: {failed[0]}")
    delays = [delay for visitor in visitors for delay in visitor.delays]
    predictor = Predictor(checkpoint, device="cpu")
    agreement = [_agreement(predictor, visitor) for visitor in visitors]
    return {
        "streams": streams,
        "seconds": seconds,
        "lost_samples": sum(visitor.sent - visitor.received for visitor in visitors),
        "delay_s": {"p50": _quantile(delays, 0.5), "p99": _quantile(delays, 0.99)},
        "rss_mb": {"start": start, "end": end},
        "windows": {
            "answered": sum(len(visitor.labels) for visitor in visitors),
            "skipped": sum(visitor.skipped for visitor in visitors),
        },
        "labels_as_file": {"mean": round(mean(agreement), 4), "streams": agreement},
    }


def _agreement(predictor: Predictor, visitor: Visitor) -> float:
    """The share of the visitor's windows that have the label of the same sound read as a file."""
    stream = predictor.stream(audio.SAMPLE_RATE, keep_s=visitor.sent / audio.SAMPLE_RATE + 1)
    stream.push(visitor.sound(0, visitor.sent))
    due = stream.due()
    for window, row in zip(due, predictor.probabilities([w.wave for w in due]), strict=True):
        stream.accept(window, row)
    labels = {segment.end_s: segment.label for segment in stream.segments}
    same = [labels.get(end) == label for end, label in visitor.labels.items()]
    return round(mean(same), 4) if same else 0.0


@contextmanager
def _served(url: str | None, checkpoint: Path | None) -> Iterator[tuple[str, int | None]]:
    """The address of the page, and the number of its process if it was started here."""
    if url is not None:
        yield url, None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "serdemo", "app", "--port", str(port)]
    command += ["--checkpoint", str(checkpoint)] if checkpoint else []
    environment = {**os.environ, "GRADIO_SERVER_NAME": "127.0.0.1"}
    with tempfile.TemporaryFile() as told:
        app = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=told)
        try:
            address = f"http://127.0.0.1:{port}"
            if not _is_served(address, app):
                told.seek(0)
                reason = told.read().decode(errors="replace").strip().splitlines()[-1:]
                raise SerdemoError(
                    f"The page did not start: {''.join(reason) or 'it is too slow.'}"
                )
            yield address, app.pid
        finally:
            app.terminate()
            app.wait(timeout=30)


def _is_served(address: str, app: subprocess.Popen[bytes]) -> bool:
    until = time.monotonic() + START_S
    while time.monotonic() < until and app.poll() is None:
        with suppress(SerdemoError):
            Page(address).close()
            return True
        time.sleep(0.2)
    return False


def _rss_mb(process: int | None) -> int | None:
    return None if process is None else round(psutil.Process(process).memory_info().rss / 1e6)


def _quantile(values: list[float], share: float) -> float | None:
    return round(float(np.quantile(values, share)), 3) if values else None
