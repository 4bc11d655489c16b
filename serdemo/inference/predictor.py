"""Inference with a checkpoint: decode recordings, score their windows in batches, aggregate."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, softmax

from serdemo.audio import quality, vad, waveform
from serdemo.audio.waveform import Clip, Recording, RemoteFile, Samples, SoundFile
from serdemo.data.dataset import collate
from serdemo.inference import clip_batches
from serdemo.inference.aggregation import Window, aggregate
from serdemo.inference.clip_batches import CLIP_BATCH_SIZE, Scored
from serdemo.inference.clip_outputs import ClipOutput, EmbeddedClip
from serdemo.inference.novelty import Novelty
from serdemo.inference.stream import FIRST_S, HOP_S, WHOLE_S, Stream
from serdemo.nn import checkpoint
from serdemo.nn.checkpoint_files import bundled_checkpoint as bundled_checkpoint
from serdemo.nn.description import require_answers, require_own
from serdemo.nn.device import pick_device
from serdemo.nn.loading import load_model
from serdemo.nn.model import Model
from serdemo.nn.onnx_file import ONLY_WHOLE, is_onnx
from serdemo.nn.onnx_model import OnnxModel
from serdemo.nn.padding import length_mask
from serdemo.nn.transformers_model import TransformersModel
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import Prediction

Source = str | Path | SoundFile | RemoteFile | Clip
Result = TypeVar("Result")
FeatureFn = Callable[[Samples], NDArray[np.float32]]
Progress = Callable[[float, float | None], object]  # seconds done, and in all where that is known

WINDOW_BATCH_SIZE = 16
LONG_S = 300.0  # a longer recording is scored as its pieces come


class Embedder:
    """A checkpoint that turns recordings into embeddings and, with a classifier, probabilities.

    `folder` is the checkpoint or an ONNX file, None for the bundled one. `check_cancelled` runs before every batch
    and may raise to stop. `feature_fn(model)` returns a function from samples (N,) to cached encoder
    frames (F, D). `label_map` names the labels of a model of transformers. With `by_graph` a checkpoint that
    comes with serdemo answers by its ONNX graph where the device is the CPU: equal to 0.0001, with 200 MB less,
    and several threads at once. Safe to call from several
    threads; the network runs in one at a time. Raises SerdemoError when the checkpoint cannot be read,
    UsageError for an unknown device.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        device: str = "auto",
        check_cancelled: Callable[[], object] = lambda: None,
        feature_fn: Callable[[Model], FeatureFn] | None = None,
        label_map: Mapping[str, str] | None = None,
        by_graph: bool = False,
    ) -> None:
        self.check_cancelled = check_cancelled
        self.folder = bundled_checkpoint() if folder is None else Path(folder)
        on_cpu = is_onnx(self.folder) and device == "auto"
        self.device = pick_device("cpu" if on_cpu else device)
        self.model, self.description = load_model(
            self.folder, self.device, label_map, by_graph=by_graph and feature_fn is None
        )
        self._check()
        self.feature_fn = None if feature_fn is None else feature_fn(self.own_model)
        self.labels = self.description.labels
        self.unsure_below = self.description.unsure_below
        self.high_pass = not self.description.is_foreign  # as transformers' pipeline takes sound
        self.novelty = Novelty.from_json(self.description.novelty)
        self.speech = vad.SpeechDetector()
        self.window_s, self.whole_s, self.hop_s = waveform.WINDOW_S, WHOLE_S, waveform.HOP_S
        if isinstance(self.model, TransformersModel):
            self.whole_s = self.model.max_s
            self.window_s = min(self.window_s, self.whole_s)
            # A short window costs as much as the longest one there: none overlaps.
            self.hop_s = self.window_s if self.model.fixed_input else self.hop_s
        elif self.model.options.image:
            # An image holds a fixed number of seconds, in training and in inference.
            self.window_s = self.whole_s = self.model.options.image_seconds
        self._lock = threading.Lock()

    def _check(self) -> None:
        """Raise SerdemoError for a checkpoint that this class cannot use."""

    def open(
        self, source: str | Path | SoundFile | RemoteFile, name: str | None = None
    ) -> AbstractContextManager[Recording]:
        """Open a recording as the model takes it, see `open_recording`."""
        return waveform.open_recording(source, name=name, high_pass=self.high_pass)

    @property
    def n_outputs(self) -> int:
        """Numbers that `classify` gives for an embedding: of labels, or of dimensions."""
        return len(self.labels or self.description.dimensions)

    @property
    def name(self) -> str:
        """The checkpoint's name."""
        return self.description.name

    @property
    def own_model(self) -> Model:
        """The network of a checkpoint of serdemo, loaded at first use where its graph answers; raises
        SerdemoError for another model."""
        require_own(self.description)
        if isinstance(self.model, Model):
            return self.model
        if is_onnx(self.folder):
            raise SerdemoError(f"{self.folder.name} {ONLY_WHOLE}")
        return self._checkpoint

    @cached_property
    def _checkpoint(self) -> Model:
        return checkpoint.load(self.folder, self.device)[0]

    def embed_many(self, sources: Iterable[Source]) -> Iterator[ClipOutput | SerdemoError]:
        """Model output per source, in order; the error for a source that cannot be read."""
        return self.in_batches(sources, self.score_clips)

    def score_clips(self, clips: Sequence[Clip], *, segments: bool = False) -> list[ClipOutput]:
        """Score whole clips in batches: the one way from a recording to its scores.

        Without `segments` only the windows that count are scored: of a clip no longer than
        `whole_s`, the one that holds all of it, without voice activity detection. With `segments`
        the shorter windows of the timeline are scored too; the probabilities are the same.
        """
        return self.score_embedded(self.embed_clips(clips, segments=segments))

    def embed_clips(self, clips: Sequence[Clip], *, segments: bool = False) -> list[EmbeddedClip]:
        """Embeddings of the windows of whole clips, in batches; `segments` as in `score_clips`."""
        streams = [self._clip_stream(clip, segments) for clip in clips]
        windows = [tuple(stream.ready_windows()) for stream in streams]
        rows = self.embeddings([window.wave for window in chain.from_iterable(windows)])
        stops = np.cumsum([len(own) for own in windows])
        return [
            EmbeddedClip(stream, own, rows[stop - len(own) : stop])
            for stream, own, stop in zip(streams, windows, stops, strict=True)
        ]

    def score_embedded(
        self, clips: Sequence[EmbeddedClip], offset: NDArray[np.float32] | float = 0.0
    ) -> list[ClipOutput]:
        """Score embedded clips, once, with a speaker's `offset` (E,) subtracted."""
        outputs = []
        for clip in clips:
            probabilities = self.classify(clip.embeddings - offset)
            for window, row in zip(clip.windows, probabilities, strict=True):
                clip.stream.add_scores(window, row)
            outputs.append(
                ClipOutput(
                    clip.embedding,
                    aggregate(clip.windows, probabilities),
                    clip.windows,
                    clip.embeddings,
                    clip.stream,
                )
            )
        return outputs

    def _clip_stream(self, clip: Clip, segments: bool) -> Stream:
        """A finished stream that holds the clip."""
        stream = self.file_stream(segments)
        stream.push_decoded(clip.samples)
        stream.finish()
        return stream

    def file_stream(self, segments: bool) -> Stream:
        """A stream for a recording at 16 kHz, of which every segment is kept."""
        return self.stream(
            waveform.SAMPLE_RATE,
            hop_s=self.hop_s,
            first_s=self.window_s,
            keep_s=math.inf,
            segments=segments,
        )

    def score_pieces(
        self, pieces: Iterable[Samples], stream: Stream
    ) -> Iterator[tuple[Window, NDArray[np.float32], NDArray[np.float64]]]:
        """Score a recording as its pieces come, in bounded memory, and finish its stream: each window with
        its embedding (E,) and probabilities (C,)."""
        for piece in chain(pieces, [None]):
            if piece is None:
                stream.finish()
            else:
                stream.push_decoded(piece)
            if windows := stream.ready_windows():
                rows = self.embeddings([window.wave for window in windows])
                for window, row, shares in zip(windows, rows, self.classify(rows), strict=True):
                    stream.add_scores(window, shares)
                    yield window, row, shares

    def in_batches(
        self,
        sources: Iterable[Source],
        score: Callable[[Sequence[Clip]], list[Result]],
        score_long: Callable[[Recording], Result] | None = None,
        *,
        batch_size: int = CLIP_BATCH_SIZE,
        n_threads: int = 0,
    ) -> Iterator[Result | SerdemoError]:
        """Decode sources and apply `score` to up to `batch_size` clips at a time; errors keep their place.

        A recording longer than `LONG_S` goes to `score_long`, where there is one. `n_threads` decode ahead.
        """

        def load(source: Source) -> Clip | Scored[Result]:
            if isinstance(source, Clip):
                return source
            with self.open(source) as recording:
                if score_long is None:
                    return recording.collect()
                return recording.head(LONG_S) or Scored(score_long(recording))

        return clip_batches.in_batches(
            clip_batches.decoded(load, sources, n_threads), score, batch_size
        )

    def stream(
        self,
        rate: int,
        *,
        hop_s: float = HOP_S,
        first_s: float = FIRST_S,
        keep_s: float = 60.0,
        segments: bool = True,
    ) -> Stream:
        """A `Stream` at `rate` Hz with this checkpoint's labels, threshold and window length.

        `hop_s` and `first_s` are limited to the length of a window, `window_s`.
        """
        return Stream(
            rate,
            labels=self.labels,
            dimensions=self.description.dimensions,
            unsure_below=self.unsure_below,
            detector=self.speech,
            hop_s=min(hop_s, self.window_s),
            first_s=min(first_s, self.window_s),
            window_s=self.window_s,
            whole_s=self.whole_s,
            keep_s=keep_s,
            segments=segments,
            high_pass=self.high_pass,
        )

    def classify(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probabilities (n, C) of embeddings (n, E), with the checkpoint's temperature, which grows with
        their novelty where that was measured; the values (n, D) of a regression."""
        scaled = self.logits(embeddings) / self.description.temperature
        if not self.labels:
            return scaled
        if self.description.output == "sigmoid":
            shares: NDArray[np.float64] = expit(scaled)
            return shares
        if self.novelty is not None:
            scaled /= self.novelty.temperatures(embeddings)[:, None]
        probabilities: NDArray[np.float64] = softmax(scaled, axis=1)
        return probabilities

    def logits(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        """Logits (n, C) of embeddings (n, E)."""
        with self._lock, torch.inference_mode():
            logits = self.model.classify(torch.from_numpy(embeddings).to(self.device))
        # To the CPU first: not every device knows double precision.
        return logits.cpu().double().numpy()

    def embeddings(self, waves: Sequence[Samples]) -> NDArray[np.float32]:
        """Embeddings (n, E) of windows of 16 kHz samples, each (N,), in batches of like length."""
        rows = np.zeros((len(waves), self.model.options.embedding), np.float32)
        order = sorted(range(len(waves)), key=lambda i: len(waves[i]))
        for start in range(0, len(order), WINDOW_BATCH_SIZE):
            self.check_cancelled()
            batch = order[start : start + WINDOW_BATCH_SIZE]
            rows[batch] = self._embed_batch([waves[i] for i in batch]).float().cpu().numpy()
        return rows

    def _embed_batch(self, waves: Sequence[Samples]) -> torch.Tensor:
        """Embeddings (B, E) of windows, from cached frames where there is a `feature_fn`."""
        arrays = waves if self.feature_fn is None else [self.feature_fn(wave) for wave in waves]
        padded, lengths = (tensor.to(self.device) for tensor in collate(arrays))
        one_at_a_time = nullcontext() if isinstance(self.model, OnnxModel) else self._lock
        with one_at_a_time, torch.inference_mode():
            if self.feature_fn is None:
                return self.model.embed(padded, lengths)
            return self.own_model.pool(padded, length_mask(lengths, padded.shape[1]))

    def probabilities(self, waves: Sequence[Samples]) -> NDArray[np.float64]:
        """Probabilities (n, C) of windows of 16 kHz samples, each (N,)."""
        return self.classify(self.embeddings(waves))


class Predictor(Embedder):
    """A checkpoint that recognises emotions, or gives the values of dimensions such as arousal.

    Raises SerdemoError, beside what `Embedder` raises, when the checkpoint has no classifier.
    """

    def _check(self) -> None:
        require_answers(self.description)

    def predict(
        self,
        source: Source,
        *,
        name: str | None = None,
        progress: Progress = lambda done, total: None,
    ) -> Prediction:
        """Predict one file or clip; `name` is used for it in the prediction and in messages.

        Memory is bounded for any length. Raises SerdemoError when it cannot be read as sound.
        """
        if isinstance(source, Clip):
            return self._predict_clips([source])[0]
        with self.open(source, name=name) as recording:
            return self.predict_recording(recording, progress)

    def predict_recording(
        self, recording: Recording, progress: Progress = lambda done, total: None
    ) -> Prediction:
        """Predict a recording that is being decoded."""
        clip = recording.head(LONG_S)
        if clip is None:
            return self._predict_long(recording, progress)
        progress(clip.duration_s, clip.duration_s)
        return self._predict_clips([clip])[0]

    def predict_many(
        self,
        sources: Iterable[Source],
        progress: Progress = lambda done, total: None,
        **batches: int,
    ) -> Iterator[Prediction | SerdemoError]:
        """Prediction per source, in order; the error for one that cannot be read. `progress` is that
        within a long recording; `batches` are the sizes that `in_batches` takes."""
        return self.in_batches(
            sources,
            self._predict_clips,
            lambda recording: self._predict_long(recording, progress),
            **batches,
        )

    def _predict_long(self, recording: Recording, progress: Progress) -> Prediction:
        """Predict a recording as its pieces come: the answer of a clip, in bounded memory."""
        stream, meter = self.file_stream(segments=True), quality.PowerMeter()

        def pieces() -> Iterator[Samples]:
            for piece in recording.pieces:
                meter.push(piece)
                yield piece
                progress(stream.received_s, recording.duration_s)

        for _ in self.score_pieces(pieces(), stream):
            pass
        progress(stream.received_s, stream.received_s)
        warnings = quality.long_warnings(recording, meter, stream.speech)
        return stream.result(recording.name, warnings)

    def _predict_clips(self, clips: Sequence[Clip]) -> list[Prediction]:
        outputs = self.score_clips(clips, segments=True)
        return [
            output.stream.result(clip.name, quality.warnings(clip, output.stream.speech))
            for clip, output in zip(clips, outputs, strict=True)
        ]
