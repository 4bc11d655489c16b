"""The training request: JSON without loss, and the command that does the same."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from serdemo.runs.request import SplitChoice, TrainingRequest
from serdemo.schema.errors import SerdemoError

REQUEST = TrainingRequest(
    "supervised",
    ("emodb", "/my clips"),
    SplitChoice(valid="anna,bert", test="none"),
    {"learning_rate": 0.00012345678, "epochs": 3, "balanced": False, "init_from": "models/a b"},
    run_dir=Path("runs/a"),
    root=Path("/data"),
    resume=True,
    stop_after=1.5,
)


@pytest.mark.parametrize("request_", [REQUEST, TrainingRequest("speaker", ("emodb",))])
def test_json_keeps_every_digit(request_: TrainingRequest) -> None:
    text = json.dumps(request_.to_json(), allow_nan=False)
    assert TrainingRequest.from_json(json.loads(text)) == request_


@pytest.mark.parametrize("values", [[], {}, {"recipe": "supervised"}])
def test_what_is_no_request_is_one_sentence(values: Any) -> None:
    with pytest.raises(SerdemoError, match="request is damaged"):
        TrainingRequest.from_json(values)


@pytest.mark.parametrize(
    "wrong",
    [
        {"odd": 1},
        {"corpora": "emodb"},
        {"recipe": 3},
        {"split": {"shipped": "yes"}},
        {"split": {"odd": 1}},
        {"options": []},
        {"resume": 1},
        {"stop_after": "soon"},
    ],
)
def test_a_wrong_key_or_value_is_one_sentence(wrong: Any) -> None:
    with pytest.raises(SerdemoError, match="request is damaged"):
        TrainingRequest.from_json({**REQUEST.to_json(), **wrong})


def test_the_command_says_the_same() -> None:
    words = shlex.split(REQUEST.command())
    assert words[:3] == ["serdemo", "train", "supervised"]
    assert words[words.index("--corpus") + 1] == "emodb,/my clips"
    assert words[words.index("--valid") + 1] == "anna,bert"
    for number in (0.00012345678, 1 / 3, 1e-12, 123456.789, 5.0):
        line = TrainingRequest("supervised", ("a",), options={"learning_rate": number}).command()
        assert float(shlex.split(line)[-1]) == number  # to the last digit
    assert "--no-balanced" in words and "--resume" in words
    minutes = TrainingRequest("supervised", ("a",), options={"budget_minutes": 5.0, "seven": True})
    assert minutes.command().endswith("--budget-minutes 5 --seven")
    assert "--shipped-split" in TrainingRequest("a", ("b",), SplitChoice(shipped=True)).command()


def test_a_request_is_read_from_the_arguments_of_version_0_1() -> None:
    words = shlex.split(REQUEST.command())[1:]
    for flag in ("--run", "--root", "--stop-after"):  # which the page did not write
        at = words.index(flag)
        del words[at : at + 2]
    found = TrainingRequest.from_arguments(words)
    assert (found.recipe, found.corpora, found.split) == (
        REQUEST.recipe,
        REQUEST.corpora,
        REQUEST.split,
    )
    assert dict(found.options) == dict(REQUEST.options) and found.resume
    for wrong in ((), ("train",), ("train", "supervised")):
        with pytest.raises(SerdemoError, match="no training run"):
            TrainingRequest.from_arguments(wrong)
