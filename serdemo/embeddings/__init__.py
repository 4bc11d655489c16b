"""Embeddings of corpora: extraction, tables, projections, maps and their export."""
