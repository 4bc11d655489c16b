"""Delay of live predictions for many simultaneous streams in real time."""

from __future__ import annotations

import platform
import time
from typing import Any

import click
import numpy as np
import psutil
import torch

from serdemo.audio import waveform
from serdemo.cli.options import JSON, THREADS, number_option, print_figures
from serdemo.inference.live_service import LiveService
from serdemo.inference.predictor import Predictor
from serdemo.inference.speed import memory_mb, speech_samples

REPEAT = 3  # of each sample: 48 kHz, as browsers send it
DRAIN_S = 10.0


def live(
    streams: int, seconds: float, chunk_s: float, threads: int, predictor: Predictor | None = None
) -> dict[str, Any]:
    """Feed `streams` streams in real time with pieces of `chunk_s`, each from a clip of its own.

    Pieces are 48 kHz int16 and staggered over the streams. Delays run from the last sample of a window
    to its prediction, including the wait for a full piece. `cpu_share` counts cores: 1.0 is one core.
    """
    torch.set_num_threads(threads)
    predictor = predictor or Predictor(device="cpu")
    rate = REPEAT * waveform.SAMPLE_RATE
    size = round(chunk_s * rate)
    clips = [np.repeat(waveform.to_int16(clip.samples), REPEAT) for clip in speech_samples(streams)]
    process = psutil.Process()
    with LiveService(predictor, max_streams=streams) as service:
        handles = [service.open(rate) for _ in clips]
        time.sleep(1.0)  # for the worker's warm-up
        cpu, rss, began = _cpu_s(process), memory_mb(), time.monotonic()
        sent = 0
        for piece in range(round(seconds / chunk_s)):
            for number, (handle, clip) in enumerate(zip(handles, clips, strict=True)):
                due = began + (piece + 1 + number / streams) * chunk_s
                time.sleep(max(0.0, due - time.monotonic()))
                where = range(piece * size, (piece + 1) * size)
                service.push(handle, np.take(clip, where, mode="wrap"), sequence=piece)
                sent += size
        wall = time.monotonic() - began
        cpu = (_cpu_s(process) - cpu) / wall
        while time.monotonic() - began < wall + DRAIN_S:
            states = [service.state(handle) for handle in handles]
            if sum(state.received_samples for state in states) == sent:
                break
            time.sleep(0.05)
        delays = service.delays_s
        rss_end = memory_mb()
    p50, p99 = (float(np.quantile(delays, q)) if delays else None for q in (0.5, 0.99))
    return {
        "model": predictor.name,
        "streams": streams,
        "seconds": seconds,
        "chunk_s": chunk_s,
        "threads": threads,
        "delay_s": {"p50": _rounded(p50), "p99": _rounded(p99)},
        "lost_samples": sent - sum(state.received_samples for state in states),
        "windows": {
            "scored": sum(state.n_scored for state in states),
            "without_speech": sum(state.n_silent for state in states),
            "skipped": sum(state.n_skipped for state in states),
        },
        "cpu_share": round(cpu, 2),
        "rss_mb": {"start": round(rss), "end": round(rss_end)},
        "machine": f"{platform.machine()}, torch {torch.__version__}",
    }


def _cpu_s(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


@click.command("live")
@number_option("--streams", 16, 1, 1000, "Streams at once.")
@number_option("--seconds", 20, 2, 86_400, "Duration of the sound, in real time.")
@number_option("--chunk-ms", 500, 20, 2_000, "Duration of a piece.")
@THREADS
@JSON
def command(streams: int, seconds: int, chunk_ms: int, threads: int, as_json: bool) -> None:
    """Delay of the predictions of many live streams, and what is lost."""
    print_figures(live(streams, seconds, chunk_ms / 1000, threads), as_json)
