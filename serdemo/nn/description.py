"""Description of a checkpoint: its `model.json`, read and validated without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from serdemo.audio.waveform import SAMPLE_RATE
from serdemo.nn import transformers_files
from serdemo.nn.checkpoint_files import DESCRIPTION as DESCRIPTION
from serdemo.nn.checkpoint_files import WEIGHTS as WEIGHTS
from serdemo.nn.checkpoint_files import has_weights
from serdemo.nn.onnx_file import is_onnx, read_description_values
from serdemo.nn.transformers_files import is_transformers
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import read_json, recovered_path, write_json
from serdemo.schema.renamed_options import current_options

Output = Literal["softmax", "sigmoid", "regression"]
TRANSFORMERS = "transformers"  # in place of a recipe, for a model of transformers
FORMAT = 2
FORMATS = (1, FORMAT)  # readable ones
MAX_LABELS = 1000
REQUIRED = ("labels", "encoder", "encoder_options", "head_options")
PATH_OPTIONS = ("source", "init_from", "teacher", "embeddings", "cache")  # may name a local path


@dataclass(frozen=True)
class Description:
    """Content of a checkpoint's `model.json`.

    - `labels`: the classes; none for a model without a classifier.
    - `encoder_config`: the architecture of a pretrained encoder.
    - `temperature` divides the logits; below the confidence `unsure_below` a prediction is "not sure".
    - `speaker_prior`: what adaptation to a speaker starts from, empty where unknown: `class_means`, the
      mean embedding (E,) of each emotion's training speech; `discriminants`, D directions (E,) that
      tell them apart; `offset_scale`, the size of the speakers' offsets in all others.
    - `novelty`: by what the temperature grows with the distance from the training corpora: `centroids`,
      the mean embedding (E,) of each corpus, `scales` (E,) and `slope`. Empty where it does not.
    - `neutral`: mean embedding (E,) of neutral training speech, in checkpoints of 0.2.
    - `trained_on`, `selected_on`: training and validation speakers by corpus; `split` is the
      fingerprint of the split.
    - `metrics`: rates as fractions, each with its protocol.
    - `output`: what the logits are: "softmax" of one emotion, "sigmoid" of labels that are independent
      of each other, or "regression", values of the `dimensions`, such as arousal, of a model without labels.
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
    speaker_prior: dict[str, Any] = field(default_factory=dict)
    novelty: dict[str, Any] = field(default_factory=dict)
    trained_on: dict[str, list[str]] = field(default_factory=dict)
    selected_on: dict[str, list[str]] = field(default_factory=dict)
    split: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    licence: str = ""
    code_version: str = ""
    sample_rate: int = SAMPLE_RATE
    output: Output = "softmax"
    dimensions: tuple[str, ...] = ()
    format: int = FORMAT

    def to_json(self) -> dict[str, Any]:
        """The entries of `model.json`, `output` only where older versions could not read it anyway."""
        values = asdict(self)
        del values["dimensions"]
        if self.output == "softmax":
            del values["output"]
        return values

    @property
    def is_foreign(self) -> bool:
        """Whether it is that of a model of transformers, whose training speakers are unknown."""
        return self.recipe == TRANSFORMERS

    @classmethod
    def from_json(cls, values: Any, name: str) -> Description:
        """Check and convert parsed JSON; a SerdemoError begins with the checkpoint's `name`.

        Options of format 1 are renamed to their present names.
        """
        if not isinstance(values, dict):
            raise SerdemoError(f"{name} is not a checkpoint: its {DESCRIPTION} is no JSON table.")
        if values.get("format") not in FORMATS:
            raise SerdemoError(
                f"{name} has checkpoint format {values.get('format')!r}; this version reads"
                f" {' and '.join(map(str, FORMATS))}, so update serdemo or train again."
            )
        if values.get("sample_rate", SAMPLE_RATE) != SAMPLE_RATE:
            raise SerdemoError(
                f"{name} was made for {values['sample_rate']} Hz; serdemo works at {SAMPLE_RATE} Hz."
            )
        if fault := _find_fault(values):
            raise SerdemoError(f"{name} cannot be read: {fault}.")
        tables = {
            key: current_options(values[key]) if values["format"] == 1 else values[key]
            for key in ("encoder_options", "head_options", "options")
            if key in values
        }
        labels = tuple(values["labels"])
        return cls(**{**values, **tables, "labels": labels, "format": FORMAT})


def _find_fault(values: dict[str, Any]) -> str | None:
    """The first fault of a description's entries as the end of a sentence, None without one."""
    types = {f.name: _JSON_TYPES[str(f.type).split("[")[0]] for f in fields(Description)}
    if unknown := sorted(set(values) - set(types)):
        return f"its {DESCRIPTION} has an unknown entry {unknown[0]!r}"
    if missing := [name for name in REQUIRED if name not in values]:
        return f"its {DESCRIPTION} has no {missing[0]!r}"
    for name, value in values.items():
        if not isinstance(value, types[name]) or isinstance(value, bool):
            return f"{name!r} in {DESCRIPTION} is malformed"
    labels = values["labels"]
    named = all(isinstance(label, str) and label for label in labels)
    if not named or len(set(labels)) < len(labels) or len(labels) > MAX_LABELS:
        return f"its labels must be different words, {MAX_LABELS} at most"
    if not 1e-3 <= values.get("temperature", 1.0) <= 1e3:
        return "its temperature must be 0.001 to 1000"
    if values.get("output", "softmax") not in ("softmax", "sigmoid") or "dimensions" in values:
        return "its output must be softmax or sigmoid"
    if not 0 <= values.get("unsure_below", 0.0) <= 1:
        return "its unsure_below must be 0 to 1"
    if not all(isinstance(x, float) and abs(x) < 1e4 for x in values.get("neutral", [])):
        return "'neutral' must be a list of numbers"
    if not _is_speaker_prior(values.get("speaker_prior", {}), labels):
        return "'speaker_prior' must hold means of its labels, discriminants and a scale"
    if not _is_novelty(values.get("novelty", {})):
        return "'novelty' must hold centroids, positive scales and a slope"
    for name in ("trained_on", "selected_on"):
        for ids in values.get(name, {}).values():
            if not isinstance(ids, list) or not all(isinstance(x, str) for x in ids):
                return f"{name!r} must map a corpus to its speakers"
    return None


def _is_novelty(novelty: dict[str, Any]) -> bool:
    """Whether a description's entry `novelty` is empty or well-formed."""
    if not novelty:
        return True
    centroids: Any = novelty.get("centroids")
    scales: Any = novelty.get("scales")
    if set(novelty) != {"centroids", "scales", "slope"} or not isinstance(centroids, dict):
        return False
    rows = [*centroids.values(), scales, [novelty["slope"]]]
    if not centroids or not all(isinstance(row, list) for row in rows):
        return False
    sizes = {len(row) for row in rows[:-1]}
    numbers = [x for row in rows for x in row]
    finite = all(type(x) in (int, float) and abs(x) < 1e4 for x in numbers)
    return len(sizes) == 1 and finite and all(x > 0 for x in scales) and novelty["slope"] >= 0


def _is_speaker_prior(prior: dict[str, Any], labels: list[str]) -> bool:
    """Whether a description's entry `speaker_prior` is empty or well-formed."""
    if not prior:
        return True
    if set(prior) != {"class_means", "discriminants", "offset_scale"}:
        return False
    means, directions, scale = (
        prior[key] for key in ("class_means", "discriminants", "offset_scale")
    )
    if not isinstance(means, dict) or not isinstance(directions, list):
        return False
    rows = [*means.values(), *directions]
    return (
        len(means) > 1
        and 0 < len(directions) < len(means)
        and set(means) <= set(labels)
        and all(isinstance(row, list) and row for row in rows)
        and len(set(map(len, rows))) == 1
        and all(type(x) in (int, float) and abs(x) < 1e6 for row in rows for x in row)
        and type(scale) is float
        and 0 < scale < 1e6
    )


_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "dict": (dict,),
    "str": (str,),
    "Output": (str,),
    "float": (int, float),
    "int": (int,),
    "tuple": (list, tuple),
    "list": (list,),
}


def strip_folders(description: Description) -> Description:
    """`description` with files and checkpoints named without the folders of this machine."""
    return replace(
        description,
        options=without_folders(description.options),
        encoder_options=without_folders(description.encoder_options),
    )


def without_folders(options: dict[str, Any]) -> dict[str, Any]:
    """Options with files and checkpoints named without the folders of this machine."""
    paths = {k: str(options[k]).split(",") for k in PATH_OPTIONS if options.get(k)}
    return options | {k: ",".join(map(_strip_folder, parts)) for k, parts in paths.items()}


def _strip_folder(value: str) -> str:
    """The file name of an existing path; other values (hub ids) as they are."""
    path = Path(value.strip())
    return path.name if path.exists() else value


def read_description(folder: Path, label_map: Mapping[str, str] | None = None) -> Description:
    """Read the description of a folder or of an ONNX file; raises SerdemoError when a file is missing or it is invalid.

    That of a model of transformers follows from its configuration and from `label_map`, see
    `transformers_files.read`; its speakers, temperature and threshold are unknown.
    """
    name, path = folder.resolve().name, recovered_path(folder)
    if not path.exists():
        kind = "file" if is_onnx(folder) else "folder"
        raise SerdemoError(f"There is no checkpoint {name}: the {kind} does not exist.")
    if is_onnx(path):
        return Description.from_json(read_description_values(path), name)
    if not (path / DESCRIPTION).is_file() and is_transformers(path):
        return _describe(transformers_files.read(folder, label_map))
    folder = path
    if not (folder / DESCRIPTION).is_file() or not has_weights(folder):
        raise SerdemoError(f"{name} is not a checkpoint: it needs {WEIGHTS} and {DESCRIPTION}.")
    return Description.from_json(read_json(folder / DESCRIPTION), name)


def require_own(description: Description) -> None:
    """Raise SerdemoError for a model of transformers, where a checkpoint of serdemo is needed."""
    if description.is_foreign:
        raise SerdemoError(
            f"{description.name} is a model of transformers, which answers and embeds as it is: to train,"
            " to get used to a voice, to calibrate and to quantise takes a checkpoint of serdemo."
        )


def require_classifier(description: Description) -> Description:
    """Return the description; raise SerdemoError for a checkpoint without an emotion classifier."""
    if description.output == "regression":
        raise SerdemoError(
            f"{description.name} gives values of {', '.join(description.dimensions)}, and no emotions:"
            " choose a model with emotions for this, or show its values with predict."
        )
    if not description.labels:
        raise SerdemoError(
            f"{description.name} embeds voices and has no emotion classifier: choose another"
            " checkpoint to answer, or use this one with embed."
        )
    return description


def require_answers(description: Description) -> None:
    """Raise SerdemoError for a checkpoint with neither an emotion classifier nor dimensions."""
    if not description.dimensions:
        require_classifier(description)


def _describe(classifier: transformers_files.Classifier) -> Description:
    regression = classifier.output == "regression"
    return Description(
        labels=() if regression else classifier.labels,
        encoder=classifier.architecture,
        encoder_options={},
        head_options={},
        name=classifier.name,
        recipe=TRANSFORMERS,
        options={"labels": classifier.sources},
        output=classifier.output,
        dimensions=classifier.labels if regression else (),
    )


def write_description(folder: Path, description: Description) -> None:
    """Replace the description of a checkpoint, without touching its weights."""
    write_json(folder / DESCRIPTION, description.to_json())
