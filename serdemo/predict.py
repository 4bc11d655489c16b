"""From a recording to an answer: decode, find the speech, score windows in batches, sum up."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from serdemo import audio, checkpoint, checks
from serdemo.batches import collate
from serdemo.devices import pick_device
from serdemo.schema import Prediction, SerdemoError
from serdemo.stream import Stream
from serdemo.tally import Window

SHIPPED = "compact"
Source = str | Path | audio.Clip

_WINDOWS_AT_ONCE = 16
_FILES_AT_ONCE = 16
_SECONDS_AT_ONCE = 600.0  # of sound held in memory, but for a single longer file


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
        found: list[audio.Clip | SerdemoError] = []
        for source in sources:
            found.append(self._decode(source))
            seconds = sum(one.duration_s for one in found if isinstance(one, audio.Clip))
            if len(found) == _FILES_AT_ONCE or seconds > _SECONDS_AT_ONCE:
                yield from self._answer_all(found)
                found = []
        yield from self._answer_all(found)

    def _answer_all(
        self, found: Sequence[audio.Clip | SerdemoError]
    ) -> Iterator[Prediction | SerdemoError]:
        answers = iter(self._answer([one for one in found if isinstance(one, audio.Clip)]))
        for one in found:
            yield one if isinstance(one, SerdemoError) else next(answers)

    @staticmethod
    def _decode(source: Source) -> audio.Clip | SerdemoError:
        try:
            return source if isinstance(source, audio.Clip) else audio.decode(source)
        except SerdemoError as problem:
            return problem

    def stream(self, rate: int, **times: float) -> Stream:
        """A stream of sound at `rate` Hz whose windows are for `probabilities` to score.

        `times` are those of `Stream`.
        """
        return Stream(
            rate,
            labels=self.labels,
            unsure_below=self.unsure_below,
            detector=self.speech,
            **times,
        )

    def windows(self, clip: audio.Clip) -> list[Window]:
        """The windows by which a clip is answered, for `embeddings` and `Tally`."""
        return self._whole(clip).due()

    def _answer(self, clips: Sequence[audio.Clip]) -> list[Prediction]:
        streams = [self._whole(clip) for clip in clips]
        due = [(stream, window) for stream in streams for window in stream.due()]
        rows = self.probabilities([window.wave for _, window in due])
        for (stream, window), row in zip(due, rows, strict=True):
            stream.accept(window, row)
        return [
            stream.summary(clip.name, checks.warnings(clip, stream.speech))
            for clip, stream in zip(clips, streams, strict=True)
        ]

    def _whole(self, clip: audio.Clip) -> Stream:
        """The stream of a clip that has come to its end."""
        stream = self.stream(
            audio.SAMPLE_RATE, hop_s=audio.HOP_S, first_s=audio.WINDOW_S, keep_s=math.inf
        )
        stream.push(clip.samples)
        stream.finish()
        return stream

    def probabilities(
        self,
        waves: Sequence[NDArray[np.float32]],
        shifts: Sequence[NDArray[np.float32] | None] | None = None,
    ) -> NDArray[np.float64]:
        """Score windows of 16 kHz samples, each (N,), in batches of like length; returns (n, C).

        `shifts` holds for each window what to subtract from its embedding, (E,) or None.
        """
        embeddings = self.embeddings(waves)
        for row, shift in zip(embeddings, shifts or (), strict=False):
            if shift is not None:
                row -= shift
        return self.classify(embeddings)

    def classify(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probabilities (n, C) of embeddings (n, E)."""
        with self._lock, torch.inference_mode():
            logits = self.model.classify(torch.from_numpy(embeddings).to(self.device))
        # To the CPU first: not every device knows double precision.
        scaled = logits.cpu().double() / self.description.temperature
        return scaled.softmax(dim=1).numpy()

    def embeddings(self, waves: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Embed windows of 16 kHz samples, each (N,), in batches of like length; returns (n, E)."""
        rows = np.zeros((len(waves), self.model.options.embedding), np.float32)
        order = sorted(range(len(waves)), key=lambda i: len(waves[i]))
        for start in range(0, len(order), _WINDOWS_AT_ONCE):
            part = order[start : start + _WINDOWS_AT_ONCE]
            wave, lengths = collate([waves[i] for i in part])
            with self._lock, torch.inference_mode():
                found = self.model.embed(wave.to(self.device), lengths.to(self.device))
            rows[part] = found.float().cpu().numpy()
        return rows
