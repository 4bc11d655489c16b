"""The endpoints `/predict`, `/embed`, `/compare` and `/models`, which are MCP tools too.

gradio makes their documentation from the docstrings, and their types from the annotations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import gradio as gr

from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.types import Prediction
from serdemo.ui.api import calls
from serdemo.ui.api.files import discard, received
from serdemo.ui.shell.page import Page
from serdemo.ui.shell.uploads import Recording, check_size
from serdemo.ui.shell.zerogpu import page_device

if TYPE_CHECKING:
    from serdemo.inference.predictor import Embedder, Predictor
    from serdemo.runs.registry.entry import Entry

MAX_CALLS = 2  # at once of all programs; the page's own calls do not wait for them
ONE_RECORDING = "One recording tells nothing of a person: send two or more of the same."


class SegmentEntry(TypedDict):
    """A stretch of a recording; `speech` is the share of it that is speech."""

    start_s: float
    end_s: float
    label: str
    confidence: float
    probabilities: dict[str, float]
    speech: float


class PredictionEntry(TypedDict, total=False):
    """The prediction for a file, or `error`, the sentence why there is none."""

    file: str
    duration_s: float
    label: str
    confidence: float
    unsure: bool
    probabilities: dict[str, float]
    segments: list[SegmentEntry]
    warnings: list[str]
    dimensions: dict[str, float]
    error: str


class EmbeddingEntry(TypedDict, total=False):
    """The embedding of a file, or `error`, the sentence why there is none."""

    file: str
    embedding: list[float]
    model: str
    error: str


class ComparisonEntry(TypedDict, total=False):
    """The predictions of both models for a file, or `error`, the sentence why there is none."""

    file: str
    a: PredictionEntry
    b: PredictionEntry
    agree: bool
    error: str


class ModelEntry(TypedDict):
    """A model that can answer."""

    key: str
    name: str
    default: bool
    labels: list[str]
    encoder: str
    parameters: int
    size_mb: float
    licence: str
    trained_on: dict[str, int]
    figures: dict[str, dict]


class Endpoints:
    """The functions that programs call on a page."""

    def __init__(self, page: Page) -> None:
        self.page = page

    @calls.answered
    def predict(
        self,
        request: gr.Request,
        files: list[gr.FileData],
        same_speaker: bool = False,
        model: str = "",
    ) -> list[PredictionEntry]:
        """Recognise which emotion the voice in each audio file sounds like.

        For each file: the most probable label with its confidence, the probability of every label, the
        course over time as segments, and warnings about the sound (too quiet, clipped, no speech). If
        `unsure` is true, take the two most probable labels and not `label` alone. A label says how a
        voice sounds to listeners; it does not say what the person feels, and must not be used to judge
        people. Takes up to 50 files of up to 20 MB each. A file that cannot be answered has an `error`
        and nothing else. Files are deleted once they are read.

        Args:
            files: audio files, uploaded to this server.
            same_speaker: whether all files are of one person; the model then gets used to that voice.
            model: key of the model, as `models` lists them; empty for the default.

        Returns:
            an entry for each file, in order, as `serdemo predict --json` gives it.
        """
        recordings = received(files)
        with _discarding(recordings):
            calls.require("same_speaker", same_speaker, bool)
            if same_speaker and len(recordings) < 2:
                raise UsageError(ONE_RECORDING)
            predictor = self.predictor(model, request)
            self._refuse_large(recordings, request)
            answers = _answers(predictor, recordings, same_speaker)
            return [
                prediction_entry(recording.name, answer)
                for recording, answer in zip(recordings, answers, strict=True)
            ]

    @calls.answered
    def embed(
        self, request: gr.Request, files: list[gr.FileData], model: str = ""
    ) -> list[EmbeddingEntry]:
        """Embed the voice in each audio file as one vector, as `serdemo embed` does.

        Vectors of one model can be compared with each other, for search, clusters or classifiers of your
        own. Takes up to 50 files of up to 20 MB each, which are deleted once they are read.

        Args:
            files: audio files, uploaded to this server.
            model: key of the model, as `models` lists them; empty for the default; `speaker` tells voices apart.

        Returns:
            an entry for each file, in order: its `embedding`, a list of numbers, and the name of the `model`.
        """
        recordings = received(files)
        with _discarding(recordings):
            embedder = self._embedder(model, request)
            self._refuse_large(recordings, request)
            return [_embedding(embedder, recording) for recording in recordings]

    @calls.answered
    def compare(
        self, request: gr.Request, files: list[gr.FileData], a: str, b: str = ""
    ) -> list[ComparisonEntry]:
        """Predict audio files by two models, side by side.

        Takes up to 50 files of up to 20 MB each, which are deleted once they are read.

        Args:
            files: audio files, uploaded to this server.
            a: key of the first model, as `models` lists them.
            b: key of the second model; empty for the default.

        Returns:
            an entry for each file, in order: the predictions `a` and `b`, and whether they `agree` on the label.
        """
        recordings = received(files)
        with _discarding(recordings):
            first, second = (self.predictor(key, request) for key in (a, b))
            self._refuse_large(recordings, request)
            entries: list[ComparisonEntry] = []
            for recording in recordings:
                name = recording.name
                try:
                    pair = [model.predict(recording.source) for model in (first, second)]
                except SerdemoError as problem:
                    entries.append({"file": name, "error": str(problem)})
                else:
                    agree = pair[0].has_speech and pair[0].label == pair[1].label
                    sides = [prediction_entry(name, prediction) for prediction in pair]
                    entries.append({"file": name, "a": sides[0], "b": sides[1], "agree": agree})
                discard(recording)
            return entries

    @calls.answered
    def models(self, request: gr.Request) -> list[ModelEntry]:
        """List the models that can answer here.

        For each: the `key` by which the other calls name it, whether it is the `default`, its labels,
        licence, size in MB, the number of speakers of each corpus it was trained on, and `figures`: for
        each test corpus the UAR (mean recall over the labels, from 0 to 1), its 95 % interval, and whether
        the speakers were unseen in training.
        """
        from serdemo.runs.registry.summary import summarise

        default = self.page.model.get()
        rows = [
            (summarise(entry), entry.folder.resolve() == default.folder.resolve())
            for entry in self._entries(request)
        ]
        if not any(is_default for _, is_default in rows):
            own = summarise(_folder_entry(default.name, default.folder))
            rows.insert(0, (replace(own, key=""), True))  # its key would be a path of this machine
        return [
            {
                "key": row.key,
                "name": row.name,
                "default": is_default,
                "labels": list(row.labels),
                "encoder": row.encoder,
                "parameters": row.parameters,
                "size_mb": row.size_mb,
                "licence": row.licence,
                "trained_on": dict(row.trained_on or {}),
                "figures": row.to_json()["figures"] or {},
            }
            for row, is_default in rows
            if row.labels
        ]

    def _entries(self, request: gr.Request) -> list[Entry]:
        """The models that a caller reaches: all for a program on this machine, else the shipped ones."""
        from serdemo.ui.shell.visitor_store import registry_for

        return registry_for(None if self._is_local(request) else "").entries()

    def _is_local(self, request: gr.Request) -> bool:
        """Whether the caller is a program on this machine, whose models and file sizes have no limits."""
        return self.page.is_local_program(request)

    def _folder(self, key: str, request: gr.Request) -> Path:
        """The folder of a model by its key; raises UsageError where there is none."""
        calls.require("model", key, str)
        for entry in self._entries(request):
            if entry.key == key:
                return entry.folder
        raise UsageError(f"There is no model {key[:80]!r} here: /models lists those there are.")

    def predictor(self, key: str, request: gr.Request) -> Predictor:
        """The model of a key, the page's own for an empty one."""
        if key == "":
            return self.page.model.get()
        return self.page.visitors.at(self._folder(key, request))

    def _embedder(self, key: str, request: gr.Request) -> Embedder:
        """The same for embeddings, which models without a classifier give too."""
        from serdemo.inference.predictor import Embedder
        from serdemo.nn.description import read_description

        if key == "" or read_description(folder := self._folder(key, request)).labels:
            return self.predictor(key, request)
        return Embedder(folder, device=page_device(), by_graph=True)

    def _refuse_large(self, recordings: list[Recording], request: gr.Request) -> None:
        """Replace a visitor's recordings above the page's size by refusals, and delete them."""
        if self._is_local(request):
            recordings[:] = [replace(recording, unlimited=True) for recording in recordings]
            return
        for place, recording in enumerate(recordings):
            try:
                if recording.path:
                    check_size(recording.path, recording.name)
            except SerdemoError as problem:
                discard(recording)
                recordings[place] = replace(recording, path=None, refusal=str(problem))


def build(endpoints: Endpoints) -> None:
    """Add the endpoints to the page that is being laid out."""
    for function in (endpoints.predict, endpoints.embed, endpoints.compare, endpoints.models):
        calls.publish(
            endpoints.page, function, concurrency_id="programs", concurrency_limit=MAX_CALLS
        )


def _discarding(recordings: Sequence[Recording]) -> ExitStack:
    """A context after which no file of a call is left."""
    stack = ExitStack()
    for recording in recordings:
        stack.callback(discard, recording)
    return stack


def _answers(
    predictor: Predictor, recordings: Sequence[Recording], same_speaker: bool
) -> Iterator[Prediction | SerdemoError]:
    """The answer for each recording, as `serdemo predict` computes it."""
    from serdemo.inference.same_speaker import predict_same_speaker

    sources = [recording.source for recording in recordings if recording.path]
    found = iter(
        predict_same_speaker(predictor, sources).predictions
        if same_speaker
        else predictor.predict_many(sources)
    )
    for recording in recordings:
        yield next(found) if recording.path else SerdemoError(recording.refusal)
        discard(recording)


def prediction_entry(name: str, answer: Prediction | SerdemoError) -> PredictionEntry:
    """What a program gets for a file of that name."""
    if isinstance(answer, SerdemoError):
        return {"file": name, "error": str(answer)}
    entry: PredictionEntry = {**answer.to_json(), "file": name}  # type: ignore[typeddict-item]
    return entry


def _embedding(embedder: Embedder, recording: Recording) -> EmbeddingEntry:
    from serdemo.inference.recording_embeddings import embed_recordings

    name = recording.name
    try:
        (found,) = embed_recordings(embedder, [recording.source])
    except SerdemoError as problem:
        found = problem
    discard(recording)
    if isinstance(found, SerdemoError):
        return {"file": name, "error": str(found)}
    return {"file": name, "embedding": found.embedding.tolist(), "model": embedder.name}


def _folder_entry(name: str, folder: Path) -> Entry:
    from serdemo.runs.registry.entry import Entry

    return Entry(name, "folder", folder)
