"""Fixtures that several test files share: a tiny model, a corpus of simple sounds, real corpora."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

RATE = 16_000
# (pitch in Hz, fall of the harmonics, beats a second): far apart, so that they are soon learnt.
SOUNDS = {"angry": (320.0, 0.2, 9.0), "happy": (210.0, 1.0, 5.0), "sad": (110.0, 2.5, 1.5)}
SPEAKERS = ("anna", "bert", "cleo", "dora")


@pytest.fixture(scope="session")
def tiny_values() -> dict[str, Any]:
    """Options of a `supervised` run that takes a second: a tiny encoder, no worker processes."""
    encoder = dict(width=16, layers=1, heads=2, expansion=1, kernel=3)
    heads = dict(attention=8, embedding=8, projection=8)
    batches = dict(batch_size=4, crop_low=0.3, crop_high=0.6, workers=0, memory_gb=0.1)
    return {**encoder, **heads, **batches, "epochs": 2, "device": "cpu", "precision": "fp32"}


@pytest.fixture(scope="session")
def corpus_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus `simple/SPEAKER/EMOTION/N.wav`: four speakers, three emotions, two clips of each."""
    root = tmp_path_factory.mktemp("corpora") / "simple"
    for number, speaker in enumerate(SPEAKERS):
        for emotion, (pitch, fall, beats) in SOUNDS.items():
            for take in range(2):
                rng = np.random.default_rng((number, take))
                time = np.arange(round((0.5 + 0.1 * take) * RATE)) / RATE
                tone = sum(
                    np.sin(2 * np.pi * pitch * (1 + 0.03 * number) * h * time) / h**fall
                    for h in range(1, 12)
                )
                wave = tone * (1 + np.sin(2 * np.pi * beats * time + take))
                wave += 0.02 * rng.standard_normal(len(time))
                folder = root / speaker / emotion
                folder.mkdir(parents=True, exist_ok=True)
                name = folder / f"{speaker}-{emotion}-{take}.wav"
                soundfile.write(name, 0.3 * wave / np.abs(wave).max(), RATE)
    return root


@pytest.fixture(scope="session")
def tiny_checkpoint(
    tmp_path_factory: pytest.TempPathFactory, tiny_values: dict[str, Any], corpus_root: Path
) -> Path:
    """A checkpoint folder of random weights whose answers differ clearly; copy it to change it."""
    import torch

    from serdemo import checkpoint

    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    encoder = ("width", "layers", "heads", "expansion", "kernel")
    heads = ("attention", "embedding", "projection")
    description = checkpoint.Description(
        labels=tuple(SOUNDS),
        encoder="compact",
        encoder_options={name: tiny_values[name] for name in encoder},
        head_options={name: tiny_values[name] for name in heads},
        name="tiny",
        recipe="supervised",
        temperature=1.5,
        unsure_below=0.2,
        trained_on={"simple": ["anna", "bert"]},
        selected_on={"simple": ["cleo"]},
    )
    state = torch.get_rng_state()
    torch.manual_seed(0)
    model = checkpoint.build(description)
    torch.set_rng_state(state)
    with torch.no_grad():
        # Far apart and none the favourite: random weights would give one answer to everything.
        waves = [
            soundfile.read(path, 8_000, dtype="float32")[0] for path in corpus_root.rglob("*.wav")
        ]
        batch = torch.from_numpy(np.stack(waves))
        logits = model.eval().logits(batch, torch.full((len(batch),), batch.shape[1]))
        spread = float(logits.std(dim=0).mean())
        model.classifier.bias.sub_(logits.mean(dim=0)).div_(spread)
        model.classifier.weight.div_(spread)
    checkpoint.save(folder, model, description)
    return folder


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real corpora; the test is skipped where SERDEMO_DATA names none."""
    root = os.environ.get("SERDEMO_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("SERDEMO_DATA names no folder with corpora")
    return Path(root)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Tiny tensors are computed soonest by one thread, most of all on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
