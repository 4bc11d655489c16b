"""Training speed beside transformers' Trainer on the same model, clips and device."""

from __future__ import annotations

import platform
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
import soundfile
import torch
from torch import Tensor, nn

from serdemo.audio import waveform
from serdemo.cli.options import JSON, THREADS, number_option, print_figures
from serdemo.data.dataset import collate
from serdemo.data.sampling import BatchOptions
from serdemo.data.splits import Split
from serdemo.inference.speed import speech_samples
from serdemo.nn import checkpoint, encoders, losses
from serdemo.nn.device import flushed_denormals, pick_device, pick_precision
from serdemo.schema.errors import UsageError
from serdemo.schema.types import EMOTIONS, Utterance
from serdemo.training.events import Step
from serdemo.training.fit import fit
from serdemo.training.options import TrainOptions
from serdemo.training.recipes.base import Recipe
from serdemo.training.recipes.supervised import Supervised, SupervisedOptions

WARM_UP = 3  # untimed steps
NO_AUGMENTATION = dict(speed=0.0, noise=0.0, reverberation=0.0, bandlimit=0.0, gain=0.0)


def train(
    encoder: str,
    source: str,
    steps: int,
    rounds: int,
    batch_size: int,
    seconds: float,
    threads: int,
) -> dict[str, Any]:
    """Clips per second of our loop and of a plain `transformers.Trainer`, in turn in one run.

    Both train the recipe `supervised` on the same clips of `seconds` s from the same weights, with
    the same optimiser, loss, precision, batch size and device, without augmentation; ours also
    keeps the EMA of the weights. Each round times `steps` steps of each; the ratio is the
    median of the rounds' ratios. Raises UsageError when there are too few steps to time.
    """
    if steps <= WARM_UP:
        raise UsageError(f"--steps must be more than the {WARM_UP} that warm up.")
    torch.set_num_threads(threads)
    values = dict(NO_AUGMENTATION, encoder=encoder, source=source, batch_size=batch_size, workers=0)
    values |= dict(min_crop=seconds, max_crop=seconds, epochs=1)
    options = TrainOptions(threads=threads)
    recipe = Supervised.from_values(values)
    with tempfile.TemporaryDirectory() as folder:
        split = Split(train=_corpus(Path(folder), steps * batch_size, seconds))
        own, other = [], []
        for number in range(rounds):
            own.append(_ours(recipe, options, split, Path(folder) / f"run-{number}"))
            other.append(_theirs(recipe, options, split, Path(folder) / "theirs"))
    device = pick_device("auto")
    return {
        "encoder": encoder,
        "device": str(device),
        "precision": str(pick_precision("auto", device)).removeprefix("torch."),
        "threads": threads,
        "batch_size": batch_size,
        "clip_s": seconds,
        "clips_per_s": round(median(own), 1),
        "trainer_clips_per_s": round(median(other), 1),
        "ratio": round(median(a / b for a, b in zip(own, other, strict=True)), 2),
        "machine": f"{platform.machine()}, torch {torch.__version__}",
    }


def _corpus(folder: Path, count: int, seconds: float) -> tuple[Utterance, ...]:
    """`count` clips cut from the examples, with labels in rotation."""
    size = round(seconds * waveform.SAMPLE_RATE)
    clips = []
    for number, clip in enumerate(speech_samples(count)):
        path, emotion = folder / f"{number}.wav", EMOTIONS[number % len(EMOTIONS)]
        soundfile.write(path, np.resize(clip.samples, size), waveform.SAMPLE_RATE)
        clips.append(Utterance(path, "bench", str(number % 8), emotion, emotion, "", "", seconds))
    return tuple(clips)


def _ours(recipe: Recipe, options: TrainOptions, split: Split, run: Path) -> float:
    times = [time.perf_counter() for e in fit(recipe, options, split, run) if isinstance(e, Step)]
    return _batch(recipe) * (len(times) - WARM_UP) / (times[-1] - times[WARM_UP - 1])


def _batch(recipe: Recipe) -> int:
    return recipe.options(BatchOptions).batch_size


class _Wrapped(nn.Module):
    """The model with its loss, as Trainer expects it."""

    def __init__(self, recipe: Recipe, split: Split) -> None:
        super().__init__()
        self.options = recipe.options(SupervisedOptions)
        self.model = checkpoint.build(recipe.describe(split))
        encoders.load_pretrained(self.model.encoder)

    def forward(self, wave: Tensor, lengths: Tensor, labels: Tensor) -> dict[str, Tensor]:
        output = self.model(wave, lengths)
        loss = losses.cross_entropy(output.logits, labels, self.options.smoothing)
        contrast = losses.supervised_contrastive(
            output.projection, labels, self.options.contrastive_temperature
        )
        return {"loss": loss + self.options.contrastive * contrast, "logits": output.logits}


def _theirs(recipe: Recipe, options: TrainOptions, split: Split, folder: Path) -> float:
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

    device = pick_device("auto")
    half = pick_precision("auto", device) == torch.bfloat16
    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *args: Any, **named: Any) -> None:
            times.append(time.perf_counter())

    def batched(items: list[tuple[np.ndarray, int]]) -> dict[str, Tensor]:
        wave, lengths = collate([item[0] for item in items])
        return {
            "wave": wave,
            "lengths": lengths,
            "labels": torch.tensor([item[1] for item in items]),
        }

    clips = [(waveform.decode(u.path).samples, EMOTIONS.index(u.emotion)) for u in split.train]
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=_batch(recipe),
        num_train_epochs=1,
        learning_rate=recipe.options(SupervisedOptions).learning_rate,
        weight_decay=options.weight_decay,
        max_grad_norm=options.clip_norm,
        bf16=half,
        use_cpu=device.type == "cpu",
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_num_workers=0,
    )
    trainer = Trainer(
        model=_Wrapped(recipe, split),
        args=arguments,
        train_dataset=clips,
        data_collator=batched,
        callbacks=[Clock()],
    )
    trainer.remove_callback(PrinterCallback)  # it writes to stdout
    with flushed_denormals():  # as in our own loop
        trainer.train()
    return _batch(recipe) * (len(times) - WARM_UP) / (times[-1] - times[WARM_UP - 1])


@click.command("train")
@click.option("--encoder", default="compact", show_default=True, help="Name of the encoder.")
@click.option("--source", default="", help="Hub id, folder or file of a pretrained encoder.")
@number_option("--steps", 12, 1, 10_000, "Steps in a round.")
@number_option("--rounds", 3, 1, 1000, "Rounds of each, in turn.")
@number_option("--batch-size", 16, 2, 4096, "Clips in a batch.")
@number_option("--clip-seconds", 3.0, 0.5, 30, "Length of a clip.")
@THREADS
@JSON
def command(as_json: bool, clip_seconds: float, **values: Any) -> None:
    """Clips per second of training, beside transformers' Trainer on the same model."""
    print_figures(train(seconds=clip_seconds, **values), as_json)
