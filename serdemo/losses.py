"""Losses as pure functions of tensors. Each is finite for every batch, however degenerate."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def supervised_contrastive(
    embeddings: Tensor, labels: Tensor, temperature: float = 0.1, groups: Tensor | None = None
) -> Tensor:
    """Supervised contrastive loss (Khosla et al., arXiv 2004.11362, equation 2, "out").

    `embeddings` (B, D) any scale, normalised here; `labels` (B,). With `groups` (B,), positives
    are taken across groups only (same label, other group), as the cross-corpus method does; clips
    of one label and one group are then neither positive nor negative to each other.
    Label -1 means unknown and is nobody's positive. Anchors without a positive are left out of the mean; a batch without any gives 0.
    """
    z = F.normalize(embeddings.float(), dim=1)
    with torch.autocast(z.device.type, enabled=False):  # 8 bits of mantissa rank too coarsely
        similarity = z @ z.T / temperature
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    alike = (labels[:, None] == labels[None, :]) & (labels >= 0) & ~itself
    positive, left_out = alike, itself
    if groups is not None:
        across = groups[:, None] != groups[None, :]
        positive, left_out = alike & across, itself | (alike & ~across)
    log_probability = similarity - torch.logsumexp(
        similarity.masked_fill(left_out, float("-inf")), dim=1, keepdim=True
    )
    count = positive.sum(1)
    anchors = count > 0
    if not anchors.any():
        return embeddings.sum() * 0.0
    per_anchor = -log_probability.masked_fill(~positive, 0.0).sum(1)[anchors] / count[anchors]
    return per_anchor.mean()


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of (B, C) logits in float32; label -1 is ignored; none left gives 0."""
    if not (labels >= 0).any():
        return logits.sum() * 0.0
    return F.cross_entropy(logits.float(), labels, ignore_index=-1, label_smoothing=smoothing)


def margin_softmax(
    embeddings: Tensor, prototypes: Tensor, labels: Tensor, scale: float = 30.0, margin: float = 0.2
) -> Tensor:
    """Additive-margin softmax (Wang et al., arXiv 1801.05599, equation 6).

    `embeddings` (B, D) and class `prototypes` (C, D), both of any scale, normalised here; `labels`
    (B,), -1 is ignored, none left gives 0. The cosine to the own class must exceed the others by
    `margin`.
    """
    cosine = cosines(embeddings, prototypes)
    own = F.one_hot(labels.clamp_min(0), len(prototypes)).to(cosine.dtype)
    return cross_entropy(scale * (cosine - margin * own), labels)


def cosines(first: Tensor, second: Tensor) -> Tensor:
    """Cosines (B, C) of every row of (B, D) with every row of (C, D), float32."""
    with torch.autocast(first.device.type, enabled=False):
        return F.normalize(first.float(), dim=1) @ F.normalize(second.float(), dim=1).T


def cosine_pairs(embeddings: Tensor, labels: Tensor, margin: float = 0.2) -> Tensor:
    """Cosine embedding loss over all pairs of a batch.

    `embeddings` (B, D), `labels` (B,); a pair of one label costs 1 - cosine, one of two labels what
    its cosine exceeds `margin` by. The two kinds of pairs weigh alike, however many there are; clips
    of label -1 are in no pair, and a batch without pairs gives 0.
    """
    known = labels >= 0
    cosine, names = cosines(embeddings[known], embeddings[known]), labels[known]
    alike = names[:, None] == names[None, :]
    first = torch.ones_like(alike).triu(1)
    kinds = ((1 - cosine)[alike & first], (cosine - margin).clamp_min(0)[~alike & first])
    means = [costs.mean() for costs in kinds if len(costs)]
    return torch.stack(means).mean() if means else embeddings.sum() * 0.0
