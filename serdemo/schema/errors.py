"""Errors whose message is one sentence for the user."""

from __future__ import annotations


class SerdemoError(Exception):
    """A failure, as one sentence that says what is wrong and what to do (exit code 1)."""

    exit_code = 1


class UsageError(SerdemoError):
    """A wrong command or call: an unknown name, a missing or impossible argument (exit code 2)."""

    exit_code = 2
