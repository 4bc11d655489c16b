"""Model card: licence, metadata for the hub, and the command without local paths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from serdemo.data.corpora import CORPORA
from serdemo.evaluation import model_card
from serdemo.evaluation.model_card import front_matter, licence, strip_local_paths
from serdemo.evaluation.scoring import Report
from serdemo.metrics.scores import score
from serdemo.metrics.verification import Verification
from serdemo.nn.description import Description


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


def test_the_metadata_for_the_hub_have_the_scores_of_every_corpus() -> None:
    scores = score(["sad", "angry", "sad"], np.eye(2)[[0, 1, 1]], ["sad", "angry"], ["a", "b", "b"])
    reports = [Report("m", name, scores, unseen_speakers=True) for name in ("emodb", "mine")]
    first, *lines, last, empty = front_matter("m", "other", ("sad", "angry"), reports)
    assert (first, last, empty) == ("---", "---", "")
    values = yaml.safe_load("\n".join(lines))
    (index,) = values.pop("model-index")
    assert values == {
        "license": "other",
        "library_name": "serdemo",
        "pipeline_tag": "audio-classification",
        "tags": ["speech-emotion-recognition"],
    }
    assert index["name"] == "m"
    figures = {
        (result["dataset"]["type"], metric["type"]): metric["value"]
        for result in index["results"]
        for metric in result["metrics"]
    }
    assert figures == {
        (corpus, kind): value
        for corpus in ("emodb", "mine")
        for kind, value in (("recall", 0.75), ("accuracy", 0.6667))
    }


def test_the_metadata_of_a_speaker_model() -> None:
    verified = Verification("m", "emodb", 10, 3, 20, 25, 0.125, None, unseen_speakers=True)
    values = yaml.safe_load("\n".join(front_matter("m", "other", (), [verified])[1:-2]))
    assert values["pipeline_tag"] == "feature-extraction"
    assert values["tags"] == ["speaker-embedding"]
    (result,) = values["model-index"][0]["results"]
    assert (result["metrics"][0]["type"], result["metrics"][0]["value"]) == ("eer", 0.125)
    assert "model-index" not in yaml.safe_load("\n".join(front_matter("m", "other", ())[1:-2]))


def test_a_model_made_from_whisper_carries_its_licence() -> None:
    description = Description(("happy", "sad"), "whisper", {}, {}, trained_on={"emodb": ["03"]})
    card = model_card.write(description, (), "serdemo train head")
    assert "Copyright (c) 2022 OpenAI" in card and "THE SOFTWARE IS PROVIDED" in card
    other = model_card.write(replace(description, encoder="compact"), (), "serdemo train")
    assert "OpenAI" not in other


def test_a_card_says_how_confidences_are_calibrated() -> None:
    plain = Description(("happy", "sad"), "compact", {}, {}, temperature=0.8, unsure_below=0.5)
    assert "divided by 0.800, fitted on the selection" in model_card.confidence_sentences(plain)
    novel = replace(plain, novelty={"slope": 1.5})
    assert "times exp(1.50 x novelty)" in model_card.confidence_sentences(novel)
