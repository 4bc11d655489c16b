"""What keeps a model from leaning on whose voice or which corpus it hears."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from serdemo.data.dataset import Batch, ClipDataset
from serdemo.nn import losses
from serdemo.nn.padding import length_mask
from serdemo.schema.options import Options, option


@dataclass(frozen=True)
class GeneralOptions(Options):
    """Ways to make what is learnt hold for voices, languages and rooms never heard."""

    cross_corpus_positives: bool = option(
        False, "only pairs of different corpora are positives of the contrastive term"
    )
    priors: bool = option(
        False, "not to learn which emotions a corpus has, and how many of each (logit adjustment)"
    )
    adversary: str = option(
        "none",
        "a head that guesses this from the embedding, which learns to hide it",
        choices=("none", "corpus", "speaker"),
    )
    adversary_weight: float = option(0.1, "how much the hiding counts", low=0.0, high=10.0)
    mixup: float = option(
        0.0, "how strongly clips and labels are mixed (Beta's parameter); 0 for not", low=0, high=8
    )


def adversary(options: GeneralOptions, clips: ClipDataset, width: int) -> nn.Module | None:
    """The head that guesses from embeddings (B, width), or None where none is wanted or there is
    nothing to tell apart."""
    told = {"none": clips.corpus[:0], "corpus": clips.corpus, "speaker": clips.speaker}
    names = len(torch.unique(told[options.adversary]))
    if names < 2:
        return None
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, names))


def hidden_from(
    head: nn.Module, options: GeneralOptions, embedding: Tensor, batch: Batch
) -> Tensor:
    """The adversary's cross-entropy; its gradient reaches the embedding turned round."""
    names = batch.corpus if options.adversary == "corpus" else batch.speaker
    guess = head(losses.gradient_reversal(embedding, options.adversary_weight))
    return losses.cross_entropy(guess, names)


def priors(clips: ClipDataset, weights: np.ndarray, classes: int) -> Tensor:
    """The share (corpora, classes) that each emotion has of the draws of its corpus."""
    drawn = torch.zeros(int(clips.corpus.max()) + 1, classes, dtype=torch.float64)
    drawn.index_put_((clips.corpus, clips.emotion), torch.from_numpy(weights), accumulate=True)
    return (drawn / drawn.sum(1, keepdim=True)).float()


def mixed(batch: Batch, strength: float, classes: int) -> tuple[Batch, Tensor]:
    """Mixup (Zhang et al., arXiv 1710.09412) of each clip with its neighbour in the batch.

    Every clip keeps at least half of itself, its own label and length; the other is heard at its
    level. Returns the batch and (B, classes) shares of the emotions; those of unknown emotion give
    no share.
    """
    own = torch.distributions.Beta(strength, strength).sample((len(batch),))
    own = torch.maximum(own, 1 - own).to(batch.wave.device)[:, None]
    heard = length_mask(batch.lengths, batch.wave.shape[1])
    power = batch.wave.square().sum(1, keepdim=True) / batch.lengths[:, None]
    gain = (power / power.roll(1, 0).clamp_min(1e-12)).sqrt()
    wave = own * batch.wave + (1 - own) * gain * batch.wave.roll(1, 0) * heard
    shares = F.one_hot(batch.emotion.clamp_min(0), classes) * (batch.emotion >= 0)[:, None]
    return replace(batch, wave=wave), own * shares + (1 - own) * shares.roll(1, 0)
