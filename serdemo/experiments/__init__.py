"""Experiments behind published figures, runnable as `serdemo bench ...`; not part of the wheel."""
