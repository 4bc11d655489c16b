"""A model taught one voice by a few clips of it."""
