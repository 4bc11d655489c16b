"""Folders of transformers' audio classification models: what they hold, read without transformers or torch.

Such a folder holds `config.json`, `preprocessor_config.json` and safetensors. It is refused where it
would need code of its own or a pickle, where its weights are quantised, and where it answers another
question than audio classification does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from serdemo.data.corpora.emotion_names import emotion_word
from serdemo.data.corpora.label_map import map_label
from serdemo.nn.checkpoint_files import has_weights
from serdemo.nn.plausibility import refuse_implausible_sizes
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import read_json, recovered_path

CONFIG = "config.json"
EXTRACTOR = "preprocessor_config.json"
PROCESSOR = "processor_config.json"  # holds the extractor's settings where a processor was saved
LABEL_MAP = "label_map.json"  # of an imported model: its labels -> ours
FILES = (CONFIG, EXTRACTOR, PROCESSOR, LABEL_MAP)  # beside weights and card

# A community head on the mean frame, which audEERING's model has too; the others are transformers' own.
SPEECH_HEAD = "ForSpeechClassification"
HEADS = ("ForSequenceClassification", "ForAudioClassification", SPEECH_HEAD)
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
DIMENSIONS = frozenset({"arousal", "dominance", "valence"})
DERIVED = ("n_samples", "nb_max_frames")  # of an extractor: counts of samples, set by other entries
MAX_LABELS = 1000
MAX_LABEL_LENGTH = 200
# Names that tell nothing: transformers' own, and bare numbers.
UNNAMED = re.compile(r"(?:label|class)?[\s_-]*\d+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Classifier:
    """What a folder says of its model's outputs.

    `native` are the model's own names of them; `labels` are ours, each with the numbers of its outputs
    in `columns`: several of one emotion, such as happy and excited, form one label. Of a regression
    they name dimensions, such as arousal.
    """

    name: str
    architecture: str
    output: Literal["softmax", "sigmoid", "regression"]
    native: tuple[str, ...]
    labels: tuple[str, ...]
    columns: tuple[tuple[int, ...], ...]

    @property
    def sources(self) -> dict[str, list[str]]:
        """The model's own names of each of our labels."""
        return {
            label: [self.native[number] for number in column]
            for label, column in zip(self.labels, self.columns, strict=True)
        }


def is_transformers(folder: Path) -> bool:
    """Whether a folder holds a configuration as transformers writes it, whatever the model."""
    return (recovered_path(folder) / CONFIG).is_file()


def read_config(folder: Path) -> dict[str, Any]:
    """Configuration of an audio classification model; raises SerdemoError for any other folder."""
    name, path = folder.resolve().name, recovered_path(folder)
    config = _table(path / CONFIG, name)
    if any("auto_map" in table for table in (config, *_extractor_tables(path, name))):
        raise SerdemoError(
            f"{name} brings Python code of its own, which is never run here: choose a model of"
            " transformers' own classes."
        )
    if config.get("quantization_config"):
        raise SerdemoError(
            f"{name} is quantised: take its original in 16 or 32 bits, which serdemo reads."
        )
    architecture = architecture_of(config)
    if not isinstance(config.get("model_type"), str):
        raise SerdemoError(f"{name} is no model of transformers: its {CONFIG} has no model_type.")
    if architecture and not architecture.endswith(HEADS):
        raise SerdemoError(
            f"{name} is a {architecture[:80]}, which does not classify sound: serdemo reads models for"
            f" audio classification (...{HEADS[0]} or ...{HEADS[1]})."
        )
    if not has_weights(path):
        if any(file for pattern in PICKLES for file in path.glob(pattern)):
            raise SerdemoError(
                f"{name} holds its weights as a pickle, which may run code: get or convert them as"
                " model.safetensors."
            )
        raise SerdemoError(f"{name} holds no model.safetensors.")
    if not any((path / file).is_file() for file in (EXTRACTOR, PROCESSOR)):
        raise SerdemoError(
            f"{name} has no {EXTRACTOR}, which says what sound it takes: get it from where the model is"
            " from."
        )
    refuse_implausible_sizes(config, name, CONFIG)
    return config


def architecture_of(config: Mapping[str, Any]) -> str:
    """Name of the class that the weights belong to, "" where the configuration names none."""
    names = config.get("architectures")
    return str(names[0]) if isinstance(names, list) and names else ""


def native_labels(config: Mapping[str, Any], name: str) -> list[str]:
    """The model's own names of its outputs, in order; raises SerdemoError where they are malformed."""
    table = config.get("id2label")
    if not table:
        count = config.get("num_labels", 2)
        table = {str(i): f"LABEL_{i}" for i in range(count if type(count) is int else 0)}
    numbers = [str(number) for number in range(len(table))]
    if not isinstance(table, dict) or not table or set(map(str, table)) != set(numbers):
        raise SerdemoError(f"{name} cannot be read: id2label in its {CONFIG} is malformed.")
    by_number = {str(number): label for number, label in table.items()}
    labels = ["".join(filter(str.isprintable, str(by_number[n]))).strip() for n in numbers]
    if len(labels) > MAX_LABELS or not all(0 < len(x) <= MAX_LABEL_LENGTH for x in labels):
        raise SerdemoError(
            f"{name} cannot be read: it must have at most {MAX_LABELS} labels of 1 to"
            f" {MAX_LABEL_LENGTH} letters."
        )
    return labels


def read_stored_map(folder: Path) -> dict[str, str]:
    """The label map that was stored beside an imported model; empty without one."""
    path = recovered_path(folder) / LABEL_MAP
    if not path.is_file():
        return {}
    values = read_json(path)
    if not isinstance(values, dict) or not all(isinstance(x, str) for x in values.values()):
        raise SerdemoError(f"{LABEL_MAP} of {folder.resolve().name} is damaged: import it again.")
    return values


def read(folder: Path, label_map: Mapping[str, str] | None = None) -> Classifier:
    """Read what a folder says of its model; `label_map` goes before the map stored beside it.

    A label that is in neither is mapped by the words of the field, and keeps its name where these have
    none, as those of a regression do. One that a map makes empty is left out. Raises SerdemoError as
    `read_config`, and for a label that tells nothing (LABEL_0) and is in no map.
    """
    name, config = folder.resolve().name, read_config(folder)
    native = native_labels(config, name)
    is_regression = _is_regression(config, native)
    multi_label = config.get("problem_type") == "multi_label_classification"
    merged = {**read_stored_map(folder), **(label_map or {})}
    columns: dict[str, list[int]] = {}
    for number, label in enumerate(native):
        ours = map_label(label, merged)
        if ours is None and UNNAMED.fullmatch(label):
            raise SerdemoError(
                f"{name} does not say what its label {label} means: give --label-map FILE with the"
                " meaning of each of its labels."
            )
        if ours is None:
            word = label.casefold() if label.casefold() in DIMENSIONS else label
            ours = word if is_regression else emotion_word(label) or label
        if ours:
            columns.setdefault(ours, []).append(number)
    if not columns:
        raise SerdemoError(f"The label map leaves out all labels of {name}.")
    return Classifier(
        name=name,
        architecture=architecture_of(config) or str(config["model_type"]),
        output="regression" if is_regression else "sigmoid" if multi_label else "softmax",
        native=tuple(native),
        labels=tuple(columns),
        columns=tuple(map(tuple, columns.values())),
    )


def _is_regression(config: Mapping[str, Any], labels: Sequence[str]) -> bool:
    """Whether the outputs are values of dimensions, such as arousal, and no emotions."""
    named = {label.casefold() for label in labels} <= DIMENSIONS
    return config.get("problem_type") == "regression" or named or len(labels) == 1


def _table(path: Path, name: str) -> dict[str, Any]:
    values = read_json(path)
    if not isinstance(values, dict):
        raise SerdemoError(f"{name} cannot be read: its {path.name} is no JSON object.")
    return values


def _extractor_tables(path: Path, name: str) -> list[dict[str, Any]]:
    files = [file for file in (EXTRACTOR, PROCESSOR) if (path / file).is_file()]
    tables = [_table(path / file, name) for file in files]
    for file, table in zip(files, tables, strict=True):
        sizes = {key: value for key, value in table.items() if key not in DERIVED}
        refuse_implausible_sizes(sizes, name, file)
    return tables
