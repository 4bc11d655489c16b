"""Errors whose message is one sentence for the user."""

from __future__ import annotations


class SerdemoError(Exception):
    """A failure told in one sentence that says what is wrong and what to do (exit code 1)."""

    exit_code = 1


class UsageError(SerdemoError):
    """The command or call itself is wrong: an unknown name, a missing or impossible argument."""

    exit_code = 2
