"""The contract of a recipe and of its stages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from torch import Tensor, nn

from serdemo.data.dataset import Batch
from serdemo.data.splits import Split
from serdemo.nn import encoders
from serdemo.nn.description import Description
from serdemo.nn.encoders.options import PRETRAINED
from serdemo.nn.model import HeadOptions, Model
from serdemo.schema.options import Options, Value, pick, specs
from serdemo.training.recipes.frozen_features import FrozenOptions

Group = TypeVar("Group", bound=Options)


@dataclass(frozen=True, slots=True)
class Validation:
    """Scores of a model on the validation speakers.

    Runs keep the model of the highest `score`. `metrics` are fractions; `labels` name the rows and
    columns of `confusion`; `temperature` and `unsure_below` are fitted on the same clips.
    """

    score: float
    metrics: dict[str, float]
    labels: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    temperature: float = 1.0
    unsure_below: float = 0.0


class Stage(Protocol):
    """One stage of training: its parameters, batches, loss and validation.

    `n_clips` is the number of training clips it draws from, `extra` holds modules that are trained
    and saved with the run but belong to no model (prototypes, auxiliary heads), and
    `caches_features` tells that its first epoch computes features which later ones read.
    """

    name: str
    epochs: int
    steps_per_epoch: int
    n_clips: int
    extra: nn.Module
    caches_features: bool

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for the optimiser, each with `params` and its peak `lr`."""
        ...

    def batches(self, epoch: int, start: int) -> Iterable[Batch]:
        """The batches of an epoch from number `start` on: a function of seed and epoch."""
        ...

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The scalar loss of a batch, and its terms by name."""
        ...

    def validate(self, model: Model) -> Validation | None:
        """Scores on the validation speakers; None where the split has none."""
        ...


@dataclass(frozen=True)
class Recipe(ABC):
    """A training method with its options: a subclass declares itself and lays out its stages."""

    name: ClassVar[str]
    summary: ClassVar[str]
    groups: ClassVar[tuple[type[Options], ...]]
    # Option values that differ from the options' own defaults.
    defaults: ClassVar[Mapping[str, Value]] = {}
    # Validated and tested by speaker verification rather than by emotion recognition.
    is_verification: ClassVar[bool] = False
    # Encoders that `--source` is for.
    source_encoders: ClassVar[tuple[str, ...]] = PRETRAINED

    values: Mapping[type[Options], Options] = field(default_factory=dict)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Recipe:
        """The recipe with a flat table of option values; raises UsageError for a bad one."""
        names = {spec.name for group in cls.groups for spec in specs(group)}
        defaults = {name: value for name, value in cls.defaults.items() if name in names}
        groups = pick(cls.groups, {**defaults, **values})
        return cls({type(group): group for group in groups})

    def options(self, kind: type[Group]) -> Group:
        """This recipe's options of one group, its own defaults where no values were given."""
        group = self.values.get(kind)
        if group is None:
            names = {spec.name for spec in specs(kind)}
            group = kind.from_json({k: v for k, v in self.defaults.items() if k in names})
        assert isinstance(group, kind)
        return group

    def to_json(self) -> dict[str, Any]:
        """Every option of the recipe as one flat table."""
        return {k: v for kind in self.groups for k, v in self.options(kind).to_json().items()}

    @property
    def output(self) -> Literal["classes", "embedding"]:
        """Whether the trained model classifies emotions or only embeds clips."""
        return "classes"

    @property
    def no_classifier_note(self) -> str:
        """Note on a finished run without a classifier; empty where the output is classes."""
        return ""

    @property
    def needs_labels(self) -> bool:
        """Whether it learns from the emotions of the clips."""
        return True

    @property
    def baseline_runs(self) -> Mapping[str, Mapping[str, Value]]:
        """Runs of this recipe to compare with, by name, each with the options that differ."""
        return {}

    @property
    def caches_features(self) -> bool:
        """Whether the encoder is frozen and its features of each clip are computed only once."""
        return self.options(FrozenOptions).cache_features

    def init_weights(self, model: Model) -> None:
        """Give a new model its initial weights: those of the encoder's source."""
        encoders.load_pretrained(model.encoder)

    def describe(self, split: Split) -> Description:
        """The description of the model that this recipe trains on a split.

        Raises UsageError for options or a split that it cannot be trained with.
        """
        self.check(split)
        labels = self.labels(split)
        encoder, encoder_options, config = self.describe_encoder()
        return Description(
            labels=labels if self.output == "classes" else (),
            encoder=encoder,
            encoder_options=encoder_options,
            encoder_config=config,
            head_options=self.options(HeadOptions).to_json(),
        )

    def check(self, split: Split) -> None:
        """Raise UsageError for options that contradict each other or do not fit the split."""
        self.options(FrozenOptions).check(self.options)

    def describe_encoder(self) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """Name, options and configuration of the encoder, as a checkpoint holds them."""
        return encoders.describe(self.options)

    @abstractmethod
    def labels(self, split: Split) -> tuple[str, ...]:
        """The emotions that its losses tell apart; raises UsageError where there are too few."""

    @abstractmethod
    def stages(self, model: Model, split: Split, seed: int) -> list[Stage]:
        """The stages in order."""
