"""Exit codes and error messages of the command line and `app.py`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from serdemo.schema import libraries
from serdemo.schema.errors import SerdemoError


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Exit with one sentence on stderr for an expected error; any other exception is raised."""
    try:
        yield
    except SerdemoError as problem:
        fail(str(problem), problem.exit_code)
    except KeyboardInterrupt:
        fail("Stopped.", 130)
    except BrokenPipeError:
        # The reader of our output went away; keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except MemoryError:
        fail("This machine has too little memory for that; try a smaller batch or fewer clips.", 1)
    except Exception as problem:
        if sentence := libraries.import_failure(problem):
            fail(str(sentence), 1)
        if isinstance(problem, OSError):
            where = f"{problem.filename}: " if problem.filename else ""
            fail(f"{where}{problem.strerror or problem}.", 1)
        raise


def tell(message: str) -> None:
    """Print a message on stderr, on one line whatever it quotes."""
    print(f"serdemo: {' '.join(message.splitlines())}", file=sys.stderr)


def fail(message: str, code: int) -> NoReturn:
    """Print a message on stderr and exit with `code`."""
    tell(message)
    sys.exit(code)
