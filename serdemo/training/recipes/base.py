"""The contract of a recipe and of its stages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar

from torch import Tensor

from serdemo.data.dataset import Batch
from serdemo.data.splits import Split
from serdemo.nn import encoders
from serdemo.nn.checkpoint import Description
from serdemo.nn.encoders.options import PRETRAINED
from serdemo.nn.model import Model
from serdemo.schema.options import Options, Value, pick, specs
from serdemo.training.recipes.frozen_features import FrozenOptions

Group = TypeVar("Group", bound=Options)


@dataclass(frozen=True, slots=True)
class Validation:
    """What a look at the validation speakers found.

    `score` is what runs are chosen by, higher is better; `metrics` are fractions; `labels` name
    the rows and columns of `confusion`; `temperature` and `unsure_below` are fitted on the same
    clips.
    """

    score: float
    metrics: dict[str, float]
    labels: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    temperature: float = 1.0
    unsure_below: float = 0.0


class Stage(Protocol):
    """One stretch of training with its own parameters, batches and loss."""

    name: str
    epochs: int
    steps_per_epoch: int

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for the optimiser, each with `params` and its peak `lr`."""
        ...

    def batches(self, epoch: int, start: int) -> Iterable[Batch]:
        """An epoch's batches from number `start` on, the same whenever they are asked for."""
        ...

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The scalar loss of a batch and its named terms."""
        ...

    def validate(self, model: Model) -> Validation | None:
        """Figures on the validation speakers; None where the split has none."""
        ...


@dataclass(frozen=True)
class Recipe(ABC):
    """A method with its options: subclasses name themselves and lay out their stages."""

    name: ClassVar[str]
    summary: ClassVar[str]
    groups: ClassVar[tuple[type[Options], ...]]
    presets: ClassVar[Mapping[str, Value]] = {}  # where the method's default is not the option's
    verified: ClassVar[bool] = False  # scored by telling voices apart, not by emotions
    sourced: ClassVar[tuple[str, ...]] = PRETRAINED  # encoders that `--source` is for

    values: Mapping[type[Options], Options] = field(default_factory=dict)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Recipe:
        """The recipe with a flat table of option values; raises UsageError for a bad one."""
        known = {spec.name for group in cls.groups for spec in specs(group)}
        presets = {name: value for name, value in cls.presets.items() if name in known}
        found = pick(cls.groups, {**presets, **values})
        return cls({type(group): group for group in found})

    def of(self, kind: type[Group]) -> Group:
        """This recipe's options of one group, its own defaults where none were given."""
        found = self.values.get(kind)
        if found is None:
            names = {spec.name for spec in specs(kind)}
            found = kind.from_json({k: v for k, v in self.presets.items() if k in names})
        assert isinstance(found, kind)
        return found

    def to_json(self) -> dict[str, Any]:
        """Every option of the recipe as one flat table."""
        return {
            key: value for kind in self.groups for key, value in self.of(kind).to_json().items()
        }

    @property
    def unscored(self) -> str:
        """Why the model that comes out answers no emotion; empty where it does."""
        return ""

    @property
    def unlabelled(self) -> bool:
        """Whether it learns from clips without an emotion."""
        return False

    @property
    def rivals(self) -> Mapping[str, Mapping[str, Value]]:
        """Runs of this recipe to be compared with: a name and what differs; empty where none is."""
        return {}

    @property
    def keeps(self) -> bool:
        """Whether its encoder is frozen and hears a clip but once, as what it says of it is kept."""
        return self.of(FrozenOptions).cache_features

    def begin(self, model: Model) -> None:
        """Give a fresh model the weights that it begins with: its encoder those of its source."""
        encoders.load_pretrained(model.encoder)

    @abstractmethod
    def describe(self, split: Split) -> Description:
        """The description of the model this recipe trains on a split."""

    @abstractmethod
    def stages(self, model: Model, split: Split, seed: int) -> list[Stage]:
        """The stages in order."""
