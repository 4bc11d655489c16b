"""Recipe `cross_corpus`: cross-corpus supervised contrastive learning (arXiv 2411.19803).

| paper says | here | why |
|---|---|---|
| HuBERT- or WavLM-base: speech encoder, Transformer, self-attention pooling, classifier | any encoder of the table; self-attention pooling (arXiv 2008.01077), one linear layer to the embedding | its question of smaller encoders; an embedding of one size for all |
| stage 1: contrastive training on several corpora, one emotion positive whatever the language | SupCon (arXiv 2004.11362), positives across corpora only; clips of one emotion and one corpus are no negatives of each other | batch form of InfoNCE: every clip of a batch is anchor once |
| an emotion common to both corpora is drawn (as a review has it) | batches balanced over emotion and corpus | works for any number of corpora, and for emotions that only one of them has |
| a cosine margin loss, not written out | additive-margin softmax (arXiv 1801.05599), or cosine embedding loss over pairs | the prototypes say during stage 1 already how well emotions part |
| CNN and feature projection frozen, Transformer trained (as a review has it) | `--freeze features` for encoders that have them | an option, as other freezing may pay |
| stage 2: classifier, two layers with ReLU, fine-tuned on the target alone | the same; `--tune head` leaves the rest as stage 1 left it, `--tune all` trains it on | not stated which of the two; both are read |
| direct fine-tuning as the first experiment to compare with | `--contrast-epochs 0 --tune all`: stage 2 alone | the same network, batches and budget, without stage 1 |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from serdemo.data.array_cache import CacheOptions
from serdemo.data.dataset import Batch
from serdemo.data.splits import Split
from serdemo.nn import losses
from serdemo.nn.model import Model
from serdemo.schema.errors import UsageError
from serdemo.schema.options import Options, Value, option
from serdemo.schema.types import Utterance
from serdemo.training.recipes.base import Stage, Validation
from serdemo.training.recipes.frozen_features import FrozenOptions
from serdemo.training.recipes.stages import (
    ENCODER_GROUPS,
    ClipsStage,
    TuneOptions,
    labelled_clips,
    prototypes,
)
from serdemo.training.recipes.two_stage import TwoStageRecipe
from serdemo.training.recipes.validation import ClassOptions, embed, validation_metrics


@dataclass(frozen=True)
class CrossCorpusOptions(Options):
    """Options of the recipe itself."""

    target: str = option("", "corpus of the second stage [default: all of them]", advanced=False)
    contrast_epochs: int = option(
        20, "passes of stage 1; 0 for direct fine-tuning", low=0, high=10_000, advanced=False
    )
    contrastive_temperature: float = option(0.1, "that of InfoNCE", low=0.01, high=1.0)
    margin_weight: float = option(0.5, "weight of the cosine margin loss", low=0.0, high=10.0)
    margin_loss: str = option(
        "softmax", "the cosine margin loss: by prototypes or pairs", choices=("softmax", "pairs")
    )
    margin: float = option(0.2, "its margin, as a cosine", low=0.0, high=1.0)
    margin_scale: float = option(30.0, "scale of the softmax kind", low=1.0, high=100.0)


class ContrastStage(ClipsStage):
    """Stage 1: InfoNCE with positives across corpora, and the cosine margin loss."""

    name = "contrast"

    def __init__(
        self, recipe: CrossCorpus, model: Model, split: Split, seed: int, memory_share: float
    ) -> None:
        self.options = recipe.options(CrossCorpusOptions)
        self.epochs = self.options.contrast_epochs
        labels = recipe.labels(split)  # the model has none after stage 1 alone
        train, valid = labelled_clips(recipe, split, labels)
        rate = recipe.options(TuneOptions).learning_rate
        super().__init__(
            recipe,
            model,
            train,
            valid,
            seed,
            learning_rate=rate,
            memory_share=memory_share,
            labels=labels,
        )
        self.is_cross_corpus = len(set(self.train.corpus.tolist())) > 1
        self.extra: nn.ParameterDict = prototypes(len(labels), model, seed)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Encoder, pooling and embedding, and the prototypes of the classes."""
        return self.embedding_groups()

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Both losses on the utterances' embeddings."""
        embedding, batch = self.embed(batch)
        options = self.options
        contrast = losses.supervised_contrastive(
            embedding,
            batch.emotion,
            options.contrastive_temperature,
            batch.corpus if self.is_cross_corpus else None,
        )
        if options.margin_loss == "softmax":
            prototypes = self.extra["prototypes"]
            margin = losses.margin_softmax(
                embedding, prototypes, batch.emotion, options.margin_scale, options.margin
            )
        else:
            margin = losses.cosine_pairs(embedding, batch.emotion, options.margin)
        parts = {"contrastive": contrast.item(), "margin": margin.item()}
        return contrast + options.margin_weight * margin, parts

    @torch.inference_mode()
    def validate(self, model: Model) -> Validation | None:
        """Recall of the emotions by the nearest prototype; None where no prototypes are trained."""
        options = self.options
        if not len(self.valid) or options.margin_loss != "softmax" or not options.margin_weight:
            return None
        embeddings = embed(model, self.valid, self.batching.batch_size)
        cosines = losses.cosines(embeddings, self.extra["prototypes"].cpu())
        return validation_metrics(options.margin_scale * cosines, self.valid, self.labels)


class CrossCorpus(TwoStageRecipe):
    """The recipe `cross_corpus`."""

    name: ClassVar[str] = "cross_corpus"
    summary: ClassVar[str] = (
        "Contrast emotions across corpora, then fine-tune on a target (arXiv 2411.19803)."
    )
    groups: ClassVar[tuple[type[Options], ...]] = (
        CrossCorpusOptions,
        TuneOptions,
        *ENCODER_GROUPS,
        FrozenOptions,
        CacheOptions,
    )
    defaults: ClassVar[Mapping[str, Value]] = {
        "pooling": "attention",
        "classifier_width": 192,
        "balance": 1.0,
    }
    stage_1: ClassVar[str] = "--contrast-epochs"

    @property
    def epochs_1(self) -> int:
        """Epochs of contrastive training."""
        return self.options(CrossCorpusOptions).contrast_epochs

    def check(self, split: Split) -> None:
        """Raise UsageError, too, where the target has no clips to fine-tune on."""
        super().check(split)
        target, classes = self.options(CrossCorpusOptions).target, self.options(ClassOptions)
        own = self._of_target(split.train)
        if target and not classes.classes(own):
            corpora = ", ".join(sorted({u.corpus for u in split.train}))
            raise UsageError(f"--target {target} has no clips to train on; there are {corpora}.")
        others = {u.corpus for u in split.train} - {u.corpus for u in own}
        if others and not self.epochs_1:
            raise UsageError(
                f"Without stage 1 only {target} is trained on: leave {', '.join(sorted(others))} out"
                " of --corpus."
            )
        classes.labels(own)  # stage 2 needs two emotions of its own

    def labels(self, split: Split) -> tuple[str, ...]:
        """The classes of the training clips of all corpora."""
        return self.options(ClassOptions).labels(split.train)

    def first_stage(self, model: Model, split: Split, seed: int, memory_share: float) -> Stage:
        """Contrastive training on all corpora."""
        return ContrastStage(self, model, split, seed, memory_share)

    def tuning_split(self, split: Split, seed: int) -> Split:
        """The clips of the target corpus alone."""
        train, valid = self._of_target(split.train), self._of_target(split.valid)
        return replace(split, train=train, valid=valid)

    def _of_target(self, utterances: Iterable[Utterance]) -> tuple[Utterance, ...]:
        """The clips of the target corpus; all where none is named."""
        target = self.options(CrossCorpusOptions).target.lower()
        return tuple(u for u in utterances if not target or u.corpus == target)
