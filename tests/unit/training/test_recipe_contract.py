"""What every recipe must do, whatever its paper: resume, refuse, learn, and read old options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.recipes import losses_of, run_recipe, start_recipe
from support.unbroken import goes_on_when_killed, goes_on_when_stopped

from serdemo.data.splits import Split
from serdemo.schema.errors import UsageError
from serdemo.schema.options import specs
from serdemo.training import recipes
from serdemo.training.options import TrainOptions, resolve_recipe

# Random in every way, so that a resumed run must find its generators where they were.
RANDOM = dict(dropout=0.3, speed=0.5, noise=0.5)
CALM = dict(speed=0.0, noise=0.0, reverberation=0.0, bandlimit=0.0, gain=0.0)
ENCODER = ("width", "layers", "heads", "expansion", "kernel")

# Kind of run -> steps after which it is stopped, and writes after which it is killed
STOPS = {
    "head": (1, 4),
    "supervised": (1, 4),
    "supervised-cached": (2, 5),
    "distill": (2, 4, 5),
    "cross_corpus": (2, 5, 6, 7, 9),
    "cross_corpus-cached": (5,),
    "speaker": (1, 3),
    "speaker_clusters": (1, 5, 10, 11, 14),
    "ssl_cnn": (1, 2, 3, 5),
}
KILLS = {
    "head": (0, 2),
    "supervised": (0, 1, 2),
    "supervised-cached": (1,),
    "distill": (1,),
    "cross_corpus": tuple(range(8)),
    "speaker": (1,),
    "speaker_clusters": (0, 1, 2, 4, 5),
    "ssl_cnn": (0, 1, 2),
}

Options = Callable[[str], dict[str, Any]]


@pytest.fixture
def options(
    tiny_values: dict[str, Any],
    image_values: dict[str, Any],
    tiny_checkpoint: Path,
    tmp_path: Path,
) -> Options:
    """Options by the kind of a run that takes a second."""
    frozen = {k: v for k, v in tiny_values.items() if k not in ENCODER}
    frozen |= {"encoder": "mfcc", "cache_features": True, "cache": str(tmp_path / "cache")}
    two_stages = {"contrast_epochs": 2, "classifier_width": 8}
    clusters = {"cluster_epochs": 2, "k": 3, "clips_per_speaker": 4, "speaker_head": "classify"}
    teacher = {"teacher": str(tiny_checkpoint), "cache": str(tmp_path / "cache")}
    kinds: dict[str, dict[str, Any]] = {
        "head": {**frozen, "pooling": "mean-std", "views": 1, "head_dropout": 0.3},
        "supervised": {**tiny_values, **RANDOM},
        "supervised-cached": frozen,
        "distill": {**tiny_values, **RANDOM, **teacher, "seven": False},
        "cross_corpus": {**tiny_values, **RANDOM, **two_stages},
        "cross_corpus-cached": {**frozen, **two_stages},
        "speaker": {**tiny_values, **RANDOM},
        "speaker_clusters": {
            **tiny_values,
            **RANDOM,
            **clusters,
            "embeddings": str(tiny_checkpoint),
        },
        "ssl_cnn": image_values,
    }
    return lambda kind: kinds[kind]


@pytest.fixture
def split_of(split: Split, two_split: Split) -> Callable[[str], Split]:
    """Two corpora for the recipe that contrasts them; no speaker is tested."""
    of_one = replace(split, train=(*split.train, *split.test), test=())
    return lambda kind: two_split if kind.startswith("cross_corpus") else of_one


def recipe_of(kind: str) -> str:
    return kind.split("-")[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "at"), [(kind, at) for kind, all_ in STOPS.items() for at in all_]
)
def test_a_stopped_run_resumes_as_if_unbroken(
    options: Options, split_of: Callable[[str], Split], tmp_path: Path, kind: str, at: int
) -> None:
    values, split = options(kind), split_of(kind)
    if kind == "distill":  # so that both find their teacher's frames
        run_recipe("distill", tmp_path / "first", split, **values)
    other = {"cache": str(tmp_path / "other")} if kind == "ssl_cnn" else {}
    begin = lambda run, **more: start_recipe(recipe_of(kind), run, split, **{**values, **more})  # noqa: E731
    stopped = goes_on_when_stopped(begin, tmp_path, at, whole=other)
    assert stopped.step == at


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "writes"), [(kind, writes) for kind, all_ in KILLS.items() for writes in all_]
)
def test_a_killed_run_resumes_as_if_unbroken(
    options: Options,
    split_of: Callable[[str], Split],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    writes: int,
) -> None:
    values, split = options(kind), split_of(kind)
    if kind == "distill":
        run_recipe("distill", tmp_path / "first", split, **values)
    other = {"cache": str(tmp_path / "other")} if kind == "ssl_cnn" else {}
    begin = lambda run, **more: start_recipe(recipe_of(kind), run, split, **{**values, **more})  # noqa: E731
    goes_on_when_killed(begin, tmp_path, monkeypatch, writes, whole=other)


@pytest.mark.parametrize("kind", [kind for kind in STOPS if kind != "speaker"])
def test_a_split_of_one_emotion_is_refused(
    options: Options, split_of: Callable[[str], Split], tmp_path: Path, kind: str
) -> None:
    train = tuple(u for u in split_of(kind).train if u.emotion == "sad")
    with pytest.raises(UsageError, match=r"at least two emotions; found sad\.$"):
        run_recipe(recipe_of(kind), tmp_path / "run", Split(train=train), **options(kind))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", STOPS)
def test_an_empty_split_is_refused(options: Options, tmp_path: Path, kind: str) -> None:
    with pytest.raises(UsageError, match="at least two"):
        run_recipe(recipe_of(kind), tmp_path / "run", Split(), **options(kind))


@pytest.mark.parametrize("kind", STOPS)
def test_steps_lower_the_loss(
    options: Options, split_of: Callable[[str], Split], tmp_path: Path, kind: str
) -> None:
    values, train = options(kind), Split(train=split_of(kind).train)
    quick = {"learning_rate": 1e-2, "batch_size": 32, "epochs": 12, "warm_up": 0.0}
    quick |= {k: v for k, v in {**CALM, "dropout": 0.0}.items() if k in values}
    quick |= {k: 12 for k in ("contrast_epochs", "cluster_epochs") if k in values}
    losses = losses_of(run_recipe(recipe_of(kind), tmp_path / "run", train, **{**values, **quick}))
    n_stages = 2 if {"contrast_epochs", "cluster_epochs"} & values.keys() else 1
    for number in range(n_stages):
        of_stage = losses[12 * number : 12 * (number + 1)]
        assert len(of_stage) == 12
        assert min(of_stage[6:]) < of_stage[0], number


@pytest.mark.parametrize("name", [*recipes.RECIPES, *recipes.EXPERIMENTS])
def test_its_options_are_sound(name: str) -> None:
    kind = recipes.get(name)
    assert kind.name == name and kind.summary.endswith(".")
    declared = [spec.name for group in (*kind.groups, TrainOptions) for spec in specs(group)]
    assert len(declared) == len(set(declared))
    assert kind.defaults.keys() <= set(declared)
    recipe, _ = resolve_recipe(name, {})
    assert type(recipe).from_values(recipe.to_json()) == recipe
    assert bool(recipe.no_classifier_note) == (recipe.output == "embedding")


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_former_option_names_are_read(name: str) -> None:
    pairs = {
        ("average", 0.5): ("ema_decay", 0.5),
        ("crop_low", 0.7): ("min_crop", 0.7),
        ("crop_high", 0.9): ("max_crop", 0.9),
        ("freeze", "lower"): ("freeze", "lower-half"),
        ("positives", "across"): ("cross_corpus_positives", True),
        ("hear_once", True): ("cache_features", True),
        ("softened", 3.0): ("kd_weight", 3.0),
    }
    kind = recipes.get(name)
    declared = {spec.name for group in (*kind.groups, TrainOptions) for spec in specs(group)}
    pairs = {old: new for old, new in pairs.items() if new[0] in declared}
    assert len(pairs) >= 4
    assert resolve_recipe(name, dict(pairs.keys())) == resolve_recipe(name, dict(pairs.values()))
    assert resolve_recipe(name, {"priors": True, "mixup": 0.3}) == resolve_recipe(name, {})
