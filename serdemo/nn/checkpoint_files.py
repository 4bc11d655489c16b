"""Files of a checkpoint folder: bundled checkpoints, names of weights, and safe reading of tensors."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import read_json, recovered_path

if TYPE_CHECKING:  # importing torch takes a second, and few commands read tensors
    from torch import Tensor

WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"
INDEX = f"{WEIGHTS}.index.json"  # of weights in several files, as transformers writes them
SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
MAX_HEADER = 10_000_000  # bytes of a safetensors file's list of tensors
SCALE = ".scale"  # ends the name of the scales of a matrix in 8 bits
# Of those that come with serdemo: embedding and logits, and the latter alone.
GRAPH, CLASSIFIER = "model.onnx", "classifier.onnx"
REPORT = "report.json"  # scores on the test clips, beside them
SHIPPED = "base"
SMALLEST = "compact"  # answers live sound where the shipped default is too slow
ANSWERING = (SHIPPED, SMALLEST)  # those that name emotions and answer in a browser too
SPEAKER = "speaker"  # embeds voices
ENCODER_CHECKPOINT = "base"  # the bundled one with a pretrained encoder


def bundled_checkpoint(name: str = SHIPPED) -> Path:
    """Folder of a checkpoint that comes with serdemo; raises SerdemoError for an unknown name."""
    installed = Path(str(resources.files("serdemo"))) / "checkpoints" / name
    in_repository = Path(__file__).resolve().parents[2] / "checkpoints" / name
    for folder in (installed, in_repository):
        if folder.is_dir():
            return folder
    raise SerdemoError(f"This installation holds no checkpoint {name!r}; name one by its folder.")


def is_checkpoint(path: str) -> bool:
    """Whether `path`, which may be empty or a hub id, is the folder of a serdemo checkpoint."""
    return bool(path) and (Path(path) / DESCRIPTION).is_file()


def source_folder(source: str) -> Path | None:
    """Folder of the serdemo checkpoint that `--source` names, by its path or as the bundled one; None for
    another source. Raises SerdemoError where the bundled one is missing."""
    if is_checkpoint(source):
        return Path(source)
    return bundled_checkpoint(source) if source == ENCODER_CHECKPOINT else None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file; raises SerdemoError when it is damaged or another format."""
    with _open_safetensors(path) as file:
        # Copied: a tensor that still maps the file keeps Windows from replacing it.
        return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118


def is_weights(name: str) -> bool:
    """Whether a file of this name holds weights, or is the index of files that do."""
    return name in (WEIGHTS, INDEX) or SHARD.fullmatch(name) is not None


def has_weights(folder: Path) -> bool:
    """Whether a folder holds weights in one file, or the index of several."""
    return any((recovered_path(folder) / name).is_file() for name in (WEIGHTS, INDEX))


def read_index(folder: Path) -> dict[str, str]:
    """Name of the file that holds each tensor; raises SerdemoError for an index that is damaged."""
    index = read_json(recovered_path(folder) / INDEX)
    files = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(files, dict) or not files:
        raise SerdemoError(f"{folder.resolve().name} is damaged: its {INDEX} lists no tensors.")
    for file in files.values():
        if not isinstance(file, str) or not SHARD.fullmatch(file):
            raise SerdemoError(
                f"{folder.resolve().name} is refused: {str(file)[:80]!r} in its {INDEX} is no file"
                " model-00001-of-00002.safetensors beside it."
            )
    return files


def weight_files(folder: Path) -> list[Path]:
    """The file of a checkpoint's weights, or the index of several and these.

    Raises SerdemoError for an index that is damaged, and for a file that it names and is missing.
    """
    path = recovered_path(folder)
    if (path / WEIGHTS).is_file() or not (path / INDEX).is_file():
        return [path / WEIGHTS]
    files = [path / name for name in sorted(set(read_index(folder).values()))]
    if missing := [file.name for file in files if not file.is_file()]:
        raise SerdemoError(f"{folder.resolve().name} is incomplete: it lacks {missing[0]}.")
    return [path / INDEX, *files]


def tensor_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint; raises SerdemoError as `weight_files`."""
    return [file for file in weight_files(folder) if file.name != INDEX]


def weights_bytes(folder: Path) -> int:
    """Size in bytes of a checkpoint's weights, or of a model in one file.

    Raises SerdemoError as `weight_files`, or OSError.
    """
    if folder.is_file():
        return folder.stat().st_size
    return sum(file.stat().st_size for file in weight_files(folder))


def count_parameters(folder: Path) -> int:
    """Number of a checkpoint's weights, without scales, from the headers of its files.

    Raises SerdemoError as `weight_files` and `read_tensors`.
    """
    sizes: dict[str, int] = {}
    for path in tensor_files(folder):
        with _open_safetensors(path) as file:
            for name in file.keys():  # noqa: SIM118
                sizes[name] = math.prod(file.get_slice(name).get_shape())
    return sum(
        n for name, n in sizes.items() if name.removesuffix(SCALE) not in sizes.keys() - {name}
    )


def tensor_types(folder: Path) -> dict[str, str]:
    """Type of each tensor of a checkpoint as safetensors names it (F16, I8), from the headers of its files.

    Raises SerdemoError as `count_parameters`.
    """
    types: dict[str, str] = {}
    for path in tensor_files(folder):
        with _open_safetensors(path) as file:
            types |= {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    return types


@contextmanager
def _open_safetensors(path: Path) -> Iterator[Any]:
    try:
        with path.open("rb") as start:
            if int.from_bytes(start.read(8), "little") > MAX_HEADER:
                raise ValueError("its list of tensors is too long")
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError, ValueError) as problem:
        raise SerdemoError(
            f"{path.name} is not a safetensors file or is damaged: {problem}."
        ) from problem
