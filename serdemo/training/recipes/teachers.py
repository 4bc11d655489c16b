"""Teachers of distillation: frozen models whose frames of whole clips are cached on disk.

Pooling and classifier cost next to nothing, so that they run on just the excerpt that a student
gets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from serdemo.audio.waveform import SAMPLE_RATE
from serdemo.data.array_cache import ArrayCache, CacheOptions, digest
from serdemo.data.dataset import Batch, ClipDataset, collate
from serdemo.data.held_out import held_out
from serdemo.data.splits import Split
from serdemo.nn import checkpoint, provenance
from serdemo.nn.checkpoint_files import read_tensors, weight_files
from serdemo.nn.description import Description, read_description
from serdemo.nn.encoders.whisper import infer_config
from serdemo.nn.model import HeadOptions, Model
from serdemo.nn.padding import length_mask
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.types import EMOTIONS

CHUNK_SAMPLES = 6 * SAMPLE_RATE  # longer clips are encoded in chunks, as in the teachers' training
BATCH_SIZE = 16  # chunks per forward pass

# Tensor names of the published teacher -> ours; the attention's last bias moves no softmax.
NAMES = {
    "lw": "encoder.layer_weights",
    "proj_in.0.": "encoder.bottleneck.0.",
    "enc.": "encoder.model.",
    "att.0.": "pooling.hidden.",
    "att.2.weight": "pooling.score.weight",
    "emb.": "embedding.",
    "cls.": "classifier.",
}
WITHOUT_EFFECT = "att.2.bias"


@dataclass(frozen=True, slots=True)
class TeacherTargets:
    """Targets of one teacher for a batch of excerpts.

    `probabilities` (B, C) at the distillation temperature, `embedding` (B, E), and `frames`
    (B, F, D) averaged to the student's frame rate.
    """

    probabilities: Tensor
    embedding: Tensor
    frames: Tensor


def describe(path: Path) -> Description:
    """The description of a teacher: a checkpoint folder, or a published file of Whisper with a head.

    A published file does not list its training speakers. Raises SerdemoError when it is neither.
    """
    if path.suffix == ".safetensors":
        return _published(path)[1]
    return read_description(path)


def load(path: Path) -> Model:
    """Load a teacher's model, in evaluation mode; raises SerdemoError where it is damaged."""
    if path.suffix != ".safetensors":
        return checkpoint.load(path)[0]
    state, description = _published(path)
    model = checkpoint.build(description, path.name)
    own = model.state_dict()
    for name in sorted({n for n in own if not n.startswith("projection.")} ^ set(state)):
        problem = "lacks" if name in own else "has an unexpected"
        raise SerdemoError(f"The teacher {path.name} {problem} tensor {name}.")
    for name, value in state.items():
        if value.shape != own[name].shape or not bool(torch.isfinite(value).all()):
            raise SerdemoError(f"The teacher {path.name} is damaged: {name} does not fit.")
    model.load_state_dict({n: v.float() for n, v in state.items()}, strict=False)
    return model.eval()


def _published(path: Path) -> tuple[dict[str, Tensor], Description]:
    """The tensors of a published file by our names, and its description."""
    state = {}
    for name, value in read_tensors(path).items():
        ours = next((n for n in NAMES if name.startswith(n)), None)
        if name != WITHOUT_EFFECT:
            state[name.replace(ours, NAMES[ours], 1) if ours else name] = value
    encoder = "encoder.model."
    bare = {n.removeprefix(encoder): v for n, v in state.items() if n.startswith(encoder)}
    config = {"architecture": infer_config(bare, path.name), "normalise": False}
    sizes = []
    for name in ("encoder.bottleneck.0.weight", "pooling.hidden.weight", "embedding.weight"):
        if name not in state or state[name].dim() != 2:
            raise SerdemoError(f"{path.name} is not a teacher: it lacks a matrix {name}.")
        sizes.append(len(state[name]))
    bottleneck, attention, embedding = sizes
    return state, Description(
        labels=EMOTIONS,
        encoder="whisper",
        encoder_options={"bottleneck": bottleneck},
        encoder_config=config,
        head_options={"attention": attention, "embedding": embedding},
        name=path.stem,
    )


def check_teacher(path: Path, labels: Sequence[str], split: Split) -> Description:
    """The description of a teacher that fits and was not trained on the speakers to be tested.

    Of a published file it is only known that its training left out the project's held-out speakers.
    Raises UsageError for an image pooling, a label it lacks or a speaker it may have been trained on.
    """
    description = describe(path)
    if HeadOptions.from_json(description.head_options).image:
        raise UsageError(
            f"The teacher {path.name} reads frames as an image, so it classifies whole clips only:"
            " take one with another --pooling."
        )
    if missing := sorted(set(labels) - set(description.labels)):
        raise UsageError(f"The teacher {path.name} does not know the emotion {missing[0]}.")
    provenance.refuse_overlap(description, f"The teacher {path.name}", split)
    if path.suffix == ".safetensors":
        unseen = {"valid": held_out("test") | held_out("selection"), "test": held_out("test")}
        for part, speakers in unseen.items():
            if others := sorted(set(split.speakers(part)) - speakers):
                raise UsageError(
                    f"The teacher {path.name} may have heard the speaker {others[0]}: use"
                    " --shipped-split."
                )
    return description


class Teacher:
    """A frozen model on `device` whose frames are cached in the folder of the options."""

    def __init__(
        self, path: Path, labels: Sequence[str], options: CacheOptions, device: torch.device
    ) -> None:
        self.model = load(path).to(device).requires_grad_(False)
        self.options, self.device = options, device
        weights = weight_files(path) if path.is_dir() else [path]
        self.identity = digest(*weights, f"frames of pieces of {CHUNK_SAMPLES} samples")
        self.columns = [self.model.labels.index(label) for label in labels]
        self.width: int = self.model.encoder.width  # type: ignore[assignment]
        self._keys: dict[Path, str] = {}

    @cached_property
    def cache(self) -> ArrayCache:
        """The cached frames, by number format: half formats round differently."""
        kind = self.device.type
        half = torch.is_autocast_enabled(kind)
        name = digest(self.identity, str(torch.get_autocast_dtype(kind) if half else "float32"))
        return ArrayCache(self.options.folder / f"teacher-{name[:16]}", self.options.cache_gb)

    def targets(
        self, clips: ClipDataset, batch: Batch, temperature: float, counts: Tensor, size: int
    ) -> TeacherTargets:
        """Targets for the excerpts of a batch of `clips`.

        `counts` (B,) are the student's valid frames, `size` its padded number of frames F;
        probabilities are softened by `temperature`.
        """
        arrays = self._frames(clips, batch.index.tolist())
        excerpts, edges = [], []
        for array, index, span, count in zip(
            arrays, batch.index.tolist(), batch.span.tolist(), counts.tolist(), strict=True
        ):
            rate = len(array) / clips.seconds(index)  # frames per second
            start, end = (min(max(x * rate, 0.0), len(array)) for x in span)
            first = min(int(start), len(array) - 1)
            last = max(first + 1, round(end))
            excerpts.append(torch.from_numpy(array[first:last].astype(np.float32)))
            grid = np.linspace(start - first, end - first, count + 1).round().astype(np.int64)
            edges.append(torch.from_numpy(grid))
        frames = pad_sequence(excerpts, batch_first=True).to(self.device)
        lengths = torch.tensor([len(excerpt) for excerpt in excerpts]).to(self.device)
        with torch.no_grad():
            embedding = self.model.pool(frames, length_mask(lengths, frames.shape[1]))
            logits = self.model.classify(embedding)[:, self.columns]
        aligned = pool_spans(frames, pad_sequence(edges, batch_first=True).to(self.device), size)
        return TeacherTargets((logits / temperature).softmax(1), embedding, aligned)

    def _frames(self, clips: ClipDataset, indices: Sequence[int]) -> list[np.ndarray]:
        """The (F, D) frames of whole clips, computed where they are not cached."""
        keys = [self._key(clips.utterances[index].path) for index in indices]
        missing = {key: i for key, i in zip(keys, indices, strict=True) if key not in self.cache}
        computed = zip(missing, self._encode(clips, list(missing.values())), strict=True)
        fresh = {key: self.cache.put(key, array) for key, array in computed}
        return [fresh[key] if key in fresh else self.cache.get(key) for key in keys]

    def _key(self, path: Path) -> str:
        if path not in self._keys:
            self._keys[path] = digest(path)
        return self._keys[path]

    @torch.no_grad()
    def _encode(self, clips: ClipDataset, indices: Sequence[int]) -> list[np.ndarray]:
        """The (F, D) frames of whole clips, encoded in chunks, in batches of like length."""
        chunks: list[np.ndarray] = []
        n_chunks = []
        for index in indices:
            wave = clips.wave(index)
            starts = range(0, max(1, len(wave)), CHUNK_SAMPLES)
            chunks += [wave[start : start + CHUNK_SAMPLES] for start in starts]
            n_chunks.append(len(starts))
        encoded: dict[int, np.ndarray] = {}
        order = sorted(range(len(chunks)), key=lambda number: len(chunks[number]))
        for start in range(0, len(order), BATCH_SIZE):
            numbers = order[start : start + BATCH_SIZE]
            padded, lengths = collate([chunks[number] for number in numbers])
            frames, mask = self.model.encoder(padded.to(self.device), lengths.to(self.device))
            rows = zip(numbers, frames.float().cpu(), mask.sum(1).tolist(), strict=True)
            encoded |= {number: row[: max(1, count)].numpy() for number, row, count in rows}
        in_order = iter(encoded[number] for number in range(len(chunks)))
        return [np.concatenate([next(in_order) for _ in range(count)]) for count in n_chunks]


def pool_spans(frames: Tensor, edges: Tensor, size: int) -> Tensor:
    """Means of spans of frames: (B, F, D) and (B, n + 1) integer edges -> (B, size, D).

    A span without a whole frame takes the frame it lies in. Rows past a clip's own spans are
    undefined.
    """
    sums = torch.nn.functional.pad(frames.cumsum(1), (0, 0, 1, 0))
    count = frames.shape[1]
    low = edges[:, :-1].clamp(0, count - 1)
    high = torch.maximum(edges[:, 1:], low + 1).clamp(max=count)

    def sums_at(positions: Tensor) -> Tensor:
        return sums.gather(1, positions[:, :, None].expand(-1, -1, frames.shape[2]))

    means = (sums_at(high) - sums_at(low)) / (high - low)[:, :, None]
    return torch.nn.functional.pad(means, (0, 0, 0, max(0, size - means.shape[1])))[:, :size]
