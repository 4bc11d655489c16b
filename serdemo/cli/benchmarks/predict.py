"""Prediction speed beside a peer's, measured in turn."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

from serdemo.cli.options import (
    CHECKPOINT,
    JSON,
    LABEL_MAP,
    THREADS,
    number_option,
    print_figures,
)
from serdemo.inference.predictor import Predictor
from serdemo.inference.speed import CLIP_S, memory_mb, speech_samples


def predict(
    clips: int,
    rounds: int,
    threads: int,
    peer: bool = True,
    checkpoint: Path | None = None,
    label_map: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Times real time of a model, None for the shipped one, on `clips` clips of 10 s, the median of `rounds`.

    Timed are speech detection, windows, model and aggregation. The peer is transformers'
    audio-classification pipeline with a WavLM-base of random weights, on the same clips and threads;
    the two take turns, and `ratio` is the median of the rounds' ratios.
    """
    torch.set_num_threads(threads)
    sources = speech_samples(clips)
    seconds = sum(clip.duration_s for clip in sources)
    predictor = Predictor(checkpoint, device="cpu", label_map=label_map)

    def ours() -> None:
        for _ in predictor.predict_many(sources):
            pass

    ours()
    rss_mb = round(memory_mb())  # before the peer allocates memory
    theirs = _peer([clip.samples for clip in sources]) if peer else None
    if theirs:
        theirs()
    own, other = [], []
    for _ in range(rounds):
        own.append(_timed(ours))
        if theirs:
            other.append(_timed(theirs))
    return {
        "model": predictor.name,
        "clips": clips,
        "clip_s": CLIP_S,
        "threads": threads,
        "times_real_time": round(seconds / median(own), 1),
        "peer": "transformers audio-classification pipeline, WavLM-base (random weights)"
        if peer
        else None,
        "peer_times_real_time": round(seconds / median(other), 1) if other else None,
        "ratio": round(median(b / a for a, b in zip(own, other, strict=True)), 1)
        if other
        else None,
        "rss_mb": rss_mb,
        "machine": f"{platform.machine()}, torch {torch.__version__}",
    }


def _peer(waves: list[NDArray[np.float32]]) -> Callable[[], None]:
    from transformers import (
        AudioClassificationPipeline,
        Wav2Vec2FeatureExtractor,
        WavLMConfig,
        WavLMForSequenceClassification,
    )

    model = WavLMForSequenceClassification(WavLMConfig()).eval()
    pipeline = AudioClassificationPipeline(
        model=model, feature_extractor=Wav2Vec2FeatureExtractor(), device="cpu"
    )

    def run() -> None:
        for wave in waves:
            pipeline(wave.copy())

    return run


def _timed(run: Callable[[], None]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


@click.command("predict")
@number_option("--clips", 24, 1, 10_000, "Clips of 10 s in a round.")
@number_option("--rounds", 5, 1, 1000, "Rounds of each, in turn.")
@THREADS
@click.option("--no-peer", is_flag=True, help="Leave out the WavLM-base pipeline.")
@CHECKPOINT
@LABEL_MAP
@JSON
def command(
    clips: int,
    rounds: int,
    threads: int,
    no_peer: bool,
    checkpoint: Path | None,
    label_map: dict[str, str] | None,
    as_json: bool,
) -> None:
    """Times real time of a model, beside transformers' WavLM-base pipeline."""
    figures = predict(clips, rounds, threads, not no_peer, checkpoint, label_map)
    print_figures(figures, as_json)
