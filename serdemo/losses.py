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
    are taken across groups only (same label, other group), as the cross-corpus method does.
    Label -1 means unknown and is nobody's positive. Anchors without a positive are left out of the mean; a batch without any gives 0.
    """
    z = F.normalize(embeddings.float(), dim=1)
    with torch.autocast(z.device.type, enabled=False):  # 8 bits of mantissa rank too coarsely
        similarity = z @ z.T / temperature
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    positive = (labels[:, None] == labels[None, :]) & (labels >= 0) & ~itself
    if groups is not None:
        positive &= groups[:, None] != groups[None, :]
    log_probability = similarity - torch.logsumexp(
        similarity.masked_fill(itself, float("-inf")), dim=1, keepdim=True
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
