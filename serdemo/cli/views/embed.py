"""What `clusters` shows on a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from serdemo.metrics.clusters import Agreement, Analysis
from serdemo.metrics.probes import Probe

PROBES = {
    "speaker": "speaker, from other clips of them",
    "emotion": "emotion, of speakers left out",
    "emotion_centred": "emotion, speakers' means removed",
}


def show_clusters(name: str, found: Analysis, read_off: Mapping[str, Probe | None]) -> None:
    """A row for each way of looking, chance below each, and what they mean; then the probes."""
    out = Console(highlight=False, markup=False)
    out.print(
        f"{name}: {found.n} clips of {found.speakers} speakers, {found.scored_speakers} of them with"
        f" two emotions or more ({', '.join(found.emotions)}); {found.clusters:.1f} clusters to a"
        " speaker.",
        soft_wrap=True,
    )
    table = Table("clusters against emotions", "NMI", "ARI", "purity", "silhouette", box=None)
    for title, one in (
        ("each speaker by itself, averaged", found.per_speaker),
        ("  by chance (emotions shuffled)", found.shuffled),
        ("all speakers pooled", found.pooled),
        ("  by chance (emotions shuffled)", found.pooled_shuffled),
    ):
        table.add_row(title, *_cells(one))
    out.print(table)
    out.print(
        "  NMI and ARI: 1 where clusters are emotions, ARI 0 by chance. Purity: clips whose emotion is"
        " the commonest of their cluster.\n  Silhouette: how far the emotions themselves lie apart,"
        " -1 to 1.",
        soft_wrap=True,
    )
    table = Table("read off an embedding", "accuracy", "UAR", "by chance", "classes", box=None)
    for key, title in PROBES.items():
        probe = read_off[key]
        if probe is None:
            table.add_row(title, "not defined here", "", "", "")
        else:
            chance = f"{probe.chance_accuracy:.1%}, {probe.chance_uar:.1%}"
            table.add_row(
                title, f"{probe.accuracy:.1%}", f"{probe.uar:.1%}", chance, str(probe.classes)
            )
    out.print(table)


def _cells(one: Agreement) -> list[str]:
    values = (one.nmi, one.ari, one.purity, one.silhouette)
    return ["-" if value is None else f"{value:.3f}" for value in values]
