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
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from serdemo import encoders, losses
from serdemo.augment import AugmentOptions
from serdemo.batches import (
    Batch,
    BatchOptions,
    Clips,
    balanced_weights,
    draws,
    scoring_batches,
    training_batches,
)
from serdemo.checkpoint import Description
from serdemo.encoders.options import EncoderOptions
from serdemo.model import HeadOptions, Model
from serdemo.options import Options, Value, option
from serdemo.processes import gathered
from serdemo.recipes import Recipe, Stage, Validation
from serdemo.recipes.scoring import SCORED_SECONDS, ClassOptions, judge, validate
from serdemo.schema import UsageError, Utterance
from serdemo.splits import Split


@dataclass(frozen=True)
class CrossCorpusOptions(Options):
    """What the recipe itself weighs."""

    target: str = option("", "corpus of the second stage [default: all of them]", advanced=False)
    contrast_epochs: int = option(
        20, "passes of stage 1; 0 for direct fine-tuning", low=0, high=10_000, advanced=False
    )
    epochs: int = option(
        20, "passes of stage 2; 0 for stage 1 alone", low=0, high=10_000, advanced=False
    )
    learning_rate: float = option(5e-4, "peak learning rate", low=1e-7, high=1.0, advanced=False)
    tune: str = option("all", "what stage 2 trains", choices=("head", "all"))
    contrastive_temperature: float = option(0.1, "that of InfoNCE", low=0.01, high=1.0)
    margin_weight: float = option(0.5, "weight of the cosine margin loss", low=0.0, high=10.0)
    margin_loss: str = option(
        "softmax", "the cosine margin loss: by prototypes or pairs", choices=("softmax", "pairs")
    )
    margin: float = option(0.2, "its margin, as a cosine", low=0.0, high=1.0)
    margin_scale: float = option(30.0, "scale of the softmax kind", low=1.0, high=100.0)
    smoothing: float = option(0.1, "label smoothing of stage 2", low=0.0, high=0.5)


class _Stage(Stage):
    """What both stages share: their clips and the batches drawn from them."""

    def __init__(
        self,
        recipe: CrossCorpus,
        model: Model,
        train: Iterable[Utterance],
        valid: Iterable[Utterance],
        seed: int,
    ) -> None:
        self.model, self.seed, self.recipe = model, seed, recipe
        self.options: CrossCorpusOptions = recipe.of(CrossCorpusOptions)
        self.batching: BatchOptions = recipe.of(BatchOptions)
        counted, memory = recipe.of(ClassOptions), self.batching.memory_gb / len(recipe.passes)
        self.train = Clips(counted.classes(tuple(train)), model.labels, memory * 0.8)
        self.valid = Clips(counted.known(tuple(valid), model.labels), model.labels, memory * 0.2)
        self.weights = balanced_weights(self.train.utterances, self.batching.balance)
        self.steps_per_epoch = len(draws(self.weights, self.batching, seed, 0))

    def batches(self, epoch: int, start: int) -> Iterable[Batch]:
        """An epoch's batches from number `start` on."""
        plan = draws(self.weights, self.batching, self.seed, epoch)[start:]
        augmentation: AugmentOptions = self.recipe.of(AugmentOptions)
        return training_batches(self.train, plan, self.batching.workers, augmentation)

    def encoder_group(self) -> dict[str, Any]:
        """The encoder's trainable parameters with their rate."""
        rate = self.recipe.of(EncoderOptions).rate(self.options.learning_rate)
        return {"params": self.model.encoder.trainable(), "lr": rate}  # type: ignore[operator]

    def group(self, *parts: nn.Module) -> dict[str, Any]:
        """The parameters of whole modules, at the recipe's own rate."""
        parameters = [p for part in parts for p in part.parameters()]
        return {"params": parameters, "lr": self.options.learning_rate}


class ContrastStage(_Stage):
    """Stage 1: InfoNCE with positives across corpora, and the cosine margin loss."""

    name = "contrast"

    def __init__(self, recipe: CrossCorpus, model: Model, split: Split, seed: int) -> None:
        super().__init__(recipe, model, split.train, split.valid, seed)
        self.epochs = self.options.contrast_epochs
        self.several = len(set(self.train.corpus.tolist())) > 1
        generator = torch.Generator().manual_seed(seed)
        start = torch.randn(len(model.labels), model.options.embedding, generator=generator)
        self.extra = nn.ParameterDict({"prototypes": nn.Parameter(start)})
        self.extra.to(next(model.parameters()).device)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Encoder, pooling and embedding, and the prototypes of the classes."""
        own = self.group(self.model.pooling, self.model.embedding, self.extra)
        return [self.encoder_group(), own]

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Both losses on the utterances' embeddings."""
        embedding, batch = gathered(self.model.embed(batch.wave, batch.lengths), batch)
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
        cosines = torch.zeros(len(self.valid), len(model.labels))
        for batch in scoring_batches(self.valid, self.batching.batch_size, SCORED_SECONDS):
            batch = batch.to(device)
            embedding = model.embed(batch.wave, batch.lengths)
            cosines[batch.index.cpu()] = losses.cosines(embedding, self.extra["prototypes"]).cpu()
        return judge(options.margin_scale * cosines, self.valid, model.labels)


class ClassifyStage(_Stage):
    """Stage 2: the classifier on the target's clips alone, with or without all below it."""

    name = "classify"

    def __init__(self, recipe: CrossCorpus, model: Model, split: Split, seed: int) -> None:
        train, valid = recipe.targeted(split.train), recipe.targeted(split.valid)
        super().__init__(recipe, model, train, valid, seed)
        self.epochs = self.options.epochs

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The classifier; with `--tune all` the encoder, pooling and embedding besides."""
        if self.options.tune == "head":
            return [self.group(self.model.classifier)]
        own = self.group(self.model.pooling, self.model.embedding, self.model.classifier)
        return [self.encoder_group(), own]

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy."""
        alone = self.options.tune == "head"
        if alone:
            self.model.eval()  # what is not trained is heard without dropout
        with torch.no_grad() if alone else nullcontext():
            embedding = self.model.embed(batch.wave, batch.lengths)
        logits, batch = gathered(self.model.classify(embedding), batch)
        loss = losses.cross_entropy(logits, batch.emotion, self.options.smoothing)
        return loss, {"cross_entropy": loss.item()}

    def validate(self, model: Model) -> Validation | None:
        """The figures by which the model is chosen."""
        return validate(model, self.valid, self.batching.batch_size)


class CrossCorpus(Recipe):
    """The recipe of the table."""

    name: ClassVar[str] = "cross_corpus"
    summary: ClassVar[str] = (
        "Contrast emotions across corpora, then fine-tune on a target (arXiv 2411.19803)."
    )
    groups: ClassVar[tuple[type[Options], ...]] = (
        CrossCorpusOptions,
        ClassOptions,
        BatchOptions,
        AugmentOptions,
        *encoders.GROUPS,
        HeadOptions,
    )
    presets: ClassVar[Mapping[str, Value]] = {
        "pooling": "attention",
        "hidden": 192,
        "balance": 1.0,
    }

    @property
    def passes(self) -> tuple[type[ContrastStage] | type[ClassifyStage], ...]:
        """The stages that are run."""
        options = self.of(CrossCorpusOptions)
        stages = ((ContrastStage, options.contrast_epochs), (ClassifyStage, options.epochs))
        return tuple(stage for stage, epochs in stages if epochs)

    @property
    def unscored(self) -> str:
        """After stage 1 alone there is no classifier."""
        trained = ClassifyStage in self.passes
        return "" if trained else "Stage 1 alone: no classifier yet; go on from it with --start."

    def targeted(self, utterances: Iterable[Utterance]) -> tuple[Utterance, ...]:
        """Those of the target corpus; all where none is named."""
        target = self.of(CrossCorpusOptions).target.lower()
        return tuple(u for u in utterances if not target or u.corpus == target)

    def describe(self, split: Split) -> Description:
        """The model; raises UsageError when the target has no clips to train on."""
        target, classes = self.of(CrossCorpusOptions).target, self.of(ClassOptions)
        if not self.passes:
            raise UsageError("--contrast-epochs and --epochs are both 0: nothing is trained.")
        if target and not classes.classes(self.targeted(split.train)):
            named = ", ".join(sorted({u.corpus for u in split.train}))
            raise UsageError(f"--target {target} has no clips to train on; there are {named}.")
        others = {u.corpus for u in split.train} - {u.corpus for u in self.targeted(split.train)}
        if others and ContrastStage not in self.passes:
            raise UsageError(
                f"Without stage 1 only {target} is heard: leave {', '.join(sorted(others))} out of"
                " --corpus."
            )
        classes.labels(self.targeted(split.train))  # stage 2 needs two emotions of its own
        encoder, encoder_options, config = encoders.describe(self.of)
        return Description(
            labels=classes.labels(split.train),
            encoder=encoder,
            encoder_options=encoder_options,
            encoder_config=config,
            head_options=self.of(HeadOptions).to_json(),
        )

    def stages(self, model: Model, split: Split, seed: int) -> list[Stage]:
        """Stage 1 where it is wanted, then stage 2."""
        return [stage(self, model, split, seed) for stage in self.passes]
