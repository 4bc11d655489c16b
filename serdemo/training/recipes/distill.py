"""Recipe `distill`: a small network taught by larger ones.

| paper says | here | why |
|---|---|---|
| Softened answers of an ensemble (arXiv 1503.02531): the student matches them, and the labels | the mean of the teachers' softened probabilities, with cross-entropy and contrast by labels | the wrong answers tell which emotions sound alike |
| A teacher classifies the whole clip | just the excerpt of the student: the teacher's frames are cached, its pooling and classifier run again | a crop may hold another share of the emotion than the clip |
| Hints from a hidden layer (FitNets, arXiv 1412.6550) | every frame of the student predicts the teachers' frames of the same moment | many targets a clip in place of one, which counts with few clips |
| Similarities within a batch are kept (arXiv 1907.09682) | cosines of all pairs of embeddings | embeddings of another width can be compared so |
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from serdemo.data.array_cache import CacheOptions
from serdemo.data.dataset import Batch
from serdemo.data.splits import Split
from serdemo.nn import losses, provenance
from serdemo.nn.description import Description
from serdemo.nn.model import Model
from serdemo.schema.errors import UsageError
from serdemo.schema.options import Options, option
from serdemo.training.distributed import all_gather_with_grad
from serdemo.training.recipes.base import Stage
from serdemo.training.recipes.frozen_features import FrozenOptions
from serdemo.training.recipes.supervised import Supervised, SupervisedStage
from serdemo.training.recipes.teachers import Teacher, check_teacher


@dataclass(frozen=True)
class DistillOptions(Options):
    """The teachers, and the weights of the terms."""

    teacher: str = option(
        "", "checkpoint folders or teacher files, with commas between", advanced=False
    )
    kd_weight: float = option(1.0, "weight of the teachers' softened answers", low=0.0, high=100.0)
    kd_temperature: float = option(2.0, "the temperature that softens them", low=0.1, high=100.0)
    feature_weight: float = option(1.0, "weight of the teachers' frames", low=0.0, high=100.0)
    similarity_weight: float = option(
        2.0, "weight of the embeddings' geometry", low=0.0, high=100.0
    )
    supervision: float = option(0.5, "weight of what is learnt from labels", low=0.0, high=100.0)

    def paths(self) -> list[Path]:
        """The teachers' checkpoints; raises UsageError when none is named."""
        paths = [Path(part.strip()) for part in self.teacher.split(",") if part.strip()]
        if not paths:
            raise UsageError("--teacher is needed: a checkpoint folder, or several with commas.")
        return paths


class DistillStage(SupervisedStage):
    """The one stage: every parameter, the teachers' terms beside those of the labels."""

    name = "distill"

    def __init__(self, recipe: Distill, model: Model, split: Split, seed: int) -> None:
        super().__init__(recipe, model, split, seed)
        self.distill = recipe.options(DistillOptions)
        device, cache = next(model.parameters()).device, recipe.options(CacheOptions)
        self.teachers = [
            Teacher(path, model.labels, cache, device) for path in self.distill.paths()
        ]
        width: int = model.encoder.width  # type: ignore[assignment]
        # From the student's frames to each teacher's.
        self.regressors = nn.ModuleList(nn.Linear(width, t.width) for t in self.teachers)
        self.extra = nn.ModuleDict({"frames": self.regressors.to(device)})

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The weighted sum of all terms."""
        options, output = self.distill, self.forward(batch)
        supervision, parts = self.label_losses(output, batch)
        counts, size = output.mask.sum(1), output.mask.shape[1]
        targets = [
            teacher.targets(self.train, batch, options.kd_temperature, counts, size)
            for teacher in self.teachers
        ]
        probabilities = torch.stack([target.probabilities for target in targets]).mean(0)
        distances = [
            losses.feature_distillation(regressor(output.frames), target.frames, output.mask)
            for regressor, target in zip(self.regressors, targets, strict=True)
        ]
        per_clip = torch.stack(
            [
                losses.kd_loss(output.logits, probabilities, options.kd_temperature),
                torch.stack(distances).mean(0),
            ],
            dim=1,
        )
        kd, features = all_gather_with_grad(per_clip, batch)[0].mean(0)
        embedding, _ = all_gather_with_grad(output.embedding, batch)
        similarities = [
            losses.similarity_preserving(
                embedding, all_gather_with_grad(target.embedding, batch)[0]
            )
            for target in targets
        ]
        similarity = torch.stack(similarities).mean()
        parts |= {"kd": kd.item(), "features": features.item(), "similarity": similarity.item()}
        distillation = options.kd_weight * kd + options.feature_weight * features
        total = options.supervision * supervision + distillation
        return total + options.similarity_weight * similarity, parts


class Distill(Supervised):
    """The recipe `distill`."""

    name: ClassVar[str] = "distill"
    summary: ClassVar[str] = (
        "Teach a small network by larger ones: their answers, frames and embeddings."
    )
    groups: ClassVar[tuple[type[Options], ...]] = (
        DistillOptions,
        *(group for group in Supervised.groups if group is not FrozenOptions),
    )

    def describe(self, split: Split) -> Description:
        """The model, made with its teachers' speakers too.

        Raises UsageError, too, for a teacher that does not fit or was trained on a speaker to be
        tested.
        """
        description = super().describe(split)
        paths = self.options(DistillOptions).paths()
        return provenance.merge(
            description, *(check_teacher(path, description.labels, split) for path in paths)
        )

    def stages(self, model: Model, split: Split, seed: int) -> list[Stage]:
        """The one stage."""
        return [DistillStage(self, model, split, seed)]
