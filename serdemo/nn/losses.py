"""Losses as pure functions of tensors. Each is finite for every batch, even without valid pairs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def supervised_contrastive(
    embeddings: Tensor, labels: Tensor, temperature: float = 0.1, groups: Tensor | None = None
) -> Tensor:
    """Supervised contrastive loss (Khosla et al., arXiv 2004.11362, equation 2, "out").

    `embeddings` (B, D) are normalised; `labels` (B,) are integers, -1 for unknown, never a positive.
    With `groups` (B,), positives have the same label and another group; pairs of one label and one
    group are then neither positive nor negative. Anchors without a positive are left out of the
    mean; a batch without anchors gives 0.
    """
    diagonal = torch.eye(len(embeddings), dtype=torch.bool, device=embeddings.device)
    same_label = (labels[:, None] == labels[None, :]) & (labels >= 0) & ~diagonal
    positive, ignored = same_label, diagonal
    if groups is not None:
        across = groups[:, None] != groups[None, :]
        positive, ignored = same_label & across, diagonal | (same_label & ~across)
    return _contrast(embeddings, positive, ignored, positive.any(1), temperature)


def cluster_contrastive(
    embeddings: Tensor, clusters: Tensor, speakers: Tensor, temperature: float = 0.1
) -> Tensor:
    """InfoNCE within speakers (in the batch form of arXiv 2004.11362, equation 2).

    A clip's positives are the clips of its speaker and cluster, its negatives those of the
    speaker's other clusters; other speakers' clips, which the voice alone would separate, are
    neither. `embeddings` (B, D) are normalised; `clusters` and `speakers` (B,) are integers. Anchors
    without a positive or a negative are left out; a batch without anchors gives 0.
    """
    diagonal = torch.eye(len(embeddings), dtype=torch.bool, device=embeddings.device)
    same_speaker = speakers[:, None] == speakers[None, :]
    same_cluster = clusters[:, None] == clusters[None, :]
    positive, negative = same_speaker & same_cluster & ~diagonal, same_speaker & ~same_cluster
    anchors = positive.any(1) & negative.any(1)
    return _contrast(embeddings, positive, ~(positive | negative), anchors, temperature)


def _contrast(
    embeddings: Tensor, positive: Tensor, ignored: Tensor, anchors: Tensor, temperature: float
) -> Tensor:
    """Mean over `anchors` (B,) and their `positive` pairs (B, B) of -log softmax, 0 without anchors.

    The softmax of an anchor's similarities is over all pairs that are not `ignored` (B, B).
    """
    if not anchors.any():
        return embeddings.sum() * 0.0
    z = F.normalize(embeddings.float(), dim=1)
    with torch.autocast(z.device.type, enabled=False):  # 8 bits of mantissa rank too coarsely
        similarity = (z @ z.T / temperature)[anchors]  # other rows may have no pair at all
    positive = positive[anchors]
    log_probability = similarity - torch.logsumexp(
        similarity.masked_fill(ignored[anchors], float("-inf")), dim=1, keepdim=True
    )
    per_anchor = -log_probability.masked_fill(~positive, 0.0).sum(1) / positive.sum(1)
    return per_anchor.mean()


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of `logits` (B, C), in float32; labels (B,) of -1 are ignored, 0 for no label."""
    if not (labels >= 0).any():
        return logits.sum() * 0.0
    return F.cross_entropy(logits.float(), labels, ignore_index=-1, label_smoothing=smoothing)


def margin_softmax(
    embeddings: Tensor, prototypes: Tensor, labels: Tensor, scale: float = 30.0, margin: float = 0.2
) -> Tensor:
    """Additive-margin softmax (Wang et al., arXiv 1801.05599, equation 6).

    `embeddings` (B, D) and class `prototypes` (C, D) are normalised; `labels` (B,) of -1 are ignored.
    The cosine to the own class must exceed the others by `margin`.
    """
    cosine = cosines(embeddings, prototypes)
    own = F.one_hot(labels.clamp_min(0), len(prototypes)).to(cosine.dtype)
    return cross_entropy(scale * (cosine - margin * own), labels)


def cosines(first: Tensor, second: Tensor) -> Tensor:
    """Cosine similarities (B, C), float32, of the rows of `first` (B, D) and `second` (C, D)."""
    with torch.autocast(first.device.type, enabled=False):
        return F.normalize(first.float(), dim=1) @ F.normalize(second.float(), dim=1).T


def cosine_pairs(embeddings: Tensor, labels: Tensor, margin: float = 0.2) -> Tensor:
    """Cosine embedding loss over all pairs of a batch.

    `embeddings` (B, D), `labels` (B,). A pair of one label costs 1 - cosine, a pair of two labels
    max(0, cosine - `margin`); both kinds have equal weight. Clips of label -1 are in no pair, and a
    batch without pairs gives 0.
    """
    known = labels >= 0
    cosine, labels = cosines(embeddings[known], embeddings[known]), labels[known]
    same = labels[:, None] == labels[None, :]
    upper = torch.ones_like(same).triu(1)  # each pair once
    kinds = ((1 - cosine)[same & upper], (cosine - margin).clamp_min(0)[~same & upper])
    means = [costs.mean() for costs in kinds if len(costs)]
    return torch.stack(means).mean() if means else embeddings.sum() * 0.0


def kd_loss(logits: Tensor, teacher_probs: Tensor, temperature: float = 2.0) -> Tensor:
    """Knowledge distillation loss (Hinton et al., arXiv 1503.02531) of each clip, (B,).

    `logits` (B, C) of the student; `teacher_probs` (B, C), already softened by `temperature`. Returns
    temperature^2 KL(teacher || student): the factor keeps the gradient's scale at any temperature.
    """
    log_student = F.log_softmax(logits.float() / temperature, dim=1)
    teacher = teacher_probs.float()
    return temperature**2 * (torch.xlogy(teacher, teacher) - teacher * log_student).sum(1)


def feature_distillation(frames: Tensor, teacher_frames: Tensor, mask: Tensor) -> Tensor:
    """Feature distillation loss of each clip, (B,): mean squared error of the frames in `mask` (B, F).

    `frames` and `teacher_frames` (B, F, D); each frame of the teacher is normalised to mean 0 and
    variance 1. A clip without frames gives 0.
    """
    target = F.layer_norm(teacher_frames.float(), teacher_frames.shape[-1:])
    distance = (frames.float() - target).square().mean(2) * mask
    return distance.sum(1) / mask.sum(1).clamp_min(1)


def similarity_preserving(embeddings: Tensor, teacher_embeddings: Tensor) -> Tensor:
    """Similarity-preserving distillation loss (Tung and Mori, arXiv 1907.09682), with cosines.

    `embeddings` (B, D) and `teacher_embeddings` (B, E) of any scale are each centred on their mean.
    Returns the mean squared difference of the cosines of all pairs; fewer than two clips give 0.
    """
    if len(embeddings) < 2:
        return embeddings.sum() * 0.0
    student, teacher = (x.float() - x.float().mean(0) for x in (embeddings, teacher_embeddings))
    pairs = ~torch.eye(len(student), dtype=torch.bool, device=student.device)
    return (cosines(student, student) - cosines(teacher, teacher)).square()[pairs].mean()
