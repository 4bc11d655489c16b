"""Answers and embeddings for lists of any length, in parts that are done once, by whatever machines."""
