"""Fuzzing of everything that a stranger can hand over: files, archives, tables, models and calls."""
