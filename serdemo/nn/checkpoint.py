"""Checkpoints on disk: weights in safetensors, all else in JSON as `Description` lays it out."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from serdemo.audio.waveform import SAMPLE_RATE
from serdemo.nn import encoders
from serdemo.nn.checkpoint_files import DESCRIPTION as DESCRIPTION
from serdemo.nn.checkpoint_files import WEIGHTS as WEIGHTS
from serdemo.nn.checkpoint_files import read_tensors
from serdemo.nn.model import HeadOptions, Model
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import read_json, recovered_path, replace_folder, write_json
from serdemo.schema.renamed_options import current_options

FORMAT = 2
FORMATS = (1, FORMAT)  # those that are read
MOST_LABELS = 1000
PLACES = ("source", "init_from", "teacher", "embeddings", "cache")  # options that may name a folder
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Description:
    """All that a checkpoint says of itself.

    `trained_on` and `selected_on` map a corpus to its speakers; `split` is the fingerprint of the
    split; `temperature` divides the logits; `unsure_below` is the confidence under which an answer
    is "not sure"; `encoder_config` is the architecture of a pretrained encoder; `neutral` is the mean
    embedding (E,) of neutral training speech, empty where it is not known. Without a classifier
    there are no `labels`. `metrics` holds figures as fractions, each with its protocol.
    """

    labels: tuple[str, ...]
    encoder: str
    encoder_options: dict[str, Any]
    head_options: dict[str, Any]
    encoder_config: dict[str, Any] = field(default_factory=dict)
    name: str = "unnamed"
    recipe: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    temperature: float = 1.0
    unsure_below: float = 0.0
    neutral: list[float] = field(default_factory=list)
    trained_on: dict[str, list[str]] = field(default_factory=dict)
    selected_on: dict[str, list[str]] = field(default_factory=dict)
    split: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    licence: str = ""
    code_version: str = ""
    sample_rate: int = SAMPLE_RATE
    format: int = FORMAT

    @classmethod
    def from_json(cls, values: Any, where: str) -> Description:
        """A description from parsed JSON; raises SerdemoError with a sentence that names `where`."""
        if not isinstance(values, dict):
            raise SerdemoError(f"{where} is not a checkpoint: its {DESCRIPTION} is no JSON table.")
        if values.get("format") not in FORMATS:
            raise SerdemoError(
                f"{where} has checkpoint format {values.get('format')!r}; this version reads"
                f" {' and '.join(map(str, FORMATS))}, so update serdemo or train again."
            )
        hints = {f.name: f for f in fields(cls)}
        unknown = sorted(set(values) - set(hints))
        missing = [
            n for n in ("labels", "encoder", "encoder_options", "head_options") if n not in values
        ]
        if unknown or missing:
            what = f"an unknown entry {unknown[0]!r}" if unknown else f"no {missing[0]!r}"
            raise SerdemoError(f"{where} cannot be read: its {DESCRIPTION} has {what}.")
        kinds = {
            "dict": dict,
            "str": str,
            "float": (int, float),
            "int": int,
            "tuple": (list, tuple),
            "list": list,
        }
        for name, value in values.items():
            kind = kinds[str(hints[name].type).split("[")[0]]
            if not isinstance(value, kind) or isinstance(value, bool):  # type: ignore[arg-type]
                raise SerdemoError(
                    f"{where} cannot be read: {name!r} in {DESCRIPTION} is malformed."
                )
        labels = tuple(values["labels"])
        words = all(isinstance(label, str) and label for label in labels)
        if not words or len(set(labels)) < len(labels) or len(labels) > MOST_LABELS:
            raise SerdemoError(
                f"{where} cannot be read: its labels must be different words, {MOST_LABELS} at most."
            )
        if values.get("sample_rate", SAMPLE_RATE) != SAMPLE_RATE:
            raise SerdemoError(
                f"{where} was made for {values['sample_rate']} Hz; serdemo works at {SAMPLE_RATE} Hz."
            )
        if not 1e-3 <= values.get("temperature", 1.0) <= 1e3:
            raise SerdemoError(f"{where} cannot be read: its temperature must be 0.001 to 1000.")
        if not 0 <= values.get("unsure_below", 0.0) <= 1:
            raise SerdemoError(f"{where} cannot be read: its unsure_below must be 0 to 1.")
        if not all(isinstance(x, float) and abs(x) < 1e4 for x in values.get("neutral", [])):
            raise SerdemoError(f"{where} cannot be read: 'neutral' must be a list of numbers.")
        for name in ("trained_on", "selected_on"):
            ids = values.get(name, {}).values()
            if not all(isinstance(x, list) and all(isinstance(y, str) for y in x) for x in ids):
                raise SerdemoError(
                    f"{where} cannot be read: {name!r} must map a corpus to its speakers."
                )
        tables = {
            name: current_options(values[name]) if values["format"] == 1 else values[name]
            for name in ("encoder_options", "head_options", "options")
            if name in values
        }
        return cls(**{**values, **tables, "labels": labels, "format": FORMAT})


def build(description: Description, where: str = "the checkpoint") -> Model:
    """A fresh model of that description; raises SerdemoError when it cannot be built."""
    try:
        encoder = encoders.build(
            description.encoder, description.encoder_options, description.encoder_config
        )
        heads = HeadOptions.from_json(description.head_options)
        return Model(encoder, description.labels, heads)
    except (UsageError, ValueError, TypeError) as problem:
        raise SerdemoError(f"{where} cannot be built: {problem}") from problem


def save(folder: Path, model: Model, description: Description, *, half: bool = True) -> None:
    """Write a checkpoint folder in place of what stands there; other files in it are kept."""
    folder = folder.resolve()

    def write(target: Path) -> None:
        for extra in folder.iterdir() if folder.exists() else ():
            if extra.is_file() and extra.name not in (WEIGHTS, DESCRIPTION):
                shutil.copy2(extra, target / extra.name)
        state = {
            name: (value.half() if half and value.is_floating_point() else value).contiguous().cpu()
            for name, value in model.state_dict().items()
        }
        save_file(state, target / WEIGHTS)
        write_json(target / DESCRIPTION, asdict(description))

    replace_folder(folder, write)


def load(folder: Path | str, device: str | torch.device = "cpu") -> tuple[Model, Description]:
    """The model of a folder in float32, in evaluation mode; raises SerdemoError in a sentence."""
    folder = Path(folder).resolve()
    description = describe(folder)
    model = build(description, folder.name)
    state = read_tensors(recovered_path(folder) / WEIGHTS)
    expected = model.state_dict()
    for name in sorted(set(expected) ^ set(state)):
        problem = "lacks" if name in expected else "has an unexpected"
        raise SerdemoError(
            f"{folder.name} does not fit its description: it {problem} tensor {name}."
        )
    for name, value in state.items():
        if value.shape != expected[name].shape:
            shapes = f"{tuple(value.shape)}, not {tuple(expected[name].shape)}"
            raise SerdemoError(f"{folder.name} does not fit its description: {name} is {shapes}.")
        wanted = expected[name].dtype
        if not (value.dtype in FLOATS if wanted.is_floating_point else value.dtype == wanted):
            raise SerdemoError(f"{folder.name} is damaged: {name} is of type {value.dtype}.")
        state[name] = value.to(wanted)
        if not bool(torch.isfinite(state[name]).all()):
            raise SerdemoError(
                f"{folder.name} is damaged: {name} holds values that are not finite."
            )
    if len(description.neutral) not in (0, model.options.embedding):
        raise SerdemoError(
            f"{folder.name} does not fit its description: 'neutral' has {len(description.neutral)}"
            f" numbers, an embedding {model.options.embedding}."
        )
    model.load_state_dict(state)
    return model.to(device).eval(), description


def begin_from(folder: Path, model: Model) -> None:
    """Give `model` the weights of a checkpoint, as far as names and shapes agree.

    The encoder must agree as a whole; heads of other sizes stay fresh. Raises UsageError when the
    encoders differ, SerdemoError when the checkpoint cannot be read.
    """
    begun, _ = load(folder)
    state, own = begun.state_dict(), model.state_dict()
    agreeing = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
    inside = {name for name in (*state, *own) if name.startswith("encoder.")}
    if inside - set(agreeing):
        raise UsageError(
            f"{folder.name} has another encoder than this run; give the options it was trained with."
        )
    if begun.labels != model.labels:
        agreeing = {k: v for k, v in agreeing.items() if not k.startswith("classifier.")}
    model.load_state_dict(agreeing, strict=False)


def without_folders(description: Description) -> Description:
    """A description that names files and checkpoints without the folders of this machine."""

    def named(options: dict[str, Any]) -> dict[str, Any]:
        given = {k: str(options[k]).split(",") for k in PLACES if options.get(k)}
        return {**options, **{k: ",".join(map(_named, parts)) for k, parts in given.items()}}

    return replace(
        description,
        options=named(description.options),
        encoder_options=named(description.encoder_options),
    )


def _named(place: str) -> str:
    """A place on this machine by its name alone, what is none as it is."""
    path = Path(place.strip())
    return path.name if path.exists() else place


def describe(folder: Path) -> Description:
    """Only the description of a checkpoint folder; raises SerdemoError in a sentence."""
    name, folder = folder.resolve().name, recovered_path(folder)
    if not folder.exists():
        raise SerdemoError(f"There is no checkpoint {name}: the folder does not exist.")
    if not (folder / DESCRIPTION).is_file() or not (folder / WEIGHTS).is_file():
        raise SerdemoError(f"{name} is not a checkpoint: it needs {WEIGHTS} and {DESCRIPTION}.")
    return Description.from_json(read_json(folder / DESCRIPTION), name)


def redescribe(folder: Path, description: Description) -> None:
    """Replace the description of a checkpoint, the weights left as they are."""
    write_json(folder / DESCRIPTION, asdict(description))


def save_state(folder: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Tensors in full precision and JSON values, as one folder: what a run resumes from."""

    def write(target: Path) -> None:
        contiguous = {
            name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()
        }
        save_file(contiguous, target / "state.safetensors")
        write_json(target / "state.json", dict(values))

    replace_folder(folder, write)


def load_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """What `save_state` wrote, or None where nothing was; raises SerdemoError when damaged."""
    folder = recovered_path(folder)
    if not folder.exists():
        return None
    return read_tensors(folder / "state.safetensors"), read_json(folder / "state.json")
