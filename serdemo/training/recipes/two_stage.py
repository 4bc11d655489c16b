"""Recipes of two stages: a first that needs no classifier, then fine-tuning of the classifier."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

from serdemo.data.splits import Split
from serdemo.nn.model import Model
from serdemo.schema.errors import UsageError
from serdemo.training.recipes.base import Recipe, Stage
from serdemo.training.recipes.stages import ClassifyStage, TuneOptions


class TwoStageRecipe(Recipe):
    """Stage 1 of the subclass, then `ClassifyStage`; either may have 0 epochs and is then left out."""

    stage_1: ClassVar[str]  # the option that holds its epochs

    @property
    @abstractmethod
    def epochs_1(self) -> int:
        """Epochs of stage 1."""

    @property
    def epochs_2(self) -> int:
        """Epochs of stage 2."""
        return self.options(TuneOptions).epochs

    @property
    def output(self) -> Literal["classes", "embedding"]:
        """An embedding after stage 1 alone."""
        return "classes" if self.epochs_2 else "embedding"

    @property
    def no_classifier_note(self) -> str:
        """Note on a model of stage 1 alone."""
        if self.epochs_2:
            return ""
        return "Stage 1 alone: no classifier yet; go on from it with --init-from."

    def check(self, split: Split) -> None:
        """Raise UsageError where neither stage is trained, too."""
        super().check(split)
        if not self.epochs_1 and not self.epochs_2:
            raise UsageError(f"{self.stage_1} and --epochs are both 0: nothing is trained.")

    def stages(self, model: Model, split: Split, seed: int) -> list[Stage]:
        """The stages that have epochs; two of them share the memory for clips."""
        stages: list[Stage] = []
        memory_share = 0.5 if self.epochs_1 and self.epochs_2 else 1.0
        if self.epochs_1:
            stages.append(self.first_stage(model, split, seed, memory_share))
        if self.epochs_2:
            tuned = self.tuning_split(split, seed)
            stages.append(ClassifyStage(self, model, tuned, seed, memory_share))
        return stages

    @abstractmethod
    def first_stage(self, model: Model, split: Split, seed: int, memory_share: float) -> Stage:
        """Stage 1."""

    @abstractmethod
    def tuning_split(self, split: Split, seed: int) -> Split:
        """The clips of stage 2."""
