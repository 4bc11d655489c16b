"""The files of the page as a Gradio Space of the Hugging Face hub, with nothing that a page does not use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from markupsafe import Markup
from packaging.requirements import Requirement

import serdemo
from serdemo.nn.checkpoint_files import (
    ANSWERING,
    DESCRIPTION,
    SPEAKER,
    bundled_checkpoint,
    weight_files,
)
from serdemo.runs.registry.entry import CARD
from serdemo.schema.errors import SerdemoError
from serdemo.schema.libraries import CPU_INDEX
from serdemo.schema.settings import OWNER_SETTINGS
from serdemo.ui.hosting import folder
from serdemo.ui.shell.templates import render

PACKAGE = Path(serdemo.__file__).parent
# What of the package no page uses: the studies, what writes folders and the shipped map, pictures of READMEs.
LEFT_OUT = (
    *("experiments/", "ui/hosting/", "ui/static_space/", "ui/images/", "checkpoints/"),
    *("cli/benchmarks/", "embeddings/build_shipped.py", "requirements.txt"),
)
NOT_RUN = (".md", ".pyc")  # for people who read the source, and what Python makes anew
LICENCE = "LICENSE"
CHECKPOINTS = (*ANSWERING, SPEAKER)
PYTHON = "3.12.12"  # the newest of ZeroGPU
# Of the pinned libraries: those of a microphone at the server, and those of CUDA.
NO_MICROPHONE, CUDA = ("sounddevice",), ("nvidia-", "cuda-", "triton")
SPACES = "spaces>=0.49"  # lends the GPU; the Space installs the release that fits it
SYSTEM_PACKAGES = ("ffmpeg",)
MACHINE = {
    **{"sys_platform": "linux", "platform_machine": "x86_64", "platform_system": "Linux"},
    **{"os_name": "posix", "implementation_name": "cpython"},
    **{"python_version": "3.12", "python_full_version": PYTHON},
}
FRONT_MATTER: dict[str, Any] = {
    "title": "serdemo",
    "emoji": "🎙️",
    "colorFrom": "blue",
    "colorTo": "yellow",
    "sdk": "gradio",
    "app_file": "app.py",
    "license": "cc-by-nc-sa-4.0",  # of the weights; the code's is Apache-2.0
    "short_description": "Which emotion does a voice carry?",
    "tags": ["speech-emotion-recognition", "audio-classification", "speech", "audio"],
}
APP = '''"""The page, as `serdemo space` has written it; README.md lists its settings."""

from serdemo.__main__ import main
{}
if __name__ == "__main__":
    main(["app"])
'''
# Unless the owner sets it otherwise.
TRAINING_ON = """from serdemo.schema import settings

# Each visitor trains with the GPU time that Hugging Face lends them.
settings.set_defaults(SERDEMO_TRAINING="on")
"""


def contents(zerogpu: bool = False) -> dict[str, bytes]:
    """The content of each file by its path, for a Space on a CPU or on ZeroGPU.

    Raises SerdemoError where a model, a licence or the pinned requirements are missing.
    """
    pins = _pins()
    made: dict[str, bytes | Path] = {
        "README.md": _card(zerogpu, next(p for p in pins if p.name == "gradio")).encode(),
        "app.py": APP.format(TRAINING_ON if zerogpu else "").encode(),
        "requirements.txt": _requirements(zerogpu, pins).encode(),
        "packages.txt": "".join(f"{name}\n" for name in SYSTEM_PACKAGES).encode(),
        LICENCE: folder.own_licence(),
        **{f"serdemo/{path.relative_to(PACKAGE).as_posix()}": path for path in _package_files()},
        **{
            f"checkpoints/{name}/{path.name}": path
            for name in CHECKPOINTS
            for path in _checkpoint_files(bundled_checkpoint(name))
        },
    }
    return folder.with_list(
        {path: data.read_bytes() if isinstance(data, Path) else data for path, data in made.items()}
    )


def _package_files() -> Iterator[Path]:
    for path in PACKAGE.rglob("*"):
        name = path.relative_to(PACKAGE).as_posix()
        hidden = any(part.startswith(".") for part in path.relative_to(PACKAGE).parts)
        if path.is_file() and not (hidden or name.startswith(LEFT_OUT) or name.endswith(NOT_RUN)):
            yield path


def _checkpoint_files(path: Path) -> list[Path]:
    return [path / CARD, path / DESCRIPTION, *weight_files(path), *sorted(path.glob("*.onnx"))]


def _pins() -> list[Requirement]:
    """The libraries that were tested together, as far as a Space has a use for them."""
    for place in (folder.PROJECT, PACKAGE):  # of a checkout, or installed
        if (path := place / "requirements.txt").is_file():
            lines = path.read_text(encoding="utf-8").splitlines()
            pins = [Requirement(line) for line in lines if not line.startswith("#")]
            return [
                pin
                for pin in pins
                if pin.name not in NO_MICROPHONE
                and (pin.marker is None or pin.marker.evaluate(MACHINE))
            ]
    raise SerdemoError("The list of tested libraries is missing: install serdemo once more.")


def _requirements(zerogpu: bool, pins: list[Requirement]) -> str:
    lines = [
        f"{pin.name}{pin.specifier}" for pin in pins if zerogpu or not pin.name.startswith(CUDA)
    ]
    lines = [*lines, SPACES] if zerogpu else [f"--extra-index-url {CPU_INDEX}", *lines]
    return "\n".join([*lines, ""])


def _card(zerogpu: bool, gradio: Requirement) -> str:
    front = {
        **FRONT_MATTER,
        "sdk_version": str(gradio.specifier).removeprefix("=="),
        "python_version": PYTHON,
        "suggested_hardware": "zero-a10g" if zerogpu else "cpu-basic",
    }
    head = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    table = Markup(settings_table(training="on" if zerogpu else "off"))
    return f"---\n{head}---\n\n{render('hosting/card.md', settings=table, zerogpu=zerogpu)}\n"


def settings_table(training: str = "off") -> str:
    """The owner's settings as a table in Markdown, with the default of SERDEMO_TRAINING."""
    rows = [
        f"| `{one.name}` | {training if one.name == 'SERDEMO_TRAINING' else one.default} | {one.meaning} |"
        for one in OWNER_SETTINGS
    ]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])
