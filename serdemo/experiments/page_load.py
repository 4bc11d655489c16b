"""Load test of the page: many simultaneous visitors, through the calls that a browser makes.

Each visitor is a thread that sends its own clip in real time, in numbered pieces of the sound since
the last call, and reads the predictions from the replies.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

import click
import numpy as np
import psutil

from serdemo.audio import waveform
from serdemo.cli.options import CHECKPOINT, JSON, number_option, print_figures
from serdemo.experiments.page_client import Page, served
from serdemo.inference.predictor import Predictor
from serdemo.inference.speed import speech_samples
from serdemo.nn.checkpoint_files import SMALLEST, bundled_checkpoint
from serdemo.schema.errors import SerdemoError

PIECE_S = 0.096  # of the page's recorder
PACE, MAX_PACE_S = 0.25, 0.5  # of the delay, between two pieces
SETTLE_S = 10.0
MINUTE_S = 60.0  # after which memory has settled


@dataclass(slots=True)
class Visitor:
    """A visitor's clip (int16, 16 kHz), and the counts and predictions of its stream."""

    clip: np.ndarray[Any, np.dtype[np.int16]]
    adapt: bool = False
    model: str = ""  # that answered
    sent: int = 0
    received: int = 0
    skipped: int = 0
    delays: list[float] = field(default_factory=list)
    labels: dict[float, str] = field(default_factory=dict)  # by the end of the window, in seconds
    failure: str = ""

    def speak(self, url: str, seconds: float) -> None:
        """Send the clip repeatedly for `seconds`; a refusal ends it with `failure`."""
        try:
            self._speak(Page(url), seconds)
        except SerdemoError as problem:
            self.failure = str(problem)

    def sound(self, first: int, stop: int) -> np.ndarray[Any, np.dtype[np.int16]]:
        """Samples [first, stop) of the repeated clip."""
        return np.take(self.clip, range(first, stop), mode="wrap")

    def _speak(self, page: Page, seconds: float) -> None:
        opened = page.call("open", rate=waveform.SAMPLE_RATE, adapt=self.adapt)
        stream, self.model = opened["stream"], opened["model"]
        piece, total = round(PIECE_S * waveform.SAMPLE_RATE), round(seconds * waveform.SAMPLE_RATE)
        sequence, began = 0, time.monotonic()
        while self.sent < total:
            captured = int((time.monotonic() - began) * waveform.SAMPLE_RATE) // piece * piece
            if captured <= self.sent:
                time.sleep(0.005)
                continue
            stop = min(captured, total)
            delay_s = self._push(page, stream, sequence, stop, began)
            sequence += 1
            time.sleep(min(MAX_PACE_S, PACE * delay_s))
        until = time.monotonic() + SETTLE_S
        while self.received < self.sent and time.monotonic() < until:
            time.sleep(0.05)
            self._push(page, stream, sequence, self.sent, began)
            sequence += 1
        page.call("close", stream=stream)
        page.close()

    def _push(self, page: Page, stream: str, sequence: int, stop: int, began: float) -> float:
        """Send the sound up to the sample `stop`; gives the delay of the newest answer in seconds."""
        newest = max(self.labels, default=0.0)
        since = max(0.0, newest - 5)
        reply = page.push(stream, self.sound(self.sent, stop).tobytes(), sequence, since)
        now = time.monotonic() - began
        self.sent, self.received, self.skipped = stop, reply["received"], reply["skipped"]
        for segment in reply["segments"]:
            if segment["speech"] > 0 and segment["end_s"] not in self.labels:
                self.labels[segment["end_s"]] = segment["label"]
        if max(self.labels, default=0.0) > newest:
            self.delays.append(now - max(self.labels))
        delay_s: float = reply["delay_s"] or 0.0
        return delay_s


def load(
    streams: int,
    seconds: float,
    url: str | None = None,
    checkpoint: Path | None = None,
    *,
    adapt: bool = False,
) -> dict[str, Any]:
    """Let `streams` visitors speak for `seconds` to the page at `url`, or to one started for this.

    Delays run from the last sample of a window to the arrival of its prediction. `labels_as_file` is,
    for each visitor, the share of windows with the label that the same sound gets in this process, by
    the shipped model or `checkpoint`, or by the smallest where that answered; with `adapt`, the page
    gets used to the voices and that does not. `models` counts the visitors by the model that answered them. Memory
    is that of a page started here: before, after the first minute, and at the end. Raises SerdemoError when
    the page cannot be reached or refuses.
    """
    clips = [waveform.to_int16(clip.samples) for clip in speech_samples(streams)]
    visitors = [Visitor(clip, adapt) for clip in clips]
    with served(url, checkpoint) as (address, process):
        first = Visitor(clips[0], adapt)
        first.speak(address, 1.5)  # warms the model up
        if first.failure:
            raise SerdemoError(first.failure)
        start = _rss_mb(process)
        threads = [
            threading.Thread(target=visitor.speak, args=(address, seconds)) for visitor in visitors
        ]
        for number, thread in enumerate(threads):
            thread.start()
            time.sleep(PIECE_S * (number % 7) / 7)  # visitors are not in step
        threads[0].join(MINUTE_S)
        minute = _rss_mb(process) if threads[0].is_alive() else None
        for thread in threads:
            thread.join()
        end = _rss_mb(process)
    if failed := [visitor.failure for visitor in visitors if visitor.failure]:
        raise SerdemoError(f"{len(failed)} of {streams} visitors were refused: {failed[0]}")
    delays = [delay for visitor in visitors for delay in visitor.delays]
    default = Predictor(checkpoint, device="cpu")
    is_small = {visitor.model == SMALLEST != default.name for visitor in visitors}
    small = Predictor(bundled_checkpoint(SMALLEST), device="cpu") if True in is_small else default
    agreement = [
        _agreement(small if visitor.model == SMALLEST else default, visitor) for visitor in visitors
    ]
    return {
        "streams": streams,
        "seconds": seconds,
        "models": dict(Counter(visitor.model for visitor in visitors)),
        "lost_samples": sum(visitor.sent - visitor.received for visitor in visitors),
        "delay_s": {"p50": _quantile(delays, 0.5), "p99": _quantile(delays, 0.99)},
        "rss_mb": {"start": start, "minute": minute, "end": end},
        "windows": {
            "answered": sum(len(visitor.labels) for visitor in visitors),
            "skipped": sum(visitor.skipped for visitor in visitors),
        },
        "labels_as_file": {"mean": round(mean(agreement), 4), "streams": agreement},
    }


def _agreement(predictor: Predictor, visitor: Visitor) -> float:
    """Share of the visitor's windows with the label that the same sound gets as a file."""
    stream = predictor.stream(waveform.SAMPLE_RATE, keep_s=visitor.sent / waveform.SAMPLE_RATE + 1)
    stream.push(visitor.sound(0, visitor.sent))
    windows = stream.ready_windows()
    rows = predictor.probabilities([window.wave for window in windows])
    for window, row in zip(windows, rows, strict=True):
        stream.add_scores(window, row)
    labels = {segment.end_s: segment.label for segment in stream.segments}
    same = [labels.get(end) == label for end, label in visitor.labels.items()]
    return round(mean(same), 4) if same else 0.0


def _rss_mb(process: int | None) -> int | None:
    return None if process is None else round(psutil.Process(process).memory_info().rss / 1e6)


def _quantile(values: list[float], share: float) -> float | None:
    return round(float(np.quantile(values, share)), 3) if values else None


@click.command("load")
@number_option("--streams", 8, 1, 64, "Visitors at once.")
@number_option("--seconds", 20.0, 3, 86_400, "Duration of the speech of each, in real time.")
@click.option("--url", help="Address of a running page [default: one is started].")
@click.option("--adapt", is_flag=True, help="Get used to each voice, as the page does by default.")
@CHECKPOINT
@JSON
def command(
    streams: int,
    seconds: float,
    url: str | None,
    adapt: bool,
    checkpoint: Path | None,
    as_json: bool,
) -> None:
    """Delay, losses and memory of the page while visitors speak to it, as a browser sends it."""
    print_figures(load(streams, seconds, url, checkpoint, adapt=adapt), as_json)
