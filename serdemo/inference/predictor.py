"""From a recording to an answer: decode, find the speech, score windows in batches, sum up."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from serdemo.audio import quality, vad, waveform
from serdemo.data.dataset import collate
from serdemo.inference.aggregation import Window, WindowAggregator
from serdemo.inference.stream import FIRST_S, HOP_S, WHOLE_S, Stream
from serdemo.nn import checkpoint
from serdemo.nn.checkpoint import Description
from serdemo.nn.checkpoint_files import bundled_checkpoint as bundled_checkpoint
from serdemo.nn.device import pick_device
from serdemo.nn.model import Model
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import Prediction

Source = str | Path | waveform.Clip
Answer = TypeVar("Answer")
FeatureFn = Callable[[NDArray[np.float32]], NDArray[np.float32]]

_WINDOWS_AT_ONCE = 16
_FILES_AT_ONCE = 16
_SECONDS_AT_ONCE = 600.0  # of sound held in memory, but for a single longer file


def answering(description: Description) -> Description:
    """The description itself; raises SerdemoError for a checkpoint without an emotion classifier."""
    if not description.labels:
        raise SerdemoError(
            f"{description.name} embeds voices and has no emotion classifier: choose another"
            " checkpoint to answer, or use this one with embed."
        )
    return description


@dataclass(frozen=True, slots=True, eq=False)
class ClipOutput:
    """One recording: its `embedding` (E,) float32 and the `probabilities` (C,) of the labels, if any.

    Both are those of a short sound as a whole, else the mean over its windows by the speech in them.
    """

    embedding: NDArray[np.float32]
    probabilities: NDArray[np.float64]


class Embedder:
    """A checkpoint made ready to hear. Safe to call from several threads, one at a time inside.

    `folder` is a checkpoint's, or None for the shipped model. `check_cancelled` is called before each batch, and
    what it raises ends the hearing. `feature_fn` gives, for the model, what it reads of a sound: (N,)
    samples -> the (F, D) frames that its encoder made of them before. Raises SerdemoError when the
    checkpoint cannot be read, UsageError for an unknown device.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        device: str = "auto",
        check_cancelled: Callable[[], object] = lambda: None,
        feature_fn: Callable[[Model], FeatureFn] = lambda model: lambda samples: samples,
    ) -> None:
        self.check_cancelled = check_cancelled
        self.folder = bundled_checkpoint() if folder is None else Path(folder)
        self.device = pick_device(device)
        self.model, self.description = checkpoint.load(self.folder, self.device)
        self._check()
        self.read = feature_fn(self.model)
        self.labels = self.description.labels
        self.unsure_below = self.description.unsure_below
        self.speech = vad.SpeechDetector()
        heads = self.model.options
        # An image holds just so much sound, whether learnt from or answered.
        self.window_s, self.whole_s = waveform.WINDOW_S, WHOLE_S
        if heads.image:
            self.window_s = self.whole_s = heads.image_seconds
        self._lock = threading.Lock()

    def _check(self) -> None:
        """Raise SerdemoError for a checkpoint that this cannot use: here there is none."""

    @property
    def name(self) -> str:
        """What the checkpoint calls itself."""
        return self.description.name

    def embed_many(self, sources: Iterable[Source]) -> Iterator[ClipOutput | SerdemoError]:
        """What is heard, in the order of the sources; one that cannot be read gives its error."""
        return self._each(sources, self._hear)

    def _each(
        self, sources: Iterable[Source], answer: Callable[[Sequence[waveform.Clip]], list[Answer]]
    ) -> Iterator[Answer | SerdemoError]:
        """Answers to several sources at a time."""
        found: list[waveform.Clip | SerdemoError] = []

        def answered() -> Iterator[Answer | SerdemoError]:
            clips = iter(answer([one for one in found if isinstance(one, waveform.Clip)]))
            for one in found:
                yield one if isinstance(one, SerdemoError) else next(clips)

        for source in sources:
            found.append(self._decode(source))
            seconds = sum(one.duration_s for one in found if isinstance(one, waveform.Clip))
            if len(found) == _FILES_AT_ONCE or seconds > _SECONDS_AT_ONCE:
                yield from answered()
                found = []
        yield from answered()

    @staticmethod
    def _decode(source: Source) -> waveform.Clip | SerdemoError:
        try:
            return source if isinstance(source, waveform.Clip) else waveform.decode(source)
        except SerdemoError as problem:
            return problem

    def _hear(self, clips: Sequence[waveform.Clip]) -> list[ClipOutput]:
        counted = [self._counted(clip) for clip in clips]
        embeddings = self.embeddings([window.wave for windows in counted for window in windows])
        rows = zip(embeddings, self.classify(embeddings), strict=True)
        heard = []
        for windows in counted:
            middle, said = WindowAggregator(embeddings.shape[1]), WindowAggregator(len(self.labels))
            for window in windows:
                embedding, probabilities = next(rows)
                middle.add(window, embedding)
                said.add(window, probabilities)
            # A sound that has come to its end has a window.
            assert middle.answer is not None and said.answer is not None
            heard.append(ClipOutput(middle.answer.astype(np.float32), said.answer))
        return heard

    def stream(
        self, rate: int, *, hop_s: float = HOP_S, first_s: float = FIRST_S, keep_s: float = 60.0
    ) -> Stream:
        """A stream of sound at `rate` Hz whose windows are for `probabilities` to score.

        The times are those of `Stream`, none longer than a window of this model, `window_s`.
        """
        return Stream(
            rate,
            labels=self.labels,
            unsure_below=self.unsure_below,
            detector=self.speech,
            hop_s=min(hop_s, self.window_s),
            first_s=min(first_s, self.window_s),
            window_s=self.window_s,
            whole_s=self.whole_s,
            keep_s=keep_s,
        )

    def windows(self, clip: waveform.Clip) -> list[Window]:
        """The windows by which a clip is answered, for `embeddings` and `Tally`."""
        return self._whole(clip).due()

    def _counted(self, clip: waveform.Clip) -> list[Window]:
        """Those of its windows that count: where one holds all of a sound, it alone, whose speech need
        not be looked for."""
        size = len(clip.samples)
        if size <= round(self.whole_s * waveform.SAMPLE_RATE):
            return [Window(0, size, clip.samples, 1.0, whole=True)]
        return self.windows(clip)

    def _whole(self, clip: waveform.Clip) -> Stream:
        """The stream of a clip that has come to its end."""
        stream = self.stream(
            waveform.SAMPLE_RATE, hop_s=waveform.HOP_S, first_s=self.window_s, keep_s=math.inf
        )
        stream.push(clip.samples)
        stream.finish()
        return stream

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
            self.check_cancelled()
            part = order[start : start + _WINDOWS_AT_ONCE]
            wave, lengths = collate([self.read(waves[i]) for i in part])
            with self._lock, torch.inference_mode():
                found = self.model.embed(wave.to(self.device), lengths.to(self.device))
            rows[part] = found.float().cpu().numpy()
        return rows


class Predictor(Embedder):
    """A checkpoint made ready to answer.

    Raises SerdemoError, beside what `Embedder` raises, when the checkpoint has no classifier.
    """

    def _check(self) -> None:
        answering(self.description)

    def predict(self, source: Source, *, name: str | None = None) -> Prediction:
        """The answer for one file or clip; `name` is what the answer and messages call it.

        Raises SerdemoError when it cannot be read as sound.
        """
        clip = source if isinstance(source, waveform.Clip) else waveform.decode(source, name=name)
        return self._answer([clip])[0]

    def predict_many(self, sources: Iterable[Source]) -> Iterator[Prediction | SerdemoError]:
        """Answers in the order of the sources; a source that cannot be read gives its error."""
        return self._each(sources, self._answer)

    def _answer(self, clips: Sequence[waveform.Clip]) -> list[Prediction]:
        streams = [self._whole(clip) for clip in clips]
        due = [(stream, window) for stream in streams for window in stream.due()]
        rows = self.probabilities([window.wave for _, window in due])
        for (stream, window), row in zip(due, rows, strict=True):
            stream.accept(window, row)
        return [
            stream.summary(clip.name, quality.warnings(clip, stream.speech))
            for clip, stream in zip(clips, streams, strict=True)
        ]

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
