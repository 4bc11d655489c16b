"""The request for a training run, which the page, the command line, the queue and ZeroGPU share."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from serdemo.data import corpora, splits
from serdemo.data.corpora.corpus import Note, ignore
from serdemo.data.held_out import shipped_split
from serdemo.data.splits import Split
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.options import Value
from serdemo.schema.renamed_options import current_options
from serdemo.schema.settings import data_root
from serdemo.schema.types import Utterance

HELD_OUT = "0.15"  # share of the speakers, to validate and to test on


@dataclass(frozen=True)
class SplitChoice:
    """The choice of held-out speakers.

    `shipped` holds out those that no shipped model was trained on; without it `valid` and `test` say who,
    each as a share, ids with commas between, or "none".
    """

    shipped: bool = False
    valid: str = HELD_OUT
    test: str = HELD_OUT

    def split(self, clips: Sequence[Utterance]) -> Split:
        """Split labelled clips by speaker; raises SerdemoError where there are too few speakers."""
        if self.shipped:
            return shipped_split(clips)
        return splits.parse_split(clips, valid=self.valid, test=self.test)


@dataclass(frozen=True)
class TrainingRequest:
    """A training run as it is requested, written to JSON without loss.

    `corpora` are names, folders, tables or hub ids as `--corpus` takes them, looked up below `root`
    (None: SERDEMO_DATA); `options` are those that differ from the recipe's own, by name; `run_dir` is the
    run's folder and `stop_after` a limit in seconds. `confined` is for corpora that a stranger sent: a table
    there names files of its own folder alone. `remote` allows corpora at addresses, which are fetched: only for
    whoever sits at the command line.
    """

    recipe: str
    corpora: tuple[str, ...]
    split: SplitChoice = SplitChoice()
    options: Mapping[str, Value] = field(default_factory=dict)
    run_dir: Path | None = None
    root: Path | None = None
    resume: bool = False
    stop_after: float | None = None
    confined: bool = False
    remote: bool = False

    def clips(self, *, unlabelled: bool = False, note: Note = ignore) -> list[Utterance]:
        """The clips of the corpora; raises SerdemoError where they are not found, and UsageError for clips
        without an emotion unless `unlabelled`. `note` takes what the user should know of them."""
        names = ",".join(self.corpora)
        return corpora.load_many(
            names,
            data_root(self.root),
            unlabelled=unlabelled,
            confined=self.confined,
            remote=self.remote,
            note=note,
        )

    def command(self) -> str:
        """The command line that does the same."""
        words = ["serdemo", "train", self.recipe, "--corpus", ",".join(self.corpora)]
        if self.root:
            words += ["--root", str(self.root)]
        if self.split.shipped:
            words += ["--shipped-split"]
        else:
            words += ["--valid", self.split.valid, "--test", self.split.test]
        for name, value in self.options.items():
            flag = name.replace("_", "-")
            if isinstance(value, bool):
                words += [f"--{flag}" if value else f"--no-{flag}"]
            else:  # as Python writes a number, so that it is read back without loss
                words += [f"--{flag}", str(value).removesuffix(".0")]
        if self.resume:
            words += ["--resume"]
        if self.stop_after is not None:
            words += ["--stop-after", str(self.stop_after)]
        if self.run_dir:
            words += ["--run", str(self.run_dir)]
        return shlex.join(words)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary, ready for JSON."""
        paths = {key: str(path) for key in ("run_dir", "root") if (path := getattr(self, key))}
        return {**asdict(self), "options": dict(self.options), **paths}

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """Read what `to_json` wrote; raises SerdemoError for an unknown key or a value of another type."""
        values = _checked(values, cls)
        converted: dict[str, Any] = {
            "corpora": tuple(values["corpora"]),
            "split": SplitChoice(**_checked(values.get("split", {}), SplitChoice)),
            "options": current_options(values.get("options", {})),
            **{key: Path(values[key]) for key in ("run_dir", "root") if values.get(key)},
        }
        return cls(**{**values, **converted})

    @classmethod
    def from_arguments(cls, arguments: Sequence[str]) -> Self:
        """Read the arguments of `serdemo`, which stood for a request in the `job.json` of version 0.1.

        Raises SerdemoError for others than the page wrote.
        """
        flags: dict[str, Any] = {}
        try:
            _, recipe, *words = arguments
            while words:
                name = words.pop(0).removeprefix("--").replace("-", "_")
                if words and not words[0].startswith("--"):
                    flags[name] = words.pop(0)
                else:
                    flags[name.removeprefix("no_")] = not name.startswith("no_")
            held_out = {name: flags.pop(name) for name in ("valid", "test") if name in flags}
            return cls(
                recipe,
                tuple(flags.pop("corpus").split(",")),
                SplitChoice(flags.pop("shipped_split", False), **held_out),
                resume=flags.pop("resume", False),
                options=current_options({name: _literal(value) for name, value in flags.items()}),
            )
        except (ValueError, KeyError, AttributeError, TypeError) as problem:
            raise SerdemoError(f"{shlex.join(arguments)} is no training run.") from problem


TYPES: dict[str, tuple[type, ...]] = {
    **{name: (str,) for name in ("recipe", "valid", "test")},
    **{name: (bool,) for name in ("resume", "shipped", "confined", "remote")},
    **{name: (str, type(None)) for name in ("run_dir", "root")},
    **{name: (dict,) for name in ("split", "options")},
    "corpora": (list,),
    "stop_after": (float, int, type(None)),
}


def _checked(values: Any, kind: type[Any]) -> dict[str, Any]:
    """The keys and values of a dataclass's JSON."""
    names = {entry.name for entry in fields(kind)}
    needed = {"recipe", "corpora"} & names
    if not isinstance(values, dict) or not needed <= values.keys() <= names:
        raise SerdemoError(f"A training request is damaged: its keys are {', '.join(names)}.")
    for name, value in values.items():
        if not isinstance(value, TYPES[name]):
            raise SerdemoError(f"A training request is damaged: {name} cannot be {value!r}.")
    return values


def _literal(value: str | bool) -> Value:
    """A flag's text as the number that it is, if it is one."""
    for kind in (int, float):
        try:
            return value if isinstance(value, bool) else kind(value)
        except ValueError:
            continue
    return value


def require_corpora(names: Sequence[str]) -> tuple[str, ...]:
    """The corpora chosen, without empty ones; raises UsageError where none is, and for a comma in a name."""
    chosen = tuple(name.strip() for name in names if name.strip())
    if not chosen:
        raise UsageError("Choose what to train on: a corpus, or clips of your own.")
    if any("," in name for name in chosen):
        raise UsageError("A folder whose name has a comma cannot be trained on: rename it.")
    return chosen
