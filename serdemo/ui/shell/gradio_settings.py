"""gradio's own settings in environment variables. It reads most when it is imported, which is done here."""

from __future__ import annotations

import atexit
import importlib
import shutil
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

from serdemo.schema import proxies, settings
from serdemo.schema.errors import UsageError
from serdemo.ui.shell import process_folder

UPLOADS, SERVED = "serdemo-uploads-", "files"  # how a page's folder begins; in it, what is served
LOOPBACK = ("localhost", "127.0.0.1", "::1")
# Those that `serdemo` reads in its place, and those without use here: a bad value ends in a traceback.
REPLACED = (
    "GRADIO_SERVER_NAME",
    "GRADIO_SERVER_PORT",
    "GRADIO_NUM_PORTS",
    "GRADIO_NODE_NUM_PORTS",
    "GRADIO_ANALYTICS_MAX_EVENTS",
    "GRADIO_DEFAULT_CONCURRENCY_LIMIT",
    "GRADIO_DEBUG",  # it would block
)


def replaced() -> AbstractContextManager[None]:
    """The environment without what would end in a traceback of gradio's, for a while."""
    values: dict[str, str | None] = dict.fromkeys(REPLACED)
    if proxies.unusable():
        values |= {"NO_PROXY": "*", "no_proxy": "*"}
    return settings.variables(**values)


def upload_folder() -> Path:
    """A new folder of what the page receives and serves, in a new one below GRADIO_TEMP_DIR or else that for
    temporary files, which only this user can open, and which is deleted when this process ends or, had that
    been killed, when the next page starts. gradio's own choice is one for all users of a machine.

    Raises UsageError where nothing can be written.
    """
    parent = settings.upload_folder()
    try:
        parent = parent or Path(tempfile.gettempdir())
        parent.mkdir(parents=True, exist_ok=True)
        folder = process_folder.make_own(parent, UPLOADS)
        (served := folder / SERVED).mkdir()
    except OSError as problem:
        raise UsageError(
            f"GRADIO_TEMP_DIR is {parent}, where nothing can be written ({problem.strerror}): set it to"
            " another folder, or unset it."
        ) from problem
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    process_folder.delete_abandoned(parent, UPLOADS)
    return served


def scratch_folder() -> Path:
    """Folder for what the page computes with, beside that of `upload_folder`: nothing in it is served."""
    return (settings.upload_folder() or Path(tempfile.gettempdir())).parent


def load() -> None:
    """Import gradio so that it reports nothing to anyone, and its requests to this machine use no proxy."""
    settings.set_variables(GRADIO_ANALYTICS_ENABLED="False", GRADIO_TEMP_DIR=str(upload_folder()))
    proxies.bypass(LOOPBACK)
    with replaced():
        for module in ("gradio", "gradio.http_server"):
            importlib.import_module(module)


load()
