"""Models of transformers where checkpoints are used: prediction, comparison, embedding and the registry."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import transformers
import yaml  # type: ignore[import-untyped]
from support import node
from support.command import here
from support.transformers_models import LABELS, change_json, save

from serdemo.audio.waveform import SAMPLE_RATE, Clip
from serdemo.data.array_cache import CacheOptions
from serdemo.embeddings.extract import embed
from serdemo.evaluation.comparison import ClipComparison, compare, side_by_side
from serdemo.evaluation.scoring import evaluate
from serdemo.inference.predictor import Predictor
from serdemo.nn.description import read_description, write_description
from serdemo.runs.registry import archive
from serdemo.runs.registry.eval_results import eval_results
from serdemo.runs.registry.store import Registry
from serdemo.runs.registry.summary import summarise
from serdemo.schema import palette
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import Prediction, Segment, Utterance
from serdemo.ui.recognise.view import Answer, answers_page


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    save("hubert", root / "plain")
    save(
        "hubert",
        root / "multi",
        ("anger", "joy", "<b>odd"),
        problem_type="multi_label_classification",
    )
    save("hubert", root / "values", ("arousal", "dominance", "valence"))
    return root


def clip(seconds: float = 4.0) -> Clip:
    noise = np.random.default_rng(0).standard_normal(round(seconds * SAMPLE_RATE))
    return Clip((noise * 0.05).astype(np.float32), "x.wav", SAMPLE_RATE, 1, 0.0)


def test_a_recording_gets_what_the_pipeline_gives_whole_up_to_half_a_minute(models: Path) -> None:
    predictor = Predictor(models / "plain", device="cpu")
    pipeline = transformers.pipeline(  # type: ignore[call-overload]
        "audio-classification", model=str(models / "plain"), device="cpu"
    )
    for seconds in (4.0, 29.0):
        answer = predictor.predict(clip(seconds))
        theirs = {row["label"]: row["score"] for row in pipeline(clip(seconds).samples, top_k=4)}
        expected = [theirs[label] for label in LABELS]
        assert list(answer.probabilities.values()) == pytest.approx(expected, abs=1e-4)
    assert predictor.predict(clip(31.0)).probabilities.keys() == answer.probabilities.keys()


def test_a_file_gets_what_the_pipeline_gives_offset_and_all(models: Path, tmp_path: Path) -> None:
    samples = 0.1 + 0.05 * np.random.default_rng(1).standard_normal(64_000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE, "FLOAT")
    pipeline = transformers.pipeline(  # type: ignore[call-overload]
        "audio-classification", model=str(models / "plain"), device="cpu"
    )
    theirs = {row["label"]: row["score"] for row in pipeline(samples, top_k=4)}
    predictor = Predictor(models / "plain", device="cpu")
    expected = pytest.approx([theirs[label] for label in LABELS], abs=1e-4)
    (entry,) = here(
        "predict", tmp_path / "a.wav", "--checkpoint", models / "plain", "--json"
    ).json()
    assert list(entry["probabilities"].values()) == expected
    stream = predictor.stream(SAMPLE_RATE)
    stream.push(samples)
    stream.finish()
    (whole,) = (window for window in stream.ready_windows() if window.whole)
    assert predictor.probabilities([whole.wave])[0].tolist() == expected
    (compared,) = side_by_side(predictor, Predictor(device="cpu"), [tmp_path / "a.wav"])
    assert compared.a and list(compared.a.probabilities.values()) == expected


def test_bench_predict_measures_it(models: Path) -> None:
    quick = ("--clips", 1, "--rounds", 1, "--threads", 1, "--no-peer", "--json")
    figures = here("bench", "predict", "--checkpoint", models / "plain", *quick).json()
    assert figures["model"] == "plain" and figures["times_real_time"] > 1


def test_sigmoid_shares_are_independent_and_values_are_no_emotion(models: Path) -> None:
    shares = Predictor(models / "multi", device="cpu").predict(clip())
    assert list(shares.probabilities) == ["angry", "happy", "<b>odd"]
    assert shares.is_multi_label and "dimensions" not in shares.to_json()
    predictor = Predictor(models / "values", device="cpu")
    values = predictor.predict(clip())
    assert (values.label, values.confidence, values.probabilities) == ("", 0.0, {})
    assert list(values.to_json()["dimensions"]) == ["arousal", "dominance", "valence"]
    assert all(math.isfinite(value) for value in values.dimensions.values())
    assert not ClipComparison("x.wav", values, values).agree
    for refused in (
        lambda: evaluate(predictor, "x", []),
        lambda: compare(predictor, predictor, []),
    ):
        with pytest.raises(SerdemoError, match="values of arousal, dominance, valence, and no emo"):
            refused()


@pytest.mark.slow
def test_the_page_and_the_terminal_say_values_as_values(tmp_path: Path) -> None:
    values = {"arousal": 0.625, "valence": -0.5}
    part = Segment(0.0, 1.0, "", 0.0, {}, 1.0, values)
    answer = Prediction("x.wav", 1.0, "", 0.0, False, {}, (part,), (), values)
    odd = Prediction("x", 1.0, "<b>", 0.9, False, {"<b>": 0.9, "x" * 90: 0.8}, (part,))
    assert palette.sentence(answer) == "Arousal 0.62, valence -0.50"
    pages = [json.loads(answers_page([Answer("x.wav", clip(1.0), one)])) for one in (answer, odd)]
    page, shown = node.run_module(
        tmp_path,
        """import { pageHtml } from "./ui/recognise/answers.js";
        done(given.map((page) => String(pageHtml(page))));""",
        pages,
    )
    assert '<dt>arousal</dt><dd class="sd-number">0.625</dd>' in page
    assert "arousal 0.62, valence -0.50" in page.lower()
    assert "<h3>Emotion over time</h3>" not in page and "Sounds " not in page
    assert "several may apply" in shown and "&#60;b&#62;" in shown and "<b>" not in shown


def test_import_keeps_the_map_and_the_summary_says_what_it_is(tmp_path: Path) -> None:
    source = save("hubert", tmp_path / "theirs", ("LABEL_0", "exc", "hap"))
    (source / "README.md").write_text("---\nlicense: mit\n---\n# Theirs\n")
    store = Registry(tmp_path / "runs")
    with pytest.raises(SerdemoError, match="give --label-map"):
        store.add("a", lambda folder: archive.copy(source, folder))
    label_map = {"LABEL_0": "contempt"}
    entry = store.add("a", lambda folder: archive.copy(source, folder, label_map=label_map))
    row = summarise(entry)
    assert (row.problem, row.recipe, row.licence) == ("", "transformers", "mit")
    assert (row.encoder, row.labels) == ("HubertForSequenceClassification", ("contempt", "happy"))
    assert row.notes == (
        "happy is the sum of its labels exc and hap.",
        "Its training speakers are unknown.",
    )
    archive.pack(entry, tmp_path / "a.zip")
    again = store.add("b", lambda folder: archive.unpack(tmp_path / "a.zip", folder))
    assert summarise(again).labels == row.labels
    change_json(source / "config.json", hidden_size=100_000)
    with pytest.raises(SerdemoError, match=r"does not fit its config\.json"):
        store.add("c", lambda folder: archive.copy(source, folder, label_map=label_map))
    assert [e.name for e in store.entries() if e.origin == "imported"] == ["a", "b"]


def test_test_results_are_written_as_the_hub_shows_them(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "own"))
    description = read_description(folder)
    test = {"ravdess": {"uar": 0.71236, "n": 240, "speakers": 4, "unseen_speakers": True}}
    write_description(folder, replace(description, metrics={"test": test}))
    (entry,) = yaml.safe_load(eval_results(folder, "https://huggingface.co/me/x"))
    assert entry["dataset"] == {"id": "ravdess", "task_id": "speech-emotion-recognition"}
    assert entry["value"] == 0.7124
    assert entry["source"] == {"url": "https://huggingface.co/me/x", "name": "Model card"}
    assert "240 clips of 4 unseen speakers; protocol:" in entry["notes"]


def test_embeddings_of_a_regression_are_taken_alone(models: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", clip(1.0).samples, SAMPLE_RATE)
    utterance = Utterance(tmp_path / "a.wav", "own", "one", "angry", "angry")
    options = CacheOptions(cache=str(tmp_path / "cache"))
    result = embed(models / "values", [utterance], tmp_path, options, device="cpu")
    assert result.table.embedding.shape == (1, 16) and result.table.labels == ()
