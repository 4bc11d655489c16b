"""Recipe `cluster_ablations`: what the clusters of `speaker_clusters` are worth.

In place of clusters of the embeddings, stage 1 contrasts the emotions themselves (perfect clusters),
emotions of which a share is permuted (corrupted), or permuted clusters (meaningless). The speaker
head may be adversarial, as in the paper's variants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from serdemo.data.splits import Split
from serdemo.metrics import clusters
from serdemo.nn import losses
from serdemo.nn.model import Model
from serdemo.schema.options import Options, option
from serdemo.training.recipes.base import Stage
from serdemo.training.recipes.speaker_clusters import ClusterStage, SpeakerClusters


@dataclass(frozen=True)
class AblationOptions(Options):
    """Options of the ablations."""

    clusters_from: str = option(
        "kmeans",
        "clusters of the embeddings, the emotions, permuted clusters, or partly permuted emotions",
        choices=("kmeans", "emotion", "shuffled", "corrupted"),
    )
    corruption: float = option(
        0.3, "share of each speaker's clips that are permuted", low=0.0, high=1.0
    )
    adversarial: bool = option(False, "reverse the gradient of the speaker head")

    @property
    def uses_emotions(self) -> bool:
        """Whether clusters are made of the emotions rather than of embeddings."""
        return self.clusters_from in ("emotion", "corrupted")


class AblationStage(ClusterStage):
    """Stage 1 on other clusters, or with an adversarial head."""

    def __init__(
        self, recipe: ClusterAblations, model: Model, split: Split, seed: int, memory_share: float
    ) -> None:
        super().__init__(recipe, model, split, seed, memory_share)
        self.ablation = recipe.options(AblationOptions)
        self.emotions = [u.emotion for u in split.train]

    def clusters(self) -> clusters.Codes:
        """The cluster (N,) of each training clip, numbered within its speaker."""
        ablation, codes = self.ablation, None
        if ablation.uses_emotions:
            codes = np.unique(self.emotions, return_inverse=True)[1]
        share = {"shuffled": 1.0, "corrupted": ablation.corruption}.get(ablation.clusters_from, 0.0)
        codes = super().clusters() if codes is None else codes
        return permute_within_speakers(codes, self.speakers, share, self.seed)

    def speaker_loss(self, embedding: Tensor, speakers: Tensor) -> tuple[Tensor, float]:
        """That of the head; an adversarial head learns at full weight, its gradient is weighted."""
        if not self.ablation.adversarial:
            return super().speaker_loss(embedding, speakers)
        hidden = gradient_reversal(embedding, self.options.speaker_weight)
        return losses.cross_entropy(self.extra["speaker"](hidden), speakers), 1.0


class ClusterAblations(SpeakerClusters):
    """The recipe `cluster_ablations`."""

    name: ClassVar[str] = "cluster_ablations"
    summary: ClassVar[str] = "Pretrain on other clusters than those of the embeddings."
    groups: ClassVar[tuple[type[Options], ...]] = (AblationOptions, *SpeakerClusters.groups)

    @property
    def needs_labels(self) -> bool:
        """Also where the clusters are made of the emotions."""
        return super().needs_labels or self.options(AblationOptions).uses_emotions

    @property
    def needs_embeddings(self) -> bool:
        """Not where the clusters are made of the emotions."""
        return super().needs_embeddings and not self.options(AblationOptions).uses_emotions

    def first_stage(self, model: Model, split: Split, seed: int, memory_share: float) -> Stage:
        """Contrastive pretraining on the other clusters."""
        return AblationStage(self, model, split, seed, memory_share)


def permute_within_speakers(
    codes: clusters.Codes, speakers: Sequence[str], share: float, seed: int
) -> clusters.Codes:
    """Cluster codes (N,) in which a share of each speaker's clips have been permuted."""
    rng, permuted, names = np.random.default_rng(seed), codes.copy(), np.array(speakers)
    for name in sorted(set(speakers)):
        own = np.flatnonzero(names == name)
        chosen = rng.choice(own, round(share * len(own)), replace=False)
        permuted[chosen] = codes[rng.permutation(chosen)]
    return permuted


class _GradientReversal(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, value: Tensor, weight: float) -> Tensor:
        context.weight = weight
        return value.view_as(value)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -context.weight * gradient, None


def gradient_reversal(value: Tensor, weight: float = 1.0) -> Tensor:
    """The identity, whose gradient is multiplied by -weight (Ganin and Lempitsky, arXiv 1409.7495)."""
    result: Tensor = _GradientReversal.apply(value, weight)
    return result
