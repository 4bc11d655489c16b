"""Memory that this process has freed, and the C library has not given back to the system."""

from __future__ import annotations

import ctypes
from contextlib import suppress


def trim() -> None:
    """Give freed memory back to the system. Does nothing where the C library is not glibc.

    A network that is read and optimised leaves more than its own size behind.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
