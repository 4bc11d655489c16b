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
    Label -1 means unknown and is nobody's positive. Anchors without a positive are left out of the
    mean; a batch without any gives 0.
    """
    itself = torch.eye(len(embeddings), dtype=torch.bool, device=embeddings.device)
    alike = (labels[:, None] == labels[None, :]) & (labels >= 0) & ~itself
    positive, left_out = alike, itself
    if groups is not None:
        across = groups[:, None] != groups[None, :]
        positive, left_out = alike & across, itself | (alike & ~across)
    return _contrast(embeddings, positive, left_out, positive.any(1), temperature)


def cluster_contrastive(
    embeddings: Tensor, clusters: Tensor, speakers: Tensor, temperature: float = 0.1
) -> Tensor:
    """InfoNCE within speakers: a clip's positives are those of its cluster, its negatives those of
    the speaker's other clusters (the batch form of arXiv 2004.11362, equation 2).

    `embeddings` (B, D) any scale, normalised here; `clusters` and `speakers` (B,) whole numbers.
    Clips of other speakers are in no denominator, as they would be told apart by the voice. Anchors
    without a positive or without a negative are left out of the mean; none left gives 0.
    """
    itself = torch.eye(len(embeddings), dtype=torch.bool, device=embeddings.device)
    voice = speakers[:, None] == speakers[None, :]
    alike = clusters[:, None] == clusters[None, :]
    positive, negative = voice & alike & ~itself, voice & ~alike
    anchors = positive.any(1) & negative.any(1)
    return _contrast(embeddings, positive, ~(positive | negative), anchors, temperature)


def _contrast(
    embeddings: Tensor, positive: Tensor, left_out: Tensor, anchors: Tensor, temperature: float
) -> Tensor:
    """Mean over `anchors` (B,), and over each one's `positive` pairs (B, B), of the negative log of
    its share among all that is not `left_out`; 0 without an anchor."""
    if not anchors.any():
        return embeddings.sum() * 0.0
    z = F.normalize(embeddings.float(), dim=1)
    with torch.autocast(z.device.type, enabled=False):  # 8 bits of mantissa rank too coarsely
        similarity = (z @ z.T / temperature)[anchors]  # the others may have nobody to compare with
    positive = positive[anchors]
    log_probability = similarity - torch.logsumexp(
        similarity.masked_fill(left_out[anchors], float("-inf")), dim=1, keepdim=True
    )
    per_anchor = -log_probability.masked_fill(~positive, 0.0).sum(1) / positive.sum(1)
    return per_anchor.mean()


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of (B, C) logits in float32.

    `labels` (B,) integers, of which -1 is ignored; none left gives 0.
    """
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


def kd_loss(logits: Tensor, taught: Tensor, temperature: float = 2.0) -> Tensor:
    """Distillation from softened answers (Hinton et al., arXiv 1503.02531), one value a clip.

    `logits` (B, C) of the student, `taught` (B, C) probabilities of the teacher that are softened
    already. Returns temperature squared times the divergence KL(taught || student), (B,), so that
    gradients stay as large at any temperature.
    """
    log_student = F.log_softmax(logits.float() / temperature, dim=1)
    taught = taught.float()
    return temperature**2 * (torch.xlogy(taught, taught) - taught * log_student).sum(1)


def feature_distillation(frames: Tensor, taught: Tensor, mask: Tensor) -> Tensor:
    """How far frames are from a teacher's, one value a clip.

    `frames` and `taught` (B, F, D); each teacher's frame is centred and scaled to variance 1 over
    its D numbers. Returns (B,): the mean squared difference over the frames of `mask` (B, F); a clip
    without frames gives 0.
    """
    wanted = F.layer_norm(taught.float(), taught.shape[-1:])
    distance = (frames.float() - wanted).square().mean(2) * mask
    return distance.sum(1) / mask.sum(1).clamp_min(1)


def similarity_preserving(embeddings: Tensor, taught: Tensor) -> Tensor:
    """How differently two sets of embeddings of the same clips lie to each other.

    `embeddings` (B, D) and `taught` (B, E), any scale; each set is centred on its mean. Returns the
    mean squared difference of the cosines of all pairs (similarity-preserving distillation, Tung
    and Mori, arXiv 1907.09682, with cosines); fewer than two clips give 0.
    """
    if len(embeddings) < 2:
        return embeddings.sum() * 0.0
    own, other = (x.float() - x.float().mean(0) for x in (embeddings, taught))
    pairs = ~torch.eye(len(own), dtype=torch.bool, device=own.device)
    return (cosines(own, own) - cosines(other, other)).square()[pairs].mean()
