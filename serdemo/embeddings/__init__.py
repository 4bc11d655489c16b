"""Embeddings of whole corpora: made once, kept as tables, looked at."""
