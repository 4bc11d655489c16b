"""Recipe `speaker_clusters`: emotional clusters in speaker embeddings (arXiv 2401.11017).

Only its summary could be read: embedding, clustering, K, loss and weights are not in it.

| paper says | here | why |
|---|---|---|
| speaker embeddings hold emotion as clusters within each speaker | `--embeddings`, a checkpoint such as one of the recipe `speaker` (default: the shipped one), scaled to length 1 | learnt from identity alone, it was shown no emotion |
| a clustering analysis | k-means within each speaker, K = 5, or the best silhouette of 3 to 10 (`--k 0`) | five to eight emotions are acted; `serdemo clusters` is the analysis itself |
| contrastive pretraining on speech without emotion labels, positives and negatives from the clusters | InfoNCE at temperature 0.1: positive is the same speaker and cluster, negative the same speaker's other clusters | pairs of two speakers would be told apart by the voice, so they are in no denominator |
| (how batches are drawn is not said) | several clips of each of a few speakers, every clip once an epoch | else hardly a clip would meet its positives |
| a multi-task form adds speaker classification | `--speaker-head classify`, cross-entropy weighed by `--speaker-weight` | 0.1 and 1 are read as its weights |
| adversarial variants are compared | not here: `ClusterAblations` of `serdemo bench papers` reverses the gradient of that head | they were worth less |
| supervised fine-tuning; few labels help most | a classifier, with all below it, on `--labels-share` of the training labels | stage 2 alone (`--cluster-epochs 0`) is what to compare with |
| (its own next step) cluster purity against the final result | not here: `serdemo bench papers` pretrains on the emotions, on corrupted and on shuffled clusters | what perfect, spoilt and meaningless clusters would give |

Stage 1 sees no emotion label.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from serdemo.data.array_cache import CacheOptions
from serdemo.data.corpora.speakers import require_known
from serdemo.data.dataset import Batch
from serdemo.data.sampling import SampledCrop
from serdemo.data.splits import Split
from serdemo.metrics import clusters
from serdemo.nn import checkpoint, losses, provenance
from serdemo.nn.checkpoint_files import SPEAKER, bundled_checkpoint
from serdemo.nn.description import Description, read_description
from serdemo.nn.model import Model
from serdemo.schema.options import Options, option
from serdemo.training import distributed
from serdemo.training.recipes.base import Stage, Validation
from serdemo.training.recipes.cached_clips import CachedClips
from serdemo.training.recipes.frozen_features import FrozenOptions
from serdemo.training.recipes.stages import (
    ENCODER_GROUPS,
    ClipsStage,
    TuneOptions,
    speaker_grouped_batches,
    stratified_sample,
    without_emotions,
)
from serdemo.training.recipes.two_stage import TwoStageRecipe
from serdemo.training.recipes.validation import ClassOptions, embed


@dataclass(frozen=True)
class SpeakerClusterOptions(Options):
    """Options of the recipe itself."""

    embeddings: str = option(
        "",
        "checkpoint folder that embeds voices, as the recipe speaker leaves it [default: the shipped"
        f" {SPEAKER}]",
    )
    cluster_epochs: int = option(
        20, "passes of stage 1; 0 for fine-tuning alone", low=0, high=10_000, advanced=False
    )
    k: int = option(5, "clusters to a speaker; 0 for 3 to 10, by silhouette", low=0, high=100)
    clips_per_speaker: int = option(
        12, "clips of a speaker that come into a batch together", low=2, high=4096
    )
    contrastive_temperature: float = option(0.1, "that of InfoNCE", low=0.01, high=1.0)
    speaker_head: str = option(
        "none", "an auxiliary head that classifies the speaker", choices=("none", "classify")
    )
    speaker_weight: float = option(0.1, "weight of its loss", low=0.0, high=10.0)
    labels_share: float = option(
        1.0, "share of the training labels that stage 2 sees", low=0.001, high=1.0, advanced=False
    )


class ClusterStage(ClipsStage):
    """Stage 1: InfoNCE between the clusters of each speaker, with or without a speaker head.

    Clusters are made before the first batch and saved with the run, so that a resumed one has the
    same.
    """

    name = "clusters"

    def __init__(
        self, recipe: SpeakerClusters, model: Model, split: Split, seed: int, memory_share: float
    ) -> None:
        self.options, self.embedder = recipe.options(SpeakerClusterOptions), recipe.embedder
        self.epochs = self.options.cluster_epochs
        train, rate = without_emotions(split.train), recipe.options(TuneOptions).learning_rate
        super().__init__(
            recipe, model, train, (), seed, learning_rate=rate, memory_share=memory_share
        )
        self.speakers = [u.speaker_key for u in train]
        self.device = next(model.parameters()).device
        self.extra: nn.ModuleDict = nn.ModuleDict()
        self.extra.register_buffer("clusters", torch.full((len(train),), -1))
        if self.options.speaker_head != "none":
            head = nn.Linear(model.options.embedding, len(set(self.speakers)))
            self.extra["speaker"] = head
        self.extra.to(self.device)

    def plan(self, epoch: int) -> list[list[SampledCrop]]:
        """Every clip once, several of a speaker side by side."""
        return speaker_grouped_batches(
            self.train.speaker.numpy(),
            self.batching,
            self.options.clips_per_speaker,
            self.seed,
            epoch,
        )

    def batches(self, epoch: int, start: int) -> Iterable[Batch]:
        """The batches of an epoch from number `start` on; clusters are made before the first."""
        assigned = self.extra.get_buffer("clusters")
        if len(assigned) and int(assigned[0]) < 0:
            codes = self.clusters() if distributed.is_main_process() else None
            assigned.copy_(torch.from_numpy(distributed.broadcast_object(codes)))
        return super().batches(epoch, start)

    def clusters(self) -> clusters.Codes:
        """The cluster (N,) of each training clip, numbered within its speaker."""
        embedder, _ = checkpoint.load(self.embedder, self.device)
        clips = self.train.clips if isinstance(self.train, CachedClips) else self.train
        rows = embed(embedder, clips, self.batching.batch_size).numpy()
        return clusters.within_speakers(rows, self.speakers, self.options.k, self.seed)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Encoder, pooling and embedding, and the head where there is one."""
        return self.embedding_groups()

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """InfoNCE, and the weighted loss of the speaker head."""
        embedding, batch = self.embed(batch)
        own: Tensor = self.extra.get_buffer("clusters")[batch.index]
        loss = losses.cluster_contrastive(
            embedding, own, batch.speaker, self.options.contrastive_temperature
        )
        parts = {"contrastive": loss.item()}
        if "speaker" in self.extra:
            classify, weight = self.speaker_loss(embedding, batch.speaker)
            parts["speaker"] = classify.item()
            loss = loss + weight * classify
        return loss, parts

    def speaker_loss(self, embedding: Tensor, speakers: Tensor) -> tuple[Tensor, float]:
        """Cross-entropy of the speaker head, and its weight."""
        logits = self.extra["speaker"](embedding)
        return losses.cross_entropy(logits, speakers), self.options.speaker_weight

    def validate(self, model: Model) -> Validation | None:
        """None: there are no labels to select by, so the last weights are kept."""
        return None


class SpeakerClusters(TwoStageRecipe):
    """The recipe `speaker_clusters`."""

    name: ClassVar[str] = "speaker_clusters"
    summary: ClassVar[str] = (
        "Pretrain on the clusters within each speaker, then fine-tune (arXiv 2401.11017)."
    )
    groups: ClassVar[tuple[type[Options], ...]] = (
        SpeakerClusterOptions,
        TuneOptions,
        *ENCODER_GROUPS,
        FrozenOptions,
        CacheOptions,
    )
    stage_1: ClassVar[str] = "--cluster-epochs"

    @property
    def epochs_1(self) -> int:
        """Epochs of contrastive pretraining."""
        return self.options(SpeakerClusterOptions).cluster_epochs

    @property
    def needs_labels(self) -> bool:
        """All but stage 1 alone, which needs only clusters."""
        return self.output == "classes"

    @property
    def needs_embeddings(self) -> bool:
        """Whether stage 1 clusters the embeddings of `--embeddings`."""
        return self.epochs_1 > 0

    @property
    def embedder(self) -> Path:
        """Folder of the model of `--embeddings`, the shipped one where none is given."""
        given = self.options(SpeakerClusterOptions).embeddings
        return Path(given) if given else bundled_checkpoint(SPEAKER)

    def labels(self, split: Split) -> tuple[str, ...]:
        """The classes of the training clips."""
        return self.options(ClassOptions).labels(split.train) if self.needs_labels else ()

    def describe(self, split: Split) -> Description:
        """The model, made with the speakers of `--embeddings` too.

        Raises UsageError, too, where those were trained on a speaker to be tested.
        """
        description = super().describe(split)
        if not self.needs_embeddings:
            return description
        embedder = read_description(self.embedder)
        provenance.refuse_overlap(embedder, f"The model of --embeddings, {embedder.name},", split)
        return provenance.merge(description, embedder)

    def check(self, split: Split) -> None:
        """Raise UsageError, too, where stage 2 has fewer than two emotions to learn."""
        super().check(split)
        if self.needs_embeddings:
            require_known(split.train, "there are no clusters within each of them")
        if self.output == "classes":
            self.options(ClassOptions).labels(self.tuning_split(split, 0).train)

    def first_stage(self, model: Model, split: Split, seed: int, memory_share: float) -> Stage:
        """Contrastive pretraining on clusters."""
        return ClusterStage(self, model, split, seed, memory_share)

    def tuning_split(self, split: Split, seed: int) -> Split:
        """The share of the labelled clips that stage 2 may see."""
        classes = self.options(ClassOptions).classes(split.train)
        share = self.options(SpeakerClusterOptions).labels_share
        return replace(split, train=stratified_sample(classes, share, seed))
