"""Clips with labels: corpora, splits, protocols, the dataset and its batches."""
