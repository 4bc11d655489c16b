"""Options of a map."""

from __future__ import annotations

from dataclasses import dataclass

from serdemo.schema.options import Options, option

NEIGHBOURS = 15
MIN_DIST = 0.1  # UMAP's own default
SAMPLE = 50_000


@dataclass(frozen=True)
class MapOptions(Options):
    """Options of the projections of a map."""

    dimensions: int = option(2, "Dimensions of the map.", low=2, high=3)
    seed: int = option(0, "Seed of UMAP, and of the sample.", low=0, high=2**31 - 1)
    neighbours: int = option(
        NEIGHBOURS, "Neighbours of a clip that UMAP preserves.", low=2, high=1000
    )
    min_dist: float = option(
        MIN_DIST, "Smallest distance of clips on the map of UMAP, 0 to 1.", low=0.0, high=1.0
    )
    sample: int = option(
        SAMPLE,
        "Clips, chosen at random, that UMAP and PCA are fitted on; others are placed among them.",
        low=100,
        high=1_000_000,
    )
