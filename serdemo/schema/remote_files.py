"""Files by an address that fsspec knows, such as `s3://`, `gs://` and `hf://`.

Only what the person at the command line names is fetched: no handler of the page comes here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from serdemo.schema.errors import SerdemoError

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(::[A-Za-z][A-Za-z0-9+.-]+)*://.")
MAX_SUFFIX = 10  # characters, of a file's format


def is_address(location: str) -> bool:
    """Whether a text is an address rather than a path; a single letter before `:` is a drive."""
    return _ADDRESS.match(location) is not None


@contextmanager
def local_copy(address: str) -> Iterator[Path]:
    """The path of a copy of a file, which is gone after the block. Raises SerdemoError where the address
    cannot be read."""
    files, inside = file_system(address)
    with TemporaryDirectory(prefix="serdemo-", ignore_cleanup_errors=True) as folder:
        suffix = PurePosixPath(inside).suffix[:MAX_SUFFIX]  # may be all that tells the format
        path = Path(folder, f"copy{suffix}")
        with readable(address):
            files.get_file(inside, str(path))
        yield path


def file_system(address: str) -> tuple[Any, str]:
    """The fsspec file system of an address, and the path within it.

    Raises SerdemoError for an unknown kind of address, and for one whose package is not installed.
    """
    from fsspec.core import url_to_fs

    with readable(address):
        files, inside = url_to_fs(address)
    return files, inside


@contextmanager
def readable(address: str) -> Iterator[None]:
    """Raise SerdemoError for whatever goes wrong with an address: each store has errors of its own."""
    try:
        yield
    except FileNotFoundError:
        raise SerdemoError(f"There is no file {address}.") from None
    except Exception as problem:
        reason = " ".join(str(problem).split()).rstrip(".") or type(problem).__name__
        raise SerdemoError(f"{address} cannot be read: {reason}.") from problem
