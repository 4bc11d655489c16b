"""Figures computed from arrays."""
