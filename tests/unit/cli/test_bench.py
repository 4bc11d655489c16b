"""`bench` names its commands without importing them, and does without the experiments."""

from __future__ import annotations

import importlib.util
import re

import click
import pytest
from support.command import here

from serdemo.cli import bench as cli_bench
from serdemo.cli.bench import TABLE, bench


@pytest.mark.parametrize("name", TABLE)
def test_every_command_of_the_table_can_be_loaded(name: str) -> None:
    command = bench.get_command(click.Context(bench), name)
    assert command is not None
    assert command.name == name
    assert command.help


def test_help_lists_all_commands() -> None:
    text = here("bench", "--help").out
    assert all(re.search(rf"^  {name} ", text, re.MULTILINE) for name in TABLE)


def test_an_unknown_command_is_wrong_usage() -> None:
    assert here("bench", "nothing").code == 2


def test_without_the_experiments_their_commands_are_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        cli_bench, "find_spec", lambda name: None if "experiments" in name else find_spec(name)
    )
    ran = here("bench", "papers")
    assert (ran.code, ran.out) == (1, "")
    assert "checkout" in ran.err
    assert here("bench", "predict", "--help").code == 0
