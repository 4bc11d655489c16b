"""Errors whose message is one sentence for the user."""

from __future__ import annotations

import traceback


class SerdemoError(Exception):
    """A failure, as one sentence that says what is wrong and what to do (exit code 1)."""

    exit_code = 1


class UsageError(SerdemoError):
    """A wrong command or call: an unknown name, a missing or impossible argument (exit code 2)."""

    exit_code = 2


def trace(problem: BaseException) -> str:
    """A traceback without messages, which may hold what a visitor sent: for the log of a page."""
    earlier = problem.__cause__ or problem.__context__
    head = f"{trace(earlier)}\n" if earlier else ""
    frames = "".join(traceback.format_tb(problem.__traceback__))
    return f"{head}Traceback (most recent call last):\n{frames}{type(problem).__name__}"
