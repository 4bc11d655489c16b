"""Settings from environment variables, which no other module reads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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


def contact() -> str:
    """Who hosts the page and how to reach them, for its visitors: SERDEMO_CONTACT, "" where nobody is named."""
    return os.environ.get("SERDEMO_CONTACT", "").strip()


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
