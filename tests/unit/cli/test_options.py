"""Flags from before 0.2.0: hidden, and read under their present names."""

from __future__ import annotations

from typing import Any

import click
import pytest
from support.command import here

from serdemo.cli.main import COMMANDS
from serdemo.cli.options import given_options
from serdemo.schema.errors import UsageError
from serdemo.schema.renamed_options import REMOVED, RENAMED

FORMER_FLAGS: list[tuple[str, str, dict[str, Any]]] = [
    ("supervised", "--crop-low 1 --crop-high 2.5", {"min_crop": 1.0, "max_crop": 2.5}),
    ("supervised", "--band 0.1", {"bandlimit": 0.1}),
    ("supervised", "--positives across", {"cross_corpus_positives": True}),
    ("supervised", "--positives all", {"cross_corpus_positives": False}),
    ("supervised", "--start runs/first", {"init_from": "runs/first"}),
    ("supervised", "--average 0.99", {"ema_decay": 0.99}),
    ("supervised", "--hear-once", {"cache_features": True}),
    ("supervised", "--no-hear-once", {"cache_features": False}),
    ("supervised", "--mix last --reduce 8", {"layer_pooling": "last", "bottleneck": 8}),
    ("supervised", "--freeze lower", {"freeze": "lower-half"}),
    ("cross_corpus", "--hidden 64", {"classifier_width": 64}),
    ("distill", "--softened 1 --softening 3", {"kd_weight": 1.0, "kd_temperature": 3.0}),
    ("distill", "--frames 2 --geometry 1", {"feature_weight": 2.0, "similarity_weight": 1.0}),
    ("cluster_ablations", "--corrupt 0.4", {"corruption": 0.4}),
    ("supervised", "--priors --mixup 0.4", {}),
    ("supervised", "--no-priors --adversary corpus --adversary-weight 2", {}),
]


def parse(group: str, recipe: str, flags: str) -> dict[str, Any]:
    """The options of a recipe that a command line gives."""
    command = COMMANDS[group]
    assert isinstance(command, click.Group)
    context = click.Context(command)
    command_of_recipe = command.get_command(context, recipe)
    assert command_of_recipe is not None
    required = ["--corpus", "x", *(["--run", "x"] if group == "train" else ["--by", "speaker"])]
    values = command_of_recipe.make_context(
        recipe, [*required, *flags.split()], parent=context
    ).params
    names = {name for names in (RENAMED, REMOVED) for name in names}
    names |= {*RENAMED.values(), "freeze"}
    return given_options({name: value for name, value in values.items() if name in names})


@pytest.mark.parametrize("group", ["train", "crossval"])
@pytest.mark.parametrize(("recipe", "flags", "options"), FORMER_FLAGS)
def test_former_flags_are_read(
    group: str, recipe: str, flags: str, options: dict[str, Any]
) -> None:
    assert parse(group, recipe, flags) == options


def test_every_renamed_and_removed_option_has_its_former_flag_in_the_table() -> None:
    flags = " ".join(flags for _, flags, _ in FORMER_FLAGS)
    for name in {*RENAMED, *REMOVED}:
        assert f"--{name.replace('_', '-')} " in f"{flags} "


def test_former_flags_are_in_no_help() -> None:
    text = here("train", "supervised", "--help").out
    assert "--min-crop" in text
    for name in RENAMED:
        assert f"--{name.replace('_', '-')} " not in text


def test_both_spellings_of_a_flag_are_refused() -> None:
    with pytest.raises(UsageError, match="--init-from"):
        parse("train", "supervised", "--start a --init-from b")


def test_a_removed_flag_is_named_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse("train", "supervised", "--mixup 0.4") == {}
    assert "--mixup was removed in 0.2.0" in capsys.readouterr().err


def test_a_removed_flag_is_no_bool_where_it_took_a_value() -> None:
    ran = here("train", "supervised", "--corpus", "x", "--run", "x", "--mixup", "much")
    assert ran.code == 2
    assert "--mixup" in ran.err


@pytest.mark.parametrize("group", ["train", "crossval"])
@pytest.mark.parametrize("given", ["--clusters-from emotion", "--corrupt 0.4"])
def test_a_flag_of_a_comparison_that_moved_names_its_new_command(group: str, given: str) -> None:
    ran = here(group, "speaker_clusters", "--corpus", "x", *given.split())
    assert ran.code == 2
    assert ran.err.startswith(f"serdemo: {given.split()[0]} ") and ran.err.count("\n") == 1
    assert "moved to `serdemo bench papers`" in ran.err
