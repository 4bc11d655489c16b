"""Terminal output of `clusters`."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

from serdemo.cli.views.console import plain_console
from serdemo.metrics.clusters import Agreement, Analysis
from serdemo.metrics.probes import Probe

PROBES = {
    "speaker": "speaker, from other clips of them",
    "emotion": "emotion, of speakers left out",
    "emotion_centred": "emotion, speakers' means removed",
}


def show_clusters(name: str, analysis: Analysis, probe_results: Mapping[str, Probe | None]) -> None:
    """Print the agreement of clusters and emotions, with chance levels, and the probes."""
    out = plain_console()
    out.print(
        f"{name}: {analysis.n} clips of {analysis.speakers} speakers, {analysis.scored_speakers} of them with"
        f" two emotions or more ({', '.join(analysis.emotions)}); {analysis.clusters:.1f} clusters to a"
        " speaker."
    )
    table = Table("clusters against emotions", "NMI", "ARI", "purity", "silhouette", box=None)
    for title, agreement in (
        ("within each speaker, averaged", analysis.per_speaker),
        ("  by chance (emotions shuffled)", analysis.shuffled),
        ("all speakers pooled", analysis.pooled),
        ("  by chance (emotions shuffled)", analysis.pooled_shuffled),
    ):
        table.add_row(title, *_cells(agreement))
    out.print(table, soft_wrap=False)
    out.print(
        "  NMI and ARI: 1 where clusters are emotions, ARI 0 by chance. Purity: clips whose emotion is"
        " the commonest of their cluster.\n  Silhouette: how far the emotions themselves lie apart,"
        " -1 to 1."
    )
    table = Table(
        "linear probe of the embedding", "accuracy", "UAR", "by chance", "classes", box=None
    )
    for key, title in PROBES.items():
        probe = probe_results[key]
        if probe is None:
            table.add_row(title, "not defined here", "", "", "")
        else:
            chance = f"{probe.chance_accuracy:.1%}, {probe.chance_uar:.1%}"
            table.add_row(
                title, f"{probe.accuracy:.1%}", f"{probe.uar:.1%}", chance, str(probe.classes)
            )
    out.print(table, soft_wrap=False)


def _cells(agreement: Agreement) -> list[str]:
    values = (agreement.nmi, agreement.ari, agreement.purity, agreement.silhouette)
    return ["-" if value is None else f"{value:.3f}" for value in values]
