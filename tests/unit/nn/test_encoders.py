"""Pretrained encoders, on small models of random weights saved to disk."""

from __future__ import annotations

import copy
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from support.command import here
from support.small_encoders import KINDS, SMALL, describe, make_encoder, noise, run
from torch.nn import functional as F

from serdemo.data import corpora
from serdemo.data.splits import by_speakers
from serdemo.inference.predictor import Predictor
from serdemo.nn import checkpoint, encoders
from serdemo.nn.description import Description
from serdemo.nn.encoders.options import PRETRAINED, PretrainedOptions
from serdemo.nn.model import HeadOptions
from serdemo.runs.training_run import train
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.options import specs
from serdemo.training.events import Finished


@pytest.mark.parametrize("name", ["wavlm", "hubert", "hubert-large", "wav2vec2", "xlsr"])
def test_the_last_layer_is_what_transformers_gives(sources: dict[str, Path], name: str) -> None:
    encoder = make_encoder(sources, name, layer_pooling="last")
    theirs = KINDS[name][1].from_pretrained(sources[name]).eval()
    (wave,) = noise(12000)
    given = wave[None]
    if encoder.config["normalise"]:
        given = (wave - wave.mean())[None] / (wave.var(correction=0) + 1e-7).sqrt()
    expected = theirs(given).last_hidden_state
    torch.testing.assert_close(run(encoder, [wave])[0], expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ["wavlm", "hubert", "xlsr", "xvector"])
def test_every_layer_is_what_transformers_gives(sources: dict[str, Path], name: str) -> None:
    encoder = make_encoder(sources, name)
    theirs = KINDS[name][1].from_pretrained(sources[name]).eval()
    body = theirs.wavlm if name == "xvector" else theirs
    wave = noise(12000)[0][None]
    found = body(wave, output_hidden_states=True)
    # The layer norm behind the layers of a large model belongs to the last of them.
    expected = (*found.hidden_states[:-1], found.last_hidden_state)
    states, _ = encoder.hidden(wave, torch.tensor([12000]), top=4)
    assert len(states) == len(expected) == 5
    for state, wanted in zip(states, expected, strict=True):
        torch.testing.assert_close(state, wanted, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ["hubert", "xlsr", "whisper"])
def test_the_kernels_of_attention_agree(sources: dict[str, Path], name: str) -> None:
    waves = noise(9000, 16000)
    slow, mask = run(make_encoder(sources, name, attention_kernel="eager"), waves)
    fast, _ = run(make_encoder(sources, name, attention_kernel="sdpa"), waves)
    torch.testing.assert_close(fast[mask], slow[mask], atol=1e-5, rtol=1e-4)


def test_a_kernel_that_an_encoder_lacks_is_refused(sources: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="--attention-kernel sdpa: wavlm does not have it"):
        make_encoder(sources, "wavlm", attention_kernel="sdpa")


@pytest.mark.parametrize("name", ["wavlm", "xlsr", "whisper"])
def test_gradient_checkpointing_changes_nothing_but_memory(
    sources: dict[str, Path], name: str
) -> None:
    waves = noise(9000, 12000)
    slopes, losses = [], []
    for wanted in (False, True):
        encoder = make_encoder(sources, name, gradient_checkpointing=wanted).train()
        frames, mask = run(encoder, waves)
        loss = frames[mask].square().mean()
        loss.backward()
        losses.append(loss.item())
        slopes.append([p.grad for p in encoder.trainable() if p.grad is not None])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert len(slopes[0]) == len(slopes[1]) > 10
    for plain, checked in zip(*slopes, strict=True):
        torch.testing.assert_close(plain, checked, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("name", ["wavlm", "xlsr", "whisper"])
def test_what_is_frozen(sources: dict[str, Path], name: str) -> None:
    counts = {}
    for part in ("none", "features", "lower-half", "all"):
        encoder = make_encoder(sources, name, freeze=part)
        trained = {n for n, p in encoder.named_parameters() if p.requires_grad}
        counts[part] = len(trained)
        layers = {n.split("layers.")[1].split(".")[0] for n in trained if "layers." in n}
        assert layers == {
            "none": set("0123"),
            "features": set("0123"),
            "lower-half": set("23"),
        }.get(part, set())
        assert "layer_weights" in trained
        frames, mask = run(encoder, noise(9000))
        frames[mask].sum().backward()
        touched = {n for n, p in encoder.named_parameters() if p.grad is not None}
        assert touched <= trained
    assert counts["none"] > counts["features"] > counts["lower-half"] > counts["all"] == 1


@pytest.mark.parametrize("name", ["wavlm", "hubert", "whisper"])
def test_adapters_alone_are_trained(sources: dict[str, Path], name: str) -> None:
    plain, adapted = make_encoder(sources, name), make_encoder(sources, name, lora_rank=2).train()
    waves = noise(9000)
    torch.testing.assert_close(run(adapted, waves)[0], run(plain, waves)[0], atol=1e-5, rtol=1e-4)
    before = copy.deepcopy(adapted.state_dict())
    steps = torch.optim.SGD(adapted.trainable(), lr=1.0)
    for _ in range(2):
        steps.zero_grad()
        run(adapted, waves)[0].square().mean().backward()
        steps.step()
    changed = {n for n, v in adapted.state_dict().items() if not torch.equal(v, before[n])}
    assert any("lora_B" in n for n in changed)
    assert all("lora_" in n or n == "layer_weights" for n in changed)


def test_adapters_train_with_mix_and_heads_and_are_kept(
    sources: dict[str, Path], tmp_path: Path
) -> None:
    kind, options, config = describe(sources["hubert"], "hubert", lora_rank=2)
    heads = HeadOptions().to_json()
    told = Description(("angry", "sad"), kind, options, heads, encoder_config=config)
    model = checkpoint.build(told).train()
    encoders.load_pretrained(model.encoder)
    before = copy.deepcopy(model.state_dict())
    steps = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    wave, lengths = torch.stack(noise(9000, 9000)), torch.tensor([9000, 9000])
    for _ in range(2):
        steps.zero_grad()
        F.cross_entropy(model(wave, lengths).logits, torch.tensor([0, 1])).backward()
        steps.step()
    after = model.state_dict()
    changed = {n for n, v in after.items() if not torch.equal(v, before[n])}
    inside = {n for n in changed if n.startswith("encoder.")}
    assert inside
    assert all("lora_" in n or n == "encoder.layer_weights" for n in inside)
    assert "encoder.layer_weights" in inside and "classifier.weight" in changed
    checkpoint.save(tmp_path / "kept", model, told, bits=32)
    again, _ = checkpoint.load(tmp_path / "kept")
    model.eval()
    torch.testing.assert_close(again.logits(wave, lengths), model.logits(wave, lengths))


def test_the_mix_is_a_weighted_mean_of_the_layers(sources: dict[str, Path]) -> None:
    encoder = make_encoder(sources, "hubert")
    (wave,) = noise(9000)
    states, _ = encoder.hidden(wave[None], torch.tensor([9000]), top=4)
    with torch.no_grad():
        encoder.layer_weights[2] = 20.0
    assert len(states) == 5
    frames, _ = run(encoder, [wave])
    normalised = encoder.config["normalise"]
    assert not normalised
    torch.testing.assert_close(frames, states[2], atol=1e-4, rtol=1e-3)


def test_from_folders_of_clips_to_an_answer(
    sources: dict[str, Path], corpus_root: Path, tmp_path: Path, tiny_values: dict[str, Any]
) -> None:
    source = tmp_path / "source"
    shutil.copytree(sources["whisper"], source)
    split = by_speakers(corpora.load(str(corpus_root)), valid=["cleo"], test=["dora"])
    values = {**tiny_values, "encoder": "whisper", "source": str(source), "epochs": 1}
    events = list(train("supervised", values, split, tmp_path / "run"))
    assert isinstance(events[-1], Finished)
    assert "not scored" not in events[-1].note
    written = (tmp_path / "run" / "checkpoint" / "model.json").read_text(encoding="utf-8")
    assert str(tmp_path) not in written
    shutil.rmtree(source)
    answer = Predictor(tmp_path / "run" / "checkpoint").predict(split.test[0].path)
    assert sum(answer.probabilities.values()) == pytest.approx(1.0)
    resumed = {**values, "epochs": 2}
    shutil.copytree(sources["whisper"], source)
    events = list(train("supervised", resumed, split, tmp_path / "run", resume=True))
    assert isinstance(events[-1], Finished)


def test_the_command_with_a_bare_file_and_adapters(
    sources: dict[str, Path], corpus_root: Path, tmp_path: Path, tiny_values: dict[str, Any]
) -> None:
    source = tmp_path / "whisper-tiny.safetensors"
    save_file(make_encoder(sources, "whisper").model.state_dict(), source)
    values = {**tiny_values, "encoder": "whisper", "source": source, "epochs": 1, "lora_rank": 2}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]
    chosen = ["--corpus", str(corpus_root), "--valid", "cleo", "--test", "dora"]
    ran = here("train", "supervised", *chosen, "--run", tmp_path / "run", *flags)
    assert ran.code == 0, ran.err
    kept = load_file(source)
    source.unlink()
    model, _ = checkpoint.load(tmp_path / "run" / "checkpoint")
    state = model.encoder.model.state_dict()  # type: ignore[union-attr]
    for name, value in kept.items():
        name = re.sub(r"(q_proj|v_proj)\.", r"\1.base_layer.", name)
        torch.testing.assert_close(state[name], value, atol=1e-3, rtol=1e-3)
    for name in ("model.json", "README.md"):
        text = (tmp_path / "run" / "checkpoint" / name).read_text(encoding="utf-8")
        assert str(tmp_path) not in text
        assert "whisper-tiny.safetensors" in text
    (clip, *_) = corpus_root.rglob("dora-sad-*.wav")
    answer = Predictor(tmp_path / "run" / "checkpoint").predict(clip)
    assert sum(answer.probabilities.values()) == pytest.approx(1.0)


class Hub(BaseHTTPRequestHandler):
    """The part of the Hugging Face hub's interface that serves the files of a model."""

    folder: Path
    asked: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.asked.append(self.path)
        found = re.fullmatch(r"/some/tiny/resolve/main/([\w.]+)", self.path)
        path = self.folder / found[1] if found else self.folder / "nothing"
        body = path.read_bytes() if path.is_file() else b""
        self.send_response(200 if path.is_file() else 404)
        self.send_header("X-Repo-Commit", "0" * 40)
        if not path.is_file():
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *given: Any) -> None:
        """Nothing."""


@pytest.mark.slow
def test_an_encoder_from_a_hub(
    sources: dict[str, Path], corpus_root: Path, tmp_path: Path, tiny_values: dict[str, Any]
) -> None:
    handler = type("Serving", (Hub,), {"folder": sources["wavlm"], "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    values = {**tiny_values, "encoder": "wavlm", "source": "some/tiny", "epochs": 1}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]
    command = ["train", "supervised", "--corpus", str(corpus_root), "--run", str(tmp_path / "run")]
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("HF_")},
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1",
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "serdemo", *command, *flags],
            env=environment,
            capture_output=True,
            text=True,
            timeout=200,
        )
    finally:
        server.shutdown()
    assert done.returncode == 0, done.stderr
    assert "/some/tiny/resolve/main/model.safetensors" in handler.asked
    assert not any(path.endswith((".bin", ".pt", ".pkl")) for path in handler.asked)
    model, description = checkpoint.load(tmp_path / "run" / "checkpoint")
    assert description.encoder_options["source"] == "some/tiny"
    theirs = transformers.WavLMModel.from_pretrained(sources["wavlm"]).state_dict()
    name = "feature_projection.projection.weight"  # frozen, so it is still the hub's
    kept = model.encoder.model.state_dict()[name]  # type: ignore[union-attr]
    torch.testing.assert_close(kept, theirs[name], atol=1e-3, rtol=1e-3)


CONFIGS = {
    "cut off": "{",
    "empty": "",
    "a list": "[]",
    "of words": '{"model_type": "%s", "hidden_size": "wide", "d_model": "wide"}',
}
UNREADABLE = "could not be read: give --source a hub id"
SPOILT = {
    "missing": r"lacks tensor \S*layers\.1\S*",
    "unexpected": r"has an unexpected tensor \S*layers\.9\S*",
    "shape": r"has tensor \S*layers\.1\S* of shape \(.*, 2\), not \(",
    "not finite": r"is damaged: \S*layers\.1\S* holds values that are not finite",
    "picture": UNREADABLE,
    "pickle": UNREADABLE,
    **dict.fromkeys(CONFIGS, UNREADABLE),
}


def spoilt(source: Path, folder: Path, how: str) -> Path:
    shutil.copytree(source, folder)
    weights = folder / "model.safetensors"
    state = load_file(weights)
    name = next(n for n in sorted(state) if "encoder.layers.1" in n)
    if how == "missing":
        del state[name]
    elif how == "unexpected":
        state[name.replace("layers.1", "layers.9")] = state[name].clone()
    elif how == "not finite":
        state[name] = torch.full_like(state[name], torch.inf)
    elif how == "shape":
        state[name] = torch.zeros(*state[name].shape, 2)
    if how == "picture":
        weights.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    elif how == "pickle":
        weights.rename(folder / "pytorch_model.bin")
    elif how in CONFIGS:
        (folder / "config.json").write_text(
            CONFIGS[how].replace("%s", source.name), encoding="utf-8"
        )
    else:
        save_file(state, weights, {"format": "pt"})
    return folder


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize("name", ["wavlm", "whisper"])
def test_a_spoilt_source_is_one_sentence(
    sources: dict[str, Path], tmp_path: Path, name: str, how: str
) -> None:
    folder = spoilt(sources[name], tmp_path / "spoilt", how)
    with pytest.raises(SerdemoError) as told:
        make_encoder({name: folder}, name)
    assert "\n" not in str(told.value)
    assert re.match(f"The encoder {re.escape(str(folder))} {SPOILT[how]}", str(told.value))


def test_what_stands_beside_an_encoder_is_left_out(
    sources: dict[str, Path], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    config = transformers.WavLMConfig(**SMALL, vocab_size=5)
    whole = transformers.WavLMForCTC(config).eval()
    whole.save_pretrained(tmp_path / "ctc")
    (wave,) = noise(9000)
    for source, body in (
        (tmp_path / "ctc", whole.wavlm),
        (sources["xvector"], transformers.WavLMModel.from_pretrained(sources["xvector"]).eval()),
    ):
        found, _ = run(make_encoder({"wavlm": source}, "wavlm", layer_pooling="last"), [wave])
        torch.testing.assert_close(found, body(wave[None]).last_hidden_state, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    "architecture",
    [
        None,
        [],
        {"hidden_size": "wide"},
        {"hidden_size": 25, "num_attention_heads": 2},
        {"hidden_size": -1},
        {"hidden_size": 0},
        {"conv_dim": [16]},
        {"hidden_act": "no such"},
    ],
)
def test_a_configuration_that_makes_no_model_is_one_sentence(architecture: Any) -> None:
    for config in ({}, {"architecture": architecture, "normalise": False}):
        told = Description(("angry", "sad"), "wavlm", {}, {}, encoder_config=config)
        with pytest.raises(SerdemoError, match="cannot be built: the configuration") as raised:
            checkpoint.build(told)
        assert "\n" not in str(raised.value)


def test_another_kind_of_model_is_refused(sources: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="holds a model of type hubert, not wavlm"):
        make_encoder({"wavlm": sources["hubert"]}, "wavlm")


@pytest.mark.parametrize("kind", PRETRAINED)
def test_a_hub_that_cannot_be_reached_is_one_sentence(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(SerdemoError, match="could not be read: give --source"):
        encoders.ENCODERS[kind].configure(PretrainedOptions())
    with pytest.raises(SerdemoError, match=r"The encoder some/model could not be read: give"):
        encoders.ENCODERS[kind].configure(PretrainedOptions(source="some/model"))


def test_the_table_and_the_option_name_the_same_encoders() -> None:
    choices = {spec.name: spec.choices for spec in specs(encoders.OPTION_GROUPS[0])}
    assert tuple(encoders.ENCODERS) == choices["encoder"]
