"""Teachers: frozen models that answer for any stretch of a clip, heard once and kept on disk.

What is kept are the frames of whole clips, before the pooling. The pooling and what follows cost
next to nothing, so that a teacher answers for just the stretch that a student hears.
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
from serdemo.nn.checkpoint_files import WEIGHTS, read_tensors
from serdemo.nn.description import Description, read_description
from serdemo.nn.encoders.whisper import infer_config
from serdemo.nn.model import HeadOptions, Model
from serdemo.nn.padding import length_mask
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import recovered_path
from serdemo.schema.types import EMOTIONS

CHUNK_SAMPLES = (
    6 * SAMPLE_RATE
)  # longer clips are heard in pieces, as teachers are trained on short ones
BATCH_SIZE = 16  # pieces in one forward pass

# How the published teacher's tensors are called here; the last bias moves no softmax.
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
    """What a teacher says of a batch: softened `probabilities` (B, C), `embedding` (B, E) and
    `frames` (B, F, D) in step with the student's."""

    probabilities: Tensor
    embedding: Tensor
    frames: Tensor


def describe(where: Path) -> Description:
    """What a teacher is: a checkpoint folder, or a published file of Whisper with its head.

    Such a file does not say whom it heard. Raises SerdemoError when it is neither.
    """
    if where.suffix == ".safetensors":
        return _published(where)[1]
    return read_description(where)


def load(where: Path) -> Model:
    """The teacher's model, in evaluation mode; raises SerdemoError in a sentence."""
    if where.suffix != ".safetensors":
        return checkpoint.load(where)[0]
    state, description = _published(where)
    model = checkpoint.build(description, where.name)
    own = model.state_dict()
    for name in sorted({n for n in own if not n.startswith("projection.")} ^ set(state)):
        problem = "lacks" if name in own else "has an unexpected"
        raise SerdemoError(f"The teacher {where.name} {problem} tensor {name}.")
    for name, value in state.items():
        if value.shape != own[name].shape or not bool(torch.isfinite(value).all()):
            raise SerdemoError(f"The teacher {where.name} is damaged: {name} does not fit.")
    model.load_state_dict({n: v.float() for n, v in state.items()}, strict=False)
    return model.eval()


def _published(path: Path) -> tuple[dict[str, Tensor], Description]:
    """A published file's tensors by our names, and what they make up."""
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
    reduce, attention, embedding = sizes
    return state, Description(
        labels=EMOTIONS,
        encoder="whisper",
        encoder_options={"bottleneck": reduce},
        encoder_config=config,
        head_options={"attention": attention, "embedding": embedding},
        name=path.stem,
    )


def check(where: Path, labels: Sequence[str], split: Split) -> Description:
    """The teacher's description, once it is sure to fit and to have heard none of those tested.

    Of a published file it is known only that it never heard the speakers that the project keeps
    out. Raises UsageError for a head that answers no stretches, labels it does not know or a speaker
    it may have heard.
    """
    told = describe(where)
    if HeadOptions.from_json(told.head_options).image:
        raise UsageError(
            f"The teacher {where.name} sees its frames as an image, so it answers for whole clips"
            " alone: take one with another --pooling."
        )
    if missing := sorted(set(labels) - set(told.labels)):
        raise UsageError(f"The teacher {where.name} does not know the emotion {missing[0]}.")
    provenance.refuse_overlap(told, f"The teacher {where.name}", split)
    if where.suffix == ".safetensors":
        apart = {"valid": held_out("test") | held_out("selection"), "test": held_out("test")}
        for part, unheard in apart.items():
            if strange := sorted(set(split.speakers(part)) - unheard):
                raise UsageError(
                    f"The teacher {where.name} may have heard the speaker {strange[0]}: use"
                    " --shipped-split."
                )
    return told


class Teacher:
    """A frozen model on `device`, its frames kept in the folder that the options name."""

    def __init__(
        self, where: Path, labels: Sequence[str], options: CacheOptions, device: torch.device
    ) -> None:
        self.model = load(where).to(device).requires_grad_(False)
        self.options, self.device = options, device
        weights = recovered_path(where.resolve()) / WEIGHTS if where.is_dir() else where
        self.identity = digest(weights, f"frames of pieces of {CHUNK_SAMPLES} samples")
        self.columns = [self.model.labels.index(label) for label in labels]
        self.width: int = self.model.encoder.width  # type: ignore[assignment]
        self._keys: dict[Path, str] = {}

    @cached_property
    def cache(self) -> ArrayCache:
        """Its frames on disk, by number format: half formats round differently."""
        kind = self.device.type
        half = torch.is_autocast_enabled(kind)
        name = digest(self.identity, str(torch.get_autocast_dtype(kind) if half else "float32"))
        return ArrayCache(self.options.folder / f"teacher-{name[:16]}", self.options.cache_gb)

    def targets(
        self, clips: ClipDataset, batch: Batch, temperature: float, counts: Tensor, size: int
    ) -> TeacherTargets:
        """What it says of the stretches of a batch, for a student with `counts` (B,) of `size`
        frames; probabilities are softened by `temperature`."""
        arrays = self._frames(clips, batch.index.tolist())
        parts, grids = [], []
        for array, index, span, count in zip(
            arrays, batch.index.tolist(), batch.span.tolist(), counts.tolist(), strict=True
        ):
            rate = len(array) / clips.seconds(index)  # frames a second
            low, high = (min(max(x * rate, 0.0), len(array)) for x in span)
            first = min(int(low), len(array) - 1)
            last = max(first + 1, round(high))
            parts.append(torch.from_numpy(array[first:last].astype(np.float32)))
            edges = np.linspace(low - first, high - first, count + 1).round().astype(np.int64)
            grids.append(torch.from_numpy(edges))
        frames = pad_sequence(parts, batch_first=True).to(self.device)
        mask = length_mask(
            torch.tensor([len(part) for part in parts]).to(self.device), frames.shape[1]
        )
        with torch.no_grad():
            embedding = self.model.pool(frames, mask)
            logits = self.model.classify(embedding)[:, self.columns]
        in_step = pool_spans(frames, pad_sequence(grids, batch_first=True).to(self.device), size)
        return TeacherTargets((logits / temperature).softmax(1), embedding, in_step)

    def _frames(self, clips: ClipDataset, indices: Sequence[int]) -> list[np.ndarray]:
        """The (F, D) frames of whole clips, heard now where they are not kept."""
        keys = [self._key(clips.utterances[index].path) for index in indices]
        missing = {key: i for key, i in zip(keys, indices, strict=True) if key not in self.cache}
        fresh = dict(zip(missing, self._listen(clips, list(missing.values())), strict=True))
        kept = {key: self.cache.put(key, array) for key, array in fresh.items()}
        return [kept[key] if key in kept else self.cache.get(key) for key in keys]

    def _key(self, path: Path) -> str:
        if path not in self._keys:
            self._keys[path] = digest(path)
        return self._keys[path]

    @torch.no_grad()
    def _listen(self, clips: ClipDataset, indices: Sequence[int]) -> list[np.ndarray]:
        pieces: list[tuple[int, np.ndarray]] = []
        for row, index in enumerate(indices):
            wave = clips.wave(index)
            pieces += [
                (row, wave[at : at + CHUNK_SAMPLES])
                for at in range(0, max(1, len(wave)), CHUNK_SAMPLES)
            ]
        heard: dict[int, np.ndarray] = {}
        order = sorted(range(len(pieces)), key=lambda n: len(pieces[n][1]))
        for start in range(0, len(order), BATCH_SIZE):
            some = order[start : start + BATCH_SIZE]
            padded, lengths = collate([pieces[n][1] for n in some])
            frames, mask = self.model.encoder(padded.to(self.device), lengths.to(self.device))
            for n, own, count in zip(some, frames.float().cpu(), mask.sum(1).tolist(), strict=True):
                heard[n] = own[: max(1, count)].numpy()
        parts: list[list[np.ndarray]] = [[] for _ in indices]
        for n, (row, _) in enumerate(pieces):
            parts[row].append(heard[n])
        return [np.concatenate(part) for part in parts]


def pool_spans(frames: Tensor, edges: Tensor, size: int) -> Tensor:
    """Means of stretches of frames: (B, F, D), (B, n + 1) whole edges -> (B, size, D).

    A stretch that holds no whole frame takes the one it lies in. What comes out behind a clip's own
    stretches means nothing.
    """
    summed = torch.nn.functional.pad(frames.cumsum(1), (0, 0, 1, 0))
    last = frames.shape[1]
    low = edges[:, :-1].clamp(0, last - 1)
    high = torch.maximum(edges[:, 1:], low + 1).clamp(max=last)

    def at(places: Tensor) -> Tensor:
        return summed.gather(1, places[:, :, None].expand(-1, -1, frames.shape[2]))

    means = (at(high) - at(low)) / (high - low)[:, :, None]
    return torch.nn.functional.pad(means, (0, 0, 0, max(0, size - means.shape[1])))[:, :size]
