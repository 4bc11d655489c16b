"""Skips that CI allows: all that can be installed is there."""

from __future__ import annotations

import os
from typing import Any


def may_be_missing(reason: str) -> bool:
    """Whether a test may be skipped for this reason in CI: a corpus that is not at hand, Windows' lack of a
    signal, a network without IPv6."""
    if reason.endswith("not in SERDEMO_DATA") or "IPv6" in reason or reason.startswith("Windows "):
        return True
    return "SERDEMO_DATA" in reason and not os.environ.get("SERDEMO_DATA")


def forbid_skip(report: Any) -> Any:
    """The report of pytest, made a failure where CI does not allow the skip."""
    if os.environ.get("CI") and report.skipped and isinstance(report.longrepr, tuple):
        reason = str(report.longrepr[2]).removeprefix("Skipped: ")
        if not may_be_missing(reason):
            report.outcome, report.longrepr = "failed", f"CI allows no skip for this: {reason}"
    return report
