"""Recipe `distill`: a small network taught by larger ones.

| paper says | here | why |
|---|---|---|
| Softened answers of an ensemble (arXiv 1503.02531): the student matches them, and the labels | the mean of the teachers' softened probabilities, with cross-entropy and contrast by labels | the wrong answers tell which emotions sound alike |
| A teacher answers for the whole clip | for just the stretch the student hears: its frames are kept, its pooling and classifier are asked anew | a crop may hold another share of the emotion than the clip |
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
from serdemo.training.recipes import teachers
from serdemo.training.recipes.base import Stage
from serdemo.training.recipes.domain_generalization import GeneralOptions
from serdemo.training.recipes.frozen_features import FrozenOptions
from serdemo.training.recipes.supervised import Supervised, SupervisedStage


@dataclass(frozen=True)
class DistillOptions(Options):
    """Who teaches, and what counts."""

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

    def places(self) -> list[Path]:
        """Where the teachers are; raises UsageError when none is named."""
        found = [Path(part.strip()) for part in self.teacher.split(",") if part.strip()]
        if not found:
            raise UsageError("--teacher is needed: a checkpoint folder, or several with commas.")
        return found


class DistillStage(SupervisedStage):
    """The one stage: every parameter, the teachers' terms beside those of the labels."""

    name = "distill"

    def __init__(self, recipe: Distill, model: Model, split: Split, seed: int) -> None:
        super().__init__(recipe, model, split, seed)
        self.taught: DistillOptions = recipe.options(DistillOptions)
        device = next(model.parameters()).device
        cache: CacheOptions = recipe.options(CacheOptions)
        self.teachers = [
            teachers.Teacher(where, model.labels, cache, device) for where in self.taught.places()
        ]
        width: int = model.encoder.width  # type: ignore[assignment]
        self.predict = nn.ModuleList(nn.Linear(width, teacher.width) for teacher in self.teachers)
        self.extra["frames"] = self.predict.to(device)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The weighted sum of all terms."""
        options, output = self.taught, self.forward(batch)
        total, parts = self.label_losses(output, batch)
        counts, size = output.mask.sum(1), output.mask.shape[1]
        said = [
            t.targets(self.train, batch, options.kd_temperature, counts, size)
            for t in self.teachers
        ]
        probabilities = torch.stack([one.probabilities for one in said]).mean(0)
        distances = [
            losses.feature_distillation(predict(output.frames), one.frames, output.mask)
            for predict, one in zip(self.predict, said, strict=True)
        ]
        apart = torch.stack(
            [
                losses.kd_loss(output.logits, probabilities, options.kd_temperature),
                torch.stack(distances).mean(0),
            ],
            dim=1,
        )
        softened, frames = all_gather_with_grad(apart, batch)[0].mean(0)
        embedding, _ = all_gather_with_grad(output.embedding, batch)
        shapes = [
            losses.similarity_preserving(embedding, all_gather_with_grad(one.embedding, batch)[0])
            for one in said
        ]
        geometry = torch.stack(shapes).mean()
        parts |= {"softened": softened.item(), "frames": frames.item(), "geometry": geometry.item()}
        taught = options.kd_weight * softened + options.feature_weight * frames
        return options.supervision * total + taught + options.similarity_weight * geometry, parts


class Distill(Supervised):
    """The recipe of the table."""

    name: ClassVar[str] = "distill"
    summary: ClassVar[str] = (
        "Teach a small network by larger ones: their answers, frames and embeddings."
    )
    groups: ClassVar[tuple[type[Options], ...]] = (
        DistillOptions,
        *(group for group in Supervised.groups if group is not FrozenOptions),
    )

    def describe(self, split: Split) -> Description:
        """The model; raises UsageError for a teacher that does not fit or heard those tested."""
        if self.options(GeneralOptions).mixup:
            raise UsageError("--mixup is not for distill: a teacher answers for one clip alone.")
        described = super().describe(split)
        told = [
            teachers.check(where, described.labels, split)
            for where in self.options(DistillOptions).places()
        ]
        return provenance.merge(described, *told)

    def stages(self, model: Model, split: Split, seed: int) -> list[Stage]:
        """The one stage."""
        return [DistillStage(self, model, split, seed)]
