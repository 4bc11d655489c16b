"""Metrics computed from arrays: scores, calibration, bootstrap intervals, clusters, verification."""
