"""Judging a checkpoint: predictions on labelled clips, scores, comparisons, reports."""
