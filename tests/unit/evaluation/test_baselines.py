"""Baselines: functionals, an SVM on them, the majority class, and the runs of EfficientNet."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from serdemo.audio.waveform import decode
from serdemo.data.splits import Split
from serdemo.evaluation import functionals
from serdemo.evaluation.baselines import (
    DEFAULT_SVM,
    GRID,
    BaselineResult,
    FeatureTable,
    fit_svm,
    simple_baselines,
)
from serdemo.nn import checkpoint, description, image_pooling
from serdemo.nn.encoders.mel import SpectralEncoder
from serdemo.nn.model import HeadOptions, Model
from serdemo.runs import training_run
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.types import EMOTIONS, Utterance
from serdemo.training.events import EVENTS, STOP_FILE, Finished, Saved, Started, Step, Stopped, read
from serdemo.training.recipes.ssl_cnn import SslCnn


@pytest.fixture
def values(image_values: dict[str, Any]) -> dict[str, Any]:
    return {**image_values, "epochs": 1, "baselines": True}


def test_cepstral_functionals_by_hand(clips: list[Utterance]) -> None:
    samples = decode(clips[0].path).samples
    row = functionals.MfccFunctionals()(samples)
    assert row.shape == (7 * 3 * 40,)
    frames = SpectralEncoder("mfcc")(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))[
        0
    ]
    found = frames[0].double().numpy()
    parts = row.reshape(7, 3, 40)
    np.testing.assert_allclose(parts[0, 0], found.mean(0), atol=1e-5)
    np.testing.assert_allclose(parts[1, 0], found.std(0), atol=1e-5)
    np.testing.assert_allclose(parts[4, 0], np.median(found, 0), atol=1e-5)
    # A derivative is the regression over two frames to each side, the first and last repeated.
    c = np.pad(found, ((2, 2), (0, 0)), "edge")
    slopes = (c[3:-1] - c[1:-3] + 2 * (c[4:] - c[:-4])) / 10
    np.testing.assert_allclose(parts[0, 1], slopes.mean(0), atol=1e-5)
    np.testing.assert_allclose(parts[6, 1], np.percentile(slopes, 95, axis=0), atol=1e-4)


@pytest.mark.parametrize("samples", [np.zeros(1), np.ones(1), np.zeros(8000), np.ones(200)])
def test_functionals_of_degenerate_clips_are_finite(samples: np.ndarray) -> None:
    name, describe = functionals.default_functionals()
    row = describe(samples.astype(np.float32))
    assert np.isfinite(row).all()
    assert len(row) == {"MFCC functionals": 840, "eGeMAPS functionals": 88}[name]


def test_egemaps_are_used_where_opensmile_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functionals.importlib.util, "find_spec", lambda name: None)
    assert functionals.default_functionals()[0] == "MFCC functionals"
    monkeypatch.undo()
    pytest.importorskip("opensmile")
    name, describe = functionals.default_functionals()
    assert name == "eGeMAPS functionals"
    time = np.arange(16_000) / 16_000
    voice = sum(np.sin(2 * np.pi * 200 * h * time) / h for h in range(1, 15))
    row = describe((0.1 * voice).astype(np.float32))
    assert row.shape == (88,)
    # The first is the mean pitch, in semitones above 27.5 Hz.
    assert row[0] == pytest.approx(12 * np.log2(200 / 27.5), abs=0.5)


def test_the_commonest_emotion_and_an_svm_on_unseen_speakers(split: Split) -> None:
    kept = [u for u in split.train if u.emotion == "angry" or u.path.stem.endswith("0")]
    assert len(kept) == 4 + 2 + 2
    commonest, machine = simple_baselines(replace(split, train=tuple(kept)), EMOTIONS)
    assert commonest.name == "always angry, the commonest in training"
    figures = commonest.of("simple")
    assert figures["uar"] == pytest.approx(1 / 3)
    assert figures["wa"] == pytest.approx(1 / 3)
    assert figures["macro_f1"] == pytest.approx((2 * 2 / 8) / 3)
    assert (figures["n"], figures["speakers"]) == (6, 1)
    assert machine.of("simple")["uar"] == 1.0
    assert machine.name.startswith("SVM (")


def test_kernel_and_c_are_those_of_the_validation_clips() -> None:
    rng = np.random.default_rng(0)

    def table(count: int) -> FeatureTable:
        rows = rng.standard_normal((count, 2))
        truth = tuple("sad" if a * b > 0 else "happy" for a, b in rows)  # no line parts these
        return FeatureTable(rows, truth, tuple([_nobody()] * count))

    train, valid, test = table(300), table(100), table(100)
    answers, chosen = fit_svm(train, valid, test)
    assert chosen in GRID
    assert chosen["kernel"] == "rbf"
    assert np.mean([a == t for a, t in zip(answers, test.truth, strict=True)]) > 0.9
    again, _ = fit_svm(train, valid, test)
    assert again == answers
    empty = FeatureTable(np.zeros((0, 2)), (), ())
    assert fit_svm(train, empty, test)[1] == DEFAULT_SVM


def _nobody() -> Utterance:
    return Utterance(
        path=Path("a.wav"), corpus="made", speaker="one", emotion="sad", native_label="sad"
    )


def test_one_class_or_nobody_to_test_has_no_svm(split: Split) -> None:
    sad = tuple(u for u in split.train if u.emotion == "sad")
    (only,) = simple_baselines(replace(split, train=sad), EMOTIONS)
    assert only.name.startswith("always sad")
    (untested,) = simple_baselines(replace(split, test=()), EMOTIONS)
    assert untested.of("simple") == {
        "name": untested.name,
        "not_run": "no clip of a class it knows",
    }


@pytest.mark.slow
def test_clips_that_cannot_be_read_are_left_out(split: Split, tmp_path: Path) -> None:
    broken = replace(split.test[0], path=tmp_path / "broken.wav")
    broken.path.write_bytes(b"RIFF")
    found = simple_baselines(replace(split, test=(*split.test, broken)), EMOTIONS)
    assert found[1].of("simple")["n"] == 6
    with pytest.raises(SerdemoError, match="None of the training clips could be read"):
        simple_baselines(Split(train=(replace(broken, speaker="anna"),)), EMOTIONS)


def test_a_run_lists_them_in_report_and_card(
    values: dict[str, Any], split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    events = list(training_run.train("ssl_cnn", values, split, tmp_path / "run"))
    assert isinstance(events[-1], Finished)
    folder = tmp_path / "run" / "checkpoint"
    (report,) = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    first, machine, *networks = report["baselines"]
    assert first["uar"] == pytest.approx(1 / 3)
    assert machine["n"] == report["n"] == 6
    names = [one["name"] for one in networks]
    assert names == ["efficientnet-imagenet", "efficientnet-scratch"]
    assert all("needs the package torchvision" in one["not_run"] for one in networks)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"| simple | {machine['name']} | {machine['uar']:.1%} |" in card
    assert "| simple | efficientnet-scratch | not run: --pooling efficientnet needs" in card
    assert not (tmp_path / "run" / "baselines").exists()


@pytest.fixture
def small_rival(monkeypatch: pytest.MonkeyPatch) -> str:
    """A rival that needs no other package: the same network on cepstral coefficients."""
    rivals: Mapping[str, Any] = {
        "cepstral": {"encoder": "mfcc", "source": "", "baselines": False, "epochs": 2}
    }
    told = property(lambda self: rivals if self.options(ssl_options()).baselines else {})
    monkeypatch.setattr(SslCnn, "baseline_runs", told)
    return "cepstral"


def ssl_options() -> Any:
    from serdemo.training.recipes.ssl_cnn import SslCnnOptions

    return SslCnnOptions


def test_a_rivals_run_is_a_run_of_its_own(
    values: dict[str, Any], split: Split, tmp_path: Path, small_rival: str
) -> None:
    run = tmp_path / "run"
    events = list(training_run.train("ssl_cnn", values, split, run))
    assert [type(e) for e in events if isinstance(e, Started | Finished)] == [
        Started, Started, Finished,
    ]  # fmt: skip
    own = list(read(run / EVENTS))
    assert sum(isinstance(e, Step) for e in events) == 3 + 2 * 3
    assert sum(isinstance(e, Step) for e in own) == 3
    rival = run / "baselines" / small_rival
    assert description.read_description(rival / "checkpoint").encoder == "mfcc"
    (report,) = json.loads((run / "checkpoint" / "report.json").read_text(encoding="utf-8"))
    (theirs,) = json.loads((rival / "checkpoint" / "report.json").read_text(encoding="utf-8"))
    assert report["baselines"][-1]["name"] == small_rival
    assert report["baselines"][-1]["uar"] == theirs["uar"]
    assert "baselines" not in theirs


def test_a_rivals_run_is_stopped_and_resumed_with_its_own(
    values: dict[str, Any], split: Split, tmp_path: Path, small_rival: str
) -> None:
    run = tmp_path / "run"
    happening = training_run.train("ssl_cnn", values, split, run)
    events = []
    for event in happening:
        events.append(event)
        if isinstance(event, Step) and len([e for e in events if isinstance(e, Step)]) == 5:
            (run / STOP_FILE).touch()
    assert isinstance(events[-1], Stopped)
    assert events[-1].reason == "asked to stop"
    assert isinstance(list(read(run / EVENTS))[-1], Stopped)
    assert not (run / "checkpoint" / "report.json").exists()
    events = list(training_run.train("ssl_cnn", {}, split, run, resume=True))
    assert isinstance(events[-1], Finished)
    assert [e.resumed_step for e in events if isinstance(e, Started)] == [3, 2]
    assert sum(isinstance(e, Step) for e in events) == 4
    assert not any(isinstance(e, Saved) for e in events[:1])
    (report,) = json.loads((run / "checkpoint" / "report.json").read_text(encoding="utf-8"))
    assert report["baselines"][-1]["name"] == small_rival


def test_what_a_rival_lacks_is_told() -> None:
    failed = BaselineResult("network", not_run="It needs the sea.")
    assert failed.of("simple") == {"name": "network", "not_run": "It needs the sea."}


def test_efficientnet_needs_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(SerdemoError, match=r"needs the package torchvision that fits torch"):
        HeadOptions(pooling="efficientnet") and image_pooling.EfficientNet(224, 0.2)


def test_efficientnet_needs_an_image_of_more_than_one_place() -> None:
    with pytest.raises(UsageError, match=r"--image-side must be at least 64 .*, not 32"):
        HeadOptions(pooling="efficientnet", image_side=32)
    pytest.importorskip("torchvision.models")
    network = image_pooling.EfficientNet(
        image_pooling.MIN_EFFICIENTNET_SIDE, 0.2
    ).train()  # batch norm wants two values at least
    assert network.forward_image(
        torch.randn(1, image_pooling.MIN_EFFICIENTNET_SIDE, image_pooling.MIN_EFFICIENTNET_SIDE)
    ).shape == (1, 1280)


def test_efficientnet_b0_is_torchvisions(monkeypatch: pytest.MonkeyPatch) -> None:
    models = pytest.importorskip("torchvision.models")
    network = image_pooling.EfficientNet(64, 0.2).eval()
    # B0 without its classifier of 1280 x 1000 weights and 1000 biases
    assert sum(p.numel() for p in network.parameters()) == 5_288_548 - 1_281_000
    assert network.width == 1280
    options = HeadOptions(pooling="efficientnet", image_side=64, image_seconds=0.5)
    model = Model(SpectralEncoder("mel"), ("sad", "happy"), options).eval()
    waves = torch.randn(2, 8000, generator=torch.Generator().manual_seed(0))
    together = model.logits(waves, torch.tensor([8000, 5000]))
    alone = model.logits(waves[1:, :5000], torch.tensor([5000]))
    torch.testing.assert_close(together[1:], alone, atol=1e-4, rtol=1e-3)
    theirs = models.efficientnet_b0(weights=None)
    weights = models.EfficientNet_B0_Weights
    monkeypatch.setattr(weights, "get_state_dict", lambda self, **_: theirs.state_dict())
    network.load_imagenet()
    image = torch.randn(1, 64, 64)
    scaled = torch.nn.functional.layer_norm(image, (64, 64))[:, None].expand(-1, 3, -1, -1)
    expected = theirs.eval().avgpool(theirs.features(scaled)).flatten(1)
    torch.testing.assert_close(network.forward_image(image), expected)

    def unreachable(self: Any, **_: Any) -> None:
        raise OSError("no route")

    monkeypatch.setattr(weights, "get_state_dict", unreachable)
    with pytest.raises(SerdemoError, match="could not be fetched: connect to the network"):
        network.load_imagenet()


def test_efficientnet_from_scratch_end_to_end(
    values: dict[str, Any], split: Split, tmp_path: Path
) -> None:
    pytest.importorskip("torchvision")
    own = dict(encoder="mel", source="", pooling="efficientnet", imagenet=False, baselines=False)
    own["image_side"] = 64
    events = list(training_run.train("ssl_cnn", {**values, **own}, split, tmp_path / "run"))
    assert isinstance(events[-1], Finished)
    checkpoint.load(tmp_path / "run" / "checkpoint")
