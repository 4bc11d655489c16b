"""From a recording to an answer: decode, find the speech, score windows in batches, sum up."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from serdemo import audio, checkpoint, checks
from serdemo.batches import collate
from serdemo.devices import pick_device
from serdemo.schema import Prediction, Segment, SerdemoError

SHIPPED = "compact"
Source = str | Path | audio.Clip

_WINDOWS_AT_ONCE = 16
_FILES_AT_ONCE = 16


def shipped(name: str = SHIPPED) -> Path:
    """The folder of a checkpoint that comes with serdemo; raises SerdemoError when there is none."""
    inside = Path(str(resources.files("serdemo"))) / "checkpoints" / name
    beside = Path(__file__).resolve().parent.parent / "checkpoints" / name
    for folder in (inside, beside):
        if folder.is_dir():
            return folder
    raise SerdemoError(f"This installation holds no checkpoint {name!r}; name one by its folder.")


class Predictor:
    """A checkpoint made ready to answer. Safe to call from several threads, one at a time inside.

    `checkpoint` is a folder, or None for the shipped model. Raises SerdemoError when the
    checkpoint cannot be read, UsageError for an unknown device.
    """

    def __init__(self, folder: str | Path | None = None, *, device: str = "auto") -> None:
        self.folder = shipped() if folder is None else Path(folder)
        self.device = pick_device(device)
        self.model, self.description = checkpoint.load(self.folder, self.device)
        self.labels = self.description.labels
        self.unsure_below = self.description.unsure_below
        self.speech = checks.SpeechDetector()
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """What the checkpoint calls itself."""
        return self.description.name

    def predict(self, source: Source, *, name: str | None = None) -> Prediction:
        """The answer for one file or clip; `name` is what the answer and messages call it.

        Raises SerdemoError when it cannot be read as sound.
        """
        clip = source if isinstance(source, audio.Clip) else audio.decode(source, name=name)
        return self._answer([clip])[0]

    def predict_many(self, sources: Iterable[Source]) -> Iterator[Prediction | SerdemoError]:
        """Answers in the order of the sources; a source that cannot be read gives its error."""
        remaining = iter(sources)
        while batch := list(islice(remaining, _FILES_AT_ONCE)):
            found: list[audio.Clip | SerdemoError] = [self._decode(source) for source in batch]
            answers = iter(self._answer([clip for clip in found if isinstance(clip, audio.Clip)]))
            for one in found:
                yield one if isinstance(one, SerdemoError) else next(answers)

    @staticmethod
    def _decode(source: Source) -> audio.Clip | SerdemoError:
        try:
            return source if isinstance(source, audio.Clip) else audio.decode(source)
        except SerdemoError as problem:
            return problem

    def _answer(self, clips: Sequence[audio.Clip]) -> list[Prediction]:
        spans = [audio.windows(len(clip.samples)) for clip in clips]
        waves = [
            clip.samples[start:stop]
            for clip, windows in zip(clips, spans, strict=True)
            for start, stop in windows
        ]
        rows = self.probabilities(waves)
        ends = np.cumsum([0, *map(len, spans)])
        return [
            self._sum_up(clip, windows, rows[ends[i] : ends[i + 1]])
            for i, (clip, windows) in enumerate(zip(clips, spans, strict=True))
        ]

    def probabilities(self, waves: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
        """Score windows of 16 kHz samples, each (N,), in batches of like length; returns (n, C)."""
        rows = np.zeros((len(waves), len(self.labels)))
        order = sorted(range(len(waves)), key=lambda i: len(waves[i]))
        for start in range(0, len(order), _WINDOWS_AT_ONCE):
            part = order[start : start + _WINDOWS_AT_ONCE]
            wave, lengths = collate([waves[i] for i in part])
            with self._lock, torch.inference_mode():
                logits = self.model.logits(wave.to(self.device), lengths.to(self.device))
            # To the CPU first: not every device knows double precision.
            scaled = logits.cpu().double() / self.description.temperature
            rows[part] = scaled.softmax(dim=1).numpy()
        return rows

    def _sum_up(
        self, clip: audio.Clip, spans: list[tuple[int, int]], rows: NDArray[np.float64]
    ) -> Prediction:
        """One answer of a clip's windows, each counting by the speech in it."""
        speech = self.speech.probabilities(clip.samples)
        share = np.array([checks.speech_share(speech, start, stop) for start, stop in spans])
        heard = checks.speech_s(speech) >= checks.NO_SPEECH_S
        weight = share if heard and share.any() else np.ones(len(spans))
        whole = weight @ rows / weight.sum()
        best = int(whole.argmax())
        return Prediction(
            file=clip.name,
            duration_s=round(clip.duration_s, 3),
            label=self.labels[best],
            confidence=float(whole[best]),
            unsure=not heard or bool(whole[best] < self.unsure_below),
            probabilities=self._named(whole),
            segments=tuple(
                Segment(
                    start_s=round(start / audio.SAMPLE_RATE, 3),
                    end_s=round(stop / audio.SAMPLE_RATE, 3),
                    label=self.labels[int(row.argmax())],
                    confidence=float(row.max()),
                    probabilities=self._named(row),
                    speech=round(float(part), 3) if heard else 0.0,
                )
                for (start, stop), row, part in zip(spans, rows, share, strict=True)
            ),
            warnings=checks.warnings(clip, speech),
        )

    def _named(self, row: NDArray[np.float64]) -> dict[str, float]:
        return {label: float(value) for label, value in zip(self.labels, row, strict=True)}
