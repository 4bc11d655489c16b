"""Settings from environment variables, which no other module reads.

`OWNER_SETTINGS` lists those for whoever runs the page; the others are set by Spaces and by launchers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serdemo.schema.errors import UsageError

MAX_PLACES = 10_000
MAX_CONTACT = 200  # characters


@dataclass(frozen=True, slots=True)
class Setting:
    """An environment variable: its name, its default and its meaning in words."""

    name: str
    default: str
    meaning: str


OWNER_SETTINGS = (
    Setting(
        "SERDEMO_TRAINING",
        "off",
        "`on` lets visitors train: Fine-tune, *Teach it your voice*, and comparisons of models on a corpus",
    ),
    Setting(
        "SERDEMO_IMPORT",
        "off",
        "`on` lets visitors import: models from a zip or the Hugging Face hub, and tables in Explore",
    ),
    Setting("SERDEMO_PLACES", "64", "live streams at once"),
    Setting(
        "SERDEMO_CONTACT", "none", "who hosts the page: a name and an address, shown on the page"
    ),
    Setting("SERDEMO_RUNS", "`runs`", "folder of runs, imported models and visitors' clips"),
    Setting("SERDEMO_DATA", "none", "folder of corpora, which visitors who may train can choose"),
    Setting(
        "XDG_CACHE_HOME", "`~/.cache`", "folder whose `serdemo` holds what can be computed again"
    ),
    Setting("GRADIO_SERVER_NAME", "127.0.0.1", "name or address to serve on; `0.0.0.0` for all"),
    Setting("GRADIO_SERVER_PORT", "7860", "the first port to try"),
    Setting("GRADIO_NUM_PORTS", "100", "how many ports to try"),
    Setting("GRADIO_ROOT_PATH", "none", "path below which a proxy offers the page"),
    Setting("GRADIO_TEMP_DIR", "a new one", "folder of uploads"),
    Setting("GRADIO_SHARE", "false", "`true` adds a public link, through Gradio's servers"),
    Setting("GRADIO_MCP_SERVER", "false", "`true` serves agents too"),
    Setting("SERDEMO_METRICS_PORT", "none", "port for Prometheus' metrics; 0 for any that is free"),
    Setting(
        "SERDEMO_METRICS_NAME", "127.0.0.1", "name or address for the metrics; `0.0.0.0` for all"
    ),
    Setting(
        "SERDEMO_LOG", "`text`", "`json` writes the log as one object a line, with every request"
    ),
    Setting(
        "SERDEMO_LOG_LEVEL",
        "`warning`",
        "`debug`, `info` (that of JSON), `warning` or `error`; `debug` has a page's steady calls too",
    ),
    Setting("HF_ENDPOINT", "https://huggingface.co", "address of the hub"),
)


def visitors_may_train() -> bool:
    """Whether those who do not sit at this machine may train: SERDEMO_TRAINING."""
    return _switch("SERDEMO_TRAINING")


def visitors_may_import() -> bool:
    """Whether those who do not sit at this machine may import models and tables: SERDEMO_IMPORT."""
    return _switch("SERDEMO_IMPORT")


def live_places() -> int:
    """Live streams at once: SERDEMO_PLACES, else 64."""
    text = os.environ.get("SERDEMO_PLACES", "").strip() or "64"
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= MAX_PLACES):
        raise UsageError(
            f"SERDEMO_PLACES is {text[:40]!r}: set it to a number from 1 to {MAX_PLACES}, or unset it."
        )
    return int(text)


def contact() -> str:
    """Who hosts the page and how to reach them, for its visitors: SERDEMO_CONTACT, "" where nobody is named."""
    text = os.environ.get("SERDEMO_CONTACT", "").strip()
    if len(text) > MAX_CONTACT or not text.isprintable():
        raise UsageError(
            f"SERDEMO_CONTACT is no line of at most {MAX_CONTACT} characters: name who runs the page, and"
            " an address."
        )
    return text


def check() -> None:
    """Raise UsageError where a setting of the owner's has a value that cannot be."""
    for read in (visitors_may_train, visitors_may_import, live_places, contact):
        read()


def _switch(name: str) -> bool:
    text = os.environ.get(name, "").strip().lower()
    if text in ("on", "true", "yes", "1"):
        return True
    if text in ("", "off", "false", "no", "0"):
        return False
    raise UsageError(f"{name} is {text[:40]!r}: set it to on or off.")


def data_root(root: Path | None) -> Path | None:
    """Folder of the corpora: `root` (the option --root) if given, else SERDEMO_DATA, else None."""
    path = root or os.environ.get("SERDEMO_DATA")
    return Path(path) if path else None


def runs_root() -> Path:
    """Folder of the training runs: SERDEMO_RUNS, else `runs` in the current folder."""
    return Path(os.environ.get("SERDEMO_RUNS") or "runs")


def cache_root() -> Path:
    """Folder for whatever can be computed again: `serdemo` in XDG_CACHE_HOME or `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "serdemo"


def hub_url() -> str:
    """Address of the Hugging Face hub: HF_ENDPOINT, else the public one."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co")


def on_space() -> bool:
    """Whether the page runs on a Hugging Face Space."""
    return bool(os.environ.get("SPACE_ID"))


def on_zerogpu_space() -> bool:
    """Whether the page runs on a Space that lends a GPU to single calls."""
    lends_gpu = os.environ.get("SPACES_ZERO_GPU", "").lower() not in ("", "0", "f", "false", "no")
    return lends_gpu and on_space()


def serves_mcp() -> bool:
    """Whether gradio is to serve a page as an MCP server too: GRADIO_MCP_SERVER."""
    return os.environ.get("GRADIO_MCP_SERVER", "").lower() == "true"


def launched_by_accelerate() -> bool:
    """Whether `accelerate launch` started this process for training on several devices."""
    return {"ACCELERATE_MIXED_PRECISION", "MASTER_ADDR"} <= os.environ.keys()


def launched_processes() -> int | None:
    """Number of training processes started together on all machines, None if no launcher set it."""
    value = os.environ.get("WORLD_SIZE")
    return None if value is None else int(value)


def main_address() -> str:
    """Name or address of the host of the first of the training processes started together."""
    return os.environ.get("MASTER_ADDR", "")


def local_processes() -> int:
    """Number of training processes started together on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def local_rank() -> int:
    """Number of this training process on its machine, from 0; also the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def upload_folder() -> Path | None:
    """Folder of what the page receives: GRADIO_TEMP_DIR, if set."""
    path = os.environ.get("GRADIO_TEMP_DIR")
    return Path(path) if path else None


def server_name() -> str:
    """Name or address to serve on: GRADIO_SERVER_NAME, else 127.0.0.1, which other machines do not reach."""
    return os.environ.get("GRADIO_SERVER_NAME", "").strip() or "127.0.0.1"


def server_ports() -> tuple[str, str]:
    """The first port to serve on and how many to try: GRADIO_SERVER_PORT and GRADIO_NUM_PORTS."""
    first = os.environ.get("GRADIO_SERVER_PORT", "").strip() or "7860"
    return first, os.environ.get("GRADIO_NUM_PORTS", "").strip() or "100"


def root_path() -> str:
    """Path below which a proxy offers the page: GRADIO_ROOT_PATH, "" for none."""
    return os.environ.get("GRADIO_ROOT_PATH", "").strip()


def share_wanted() -> bool:
    """Whether GRADIO_SHARE asks for a public link."""
    return os.environ.get("GRADIO_SHARE", "").lower() == "true"


def metrics_port() -> str:
    """Port for Prometheus' metrics: SERDEMO_METRICS_PORT, "" for none."""
    return os.environ.get("SERDEMO_METRICS_PORT", "").strip()


def metrics_name() -> str:
    """Name or address for them: SERDEMO_METRICS_NAME, else 127.0.0.1, which other machines do not reach."""
    return os.environ.get("SERDEMO_METRICS_NAME", "").strip() or "127.0.0.1"


def log_format() -> str:
    """How a page writes its log: SERDEMO_LOG, "" for the usual."""
    return os.environ.get("SERDEMO_LOG", "").strip()


def log_level() -> str:
    """From which level on: SERDEMO_LOG_LEVEL, "" for the usual."""
    return os.environ.get("SERDEMO_LOG_LEVEL", "").strip()


def set_defaults(**values: str) -> None:
    """Set those environment variables of this process that are not set."""
    set_variables(**{name: value for name, value in values.items() if not os.environ.get(name)})


def set_variables(**values: str | None) -> None:
    """Set environment variables of this process and of those it starts; None unsets one."""
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextmanager
def variables(**values: str | None) -> Iterator[None]:
    """Set environment variables for a while; None unsets one."""
    before = {name: os.environ.get(name) for name in values}
    try:
        set_variables(**values)
        yield
    finally:
        set_variables(**before)
