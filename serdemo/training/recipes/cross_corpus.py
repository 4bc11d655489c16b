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
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from serdemo.audio.augmentation import AugmentOptions
from serdemo.data.array_cache import CacheOptions
from serdemo.data.dataset import Batch
from serdemo.data.loader import scoring_batches
from serdemo.data.sampling import BatchOptions
from serdemo.data.splits import Split
from serdemo.nn import encoders, losses
from serdemo.nn.checkpoint import Description
from serdemo.nn.model import HeadOptions, Model
from serdemo.schema.errors import UsageError
from serdemo.schema.options import Options, Value, option
from serdemo.schema.types import Utterance
from serdemo.training.distributed import all_gather_with_grad
from serdemo.training.recipes.base import Recipe, Stage, Validation
from serdemo.training.recipes.frozen_features import FrozenOptions
from serdemo.training.recipes.stages import ClassifyStage, ClipsStage, TuneOptions
from serdemo.training.recipes.validation import SCORED_SECONDS, ClassOptions, validation_metrics


@dataclass(frozen=True)
class CrossCorpusOptions(Options):
    """What the recipe itself weighs."""

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
        self, recipe: CrossCorpus, model: Model, split: Split, seed: int, share: float
    ) -> None:
        self.options: CrossCorpusOptions = recipe.of(CrossCorpusOptions)
        self.epochs = self.options.contrast_epochs
        counted: ClassOptions = recipe.of(ClassOptions)
        labels = counted.labels(split.train)
        super().__init__(
            recipe,
            model,
            counted.classes(split.train),
            counted.known(split.valid, labels),
            seed,
            learning_rate=recipe.of(TuneOptions).learning_rate,
            share=share,
            labels=labels,
        )
        self.several = len(set(self.train.corpus.tolist())) > 1
        generator = torch.Generator().manual_seed(seed)
        start = torch.randn(len(labels), model.options.embedding, generator=generator)
        self.extra = nn.ParameterDict({"prototypes": nn.Parameter(start)})
        self.extra.to(next(model.parameters()).device)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Encoder, pooling and embedding, and the prototypes of the classes."""
        own = self.group(self.model.pooling, self.model.embedding, self.extra)
        return [self.encoder_group(), own]

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Both losses on the utterances' embeddings."""
        embedding, batch = all_gather_with_grad(self.model.embed(batch.wave, batch.lengths), batch)
        options = self.options
        contrast = losses.supervised_contrastive(
            embedding,
            batch.emotion,
            options.contrastive_temperature,
            batch.corpus if self.several else None,
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
        """The emotions of unseen speakers by the nearest prototype, where there are any."""
        options = self.options
        if not len(self.valid) or options.margin_loss != "softmax" or not options.margin_weight:
            return None
        device = next(model.parameters()).device
        cosines = torch.zeros(len(self.valid), len(self.labels))
        for batch in scoring_batches(self.valid, self.batching.batch_size, SCORED_SECONDS):
            batch = batch.to(device)
            embedding = model.embed(batch.wave, batch.lengths)
            cosines[batch.index.cpu()] = losses.cosines(embedding, self.extra["prototypes"]).cpu()
        return validation_metrics(options.margin_scale * cosines, self.valid, self.labels)


class CrossCorpus(Recipe):
    """The recipe of the table."""

    name: ClassVar[str] = "cross_corpus"
    summary: ClassVar[str] = (
        "Contrast emotions across corpora, then fine-tune on a target (arXiv 2411.19803)."
    )
    groups: ClassVar[tuple[type[Options], ...]] = (
        CrossCorpusOptions,
        TuneOptions,
        ClassOptions,
        BatchOptions,
        AugmentOptions,
        *encoders.GROUPS,
        HeadOptions,
        FrozenOptions,
        CacheOptions,
    )
    presets: ClassVar[Mapping[str, Value]] = {
        "pooling": "attention",
        "classifier_width": 192,
        "balance": 1.0,
    }

    @property
    def passes(self) -> tuple[str, ...]:
        """The names of the stages that are run."""
        epochs = (self.of(CrossCorpusOptions).contrast_epochs, self.of(TuneOptions).epochs)
        names = (ContrastStage.name, ClassifyStage.name)
        return tuple(name for name, count in zip(names, epochs, strict=True) if count)

    @property
    def unscored(self) -> str:
        """After stage 1 alone there is no classifier."""
        trained = ClassifyStage.name in self.passes
        return (
            "" if trained else "Stage 1 alone: no classifier yet; go on from it with --init-from."
        )

    def targeted(self, utterances: Iterable[Utterance]) -> tuple[Utterance, ...]:
        """Those of the target corpus; all where none is named."""
        target = self.of(CrossCorpusOptions).target.lower()
        return tuple(u for u in utterances if not target or u.corpus == target)

    def describe(self, split: Split) -> Description:
        """The model; raises UsageError when the target has no clips to train on."""
        target, classes = self.of(CrossCorpusOptions).target, self.of(ClassOptions)
        self.of(FrozenOptions).check(self.of)
        if not self.passes:
            raise UsageError("--contrast-epochs and --epochs are both 0: nothing is trained.")
        if target and not classes.classes(self.targeted(split.train)):
            named = ", ".join(sorted({u.corpus for u in split.train}))
            raise UsageError(f"--target {target} has no clips to train on; there are {named}.")
        others = {u.corpus for u in split.train} - {u.corpus for u in self.targeted(split.train)}
        if others and ContrastStage.name not in self.passes:
            raise UsageError(
                f"Without stage 1 only {target} is heard: leave {', '.join(sorted(others))} out of"
                " --corpus."
            )
        labels = classes.labels(split.train)
        classes.labels(self.targeted(split.train))  # stage 2 needs two emotions of its own
        encoder, encoder_options, config = encoders.describe(self.of)
        return Description(
            labels=() if self.unscored else labels,
            encoder=encoder,
            encoder_options=encoder_options,
            encoder_config=config,
            head_options=self.of(HeadOptions).to_json(),
        )

    def stages(self, model: Model, split: Split, seed: int) -> list[Stage]:
        """Stage 1 where it is wanted, then stage 2 on the target's clips alone."""
        found: list[Stage] = []
        share = 1 / len(self.passes)
        if ContrastStage.name in self.passes:
            found.append(ContrastStage(self, model, split, seed, share))
        if ClassifyStage.name in self.passes:
            train, valid = self.targeted(split.train), self.targeted(split.valid)
            found.append(ClassifyStage(self, model, train, valid, seed, share))
        return found
