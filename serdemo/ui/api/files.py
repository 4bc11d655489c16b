"""Files that a program sends: uploads, or sound within the call. No path and no address is opened."""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from gradio.utils import get_upload_folder

from serdemo.schema.errors import UsageError
from serdemo.schema.files import make_folder
from serdemo.ui.shell.uploads import MAX_FILES, Recording, delete, uploaded

MAX_NAME = 200  # letters of a file's name
MAX_DISCARDED = 10_000  # files of a refused call that are looked for
KEYS = ("path", "orig_name")  # of gradio's FileData
SERVED = "/gradio_api/file="  # in the address of an upload
NO_FILES = "This call needs files: a list of uploads, at least one."
NO_UPLOAD = (
    "{} is no file that was uploaded here: POST it to /gradio_api/upload, and send the path which that"
    " returns."
)
NO_BASE64 = "{} is no base64: send `data:audio/wav;base64,` and the file's bytes in base64."


def received(files: Any) -> list[Recording]:
    """The recordings of a call, in order: what was not uploaded is one with a refusal.

    Raises UsageError, and deletes what was uploaded for the call, for no files or more than a call takes.
    """
    sent = files if isinstance(files, list) else [files]
    if not sent or files is None:
        raise UsageError(NO_FILES)
    if len(sent) > MAX_FILES:
        for item in sent[:MAX_DISCARDED]:
            if not _is_inline(item):
                discard(_recording(item))
        raise UsageError(f"A call takes at most {MAX_FILES} files, not {len(sent)}: send fewer.")
    return [_recording(item) for item in sent]


def discard(recording: Recording) -> None:
    """Delete the file of a recording and the folder that its upload made."""
    if recording.path is None or recording.keep:
        return
    with suppress(OSError):
        delete(recording.path)


def _recording(item: Any) -> Recording:
    """A file as gradio's FileData, or as text: its path, its address on this page, or its bytes."""
    if _is_inline(item):
        return _inline(item)
    values = item if isinstance(item, dict) else {"path": item}
    path, name = (value if isinstance(value, str) else "" for value in map(values.get, KEYS))
    path = unquote(path.partition(SERVED)[2]) or path
    name = _plain_name(name) or _plain_name(path) or "The file"
    refusal = NO_UPLOAD.format(name)
    if not Path(path).is_absolute():
        return Recording(None, name, refusal=refusal)
    recording = uploaded({"path": path, "name": name})
    return recording if recording.path else replace(recording, refusal=refusal)


def _is_inline(item: Any) -> bool:
    return isinstance(item, str) and item.startswith("data:")


def _inline(item: str) -> Recording:
    head, _, text = item.partition(",")
    kind = re.match(r"data:(?:audio|video)/(?:x-)?(\w+)", head)
    name = f"sound.{kind[1]}" if kind else "sound"
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return Recording(None, name, refusal=NO_BASE64.format(name))
    path = Path(get_upload_folder()) / uuid.uuid4().hex / name
    make_folder(path.parent)
    path.write_bytes(data)
    return Recording(path, name)


def _plain_name(text: str) -> str:
    """The last part of a path, printable and of limited length; "" where there is none."""
    name = re.split(r"[\\/]", text)[-1]
    return "".join(letter for letter in name if letter.isprintable())[:MAX_NAME].strip()
