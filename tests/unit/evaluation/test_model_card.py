from __future__ import annotations

from pathlib import Path

import pytest

from serdemo.data.corpora import CORPORA
from serdemo.evaluation.model_card import licence, strip_local_paths


@pytest.mark.parametrize(
    ("corpora", "expected"),
    [
        (["ravdess", "urdu"], "CC BY-NC-SA 4.0, research use only"),
        (["cremad"], CORPORA["cremad"].licence),
        (["mine"], "what its owner allows"),
    ],
)
def test_the_licence_of_weights(corpora: list[str], expected: str) -> None:
    assert licence(corpora) == expected


def test_no_licence_is_swallowed() -> None:
    told = licence(["iemocap", "ravdess", "tess"])
    assert told.startswith("all of these at once: ")
    for name in ("iemocap", "ravdess", "tess"):
        assert f"{CORPORA[name].licence} ({name})" in told


def test_a_command_without_the_folders_of_a_machine(tmp_path: Path) -> None:
    source = tmp_path / "encoder.safetensors"
    source.touch()
    given = (
        f"serdemo train cross_corpus --corpus {tmp_path}/a,b --root {tmp_path} --run {tmp_path}/r"
        f" --source {source} --start {tmp_path}/runs/one/checkpoint"
    )
    assert strip_local_paths(given) == (
        "serdemo train cross_corpus --corpus a,b --run runs/r --source encoder.safetensors"
        " --start runs/one/checkpoint"
    )
    assert strip_local_paths(
        given.replace(f" --source {source}", f" --source={source}")
    ) == strip_local_paths(given)
    assert strip_local_paths(
        f"serdemo train x --root={tmp_path} --run={tmp_path}/r --out={tmp_path}/o"
    ) == ("serdemo train x --run runs/r --out o")
    assert strip_local_paths(f"x --source {tmp_path}/gone/model") == "x --source model"
    assert strip_local_paths(
        f"x --teacher {tmp_path}/a/checkpoint,{tmp_path}/t.safetensors --cache c"
    ) == ("x --teacher runs/a/checkpoint,t.safetensors")
    assert "some/model" in strip_local_paths("serdemo train supervised --source some/model")
