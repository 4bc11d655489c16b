"""Pretrained encoders, on small models of random weights saved to disk, and on the real Whisper."""

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
from torch.nn import functional as F

from serdemo import checkpoint, corpora, encoders
from serdemo.audio import decode
from serdemo.checkpoint import Description
from serdemo.encoders.options import PRETRAINED, PretrainedOptions
from serdemo.events import Finished
from serdemo.model import HeadOptions
from serdemo.options import specs
from serdemo.predict import Predictor
from serdemo.runs import train
from serdemo.schema import SerdemoError, UsageError
from serdemo.splits import by_speakers

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL: dict[str, Any] = dict(
    hidden_size=24,
    num_hidden_layers=4,
    num_attention_heads=2,
    intermediate_size=32,
    conv_dim=(16, 16),
    conv_kernel=(10, 4),
    conv_stride=(40, 8),
    num_conv_pos_embeddings=8,
    num_conv_pos_embedding_groups=2,
    hidden_dropout=0.0,
    attention_dropout=0.0,
    activation_dropout=0.0,
    feat_proj_dropout=0.0,
    layerdrop=0.0,
)
TDNN: dict[str, Any] = dict(
    tdnn_dim=(16, 16, 24),
    tdnn_kernel=(3, 2, 1),
    tdnn_dilation=(1, 2, 1),
    xvector_output_dim=8,
    classifier_proj_size=16,
    use_weighted_layer_sum=True,
)
WHISPER: dict[str, Any] = dict(
    d_model=64,
    encoder_layers=4,
    encoder_attention_heads=1,
    encoder_ffn_dim=96,
    decoder_layers=1,
    decoder_attention_heads=1,
    decoder_ffn_dim=16,
    num_mel_bins=20,
    max_source_positions=50,
    vocab_size=40,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
    decoder_start_token_id=1,
    dropout=0.0,
)
LAYER_NORM = dict(feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True)
KINDS = {
    "wavlm": ("wavlm", transformers.WavLMModel, SMALL),
    "hubert": ("hubert", transformers.HubertModel, SMALL),
    "hubert-large": ("hubert", transformers.HubertModel, SMALL | LAYER_NORM),
    "wav2vec2": ("wav2vec2", transformers.Wav2Vec2Model, SMALL),
    "xlsr": ("wav2vec2", transformers.Wav2Vec2Model, SMALL | LAYER_NORM),
    "xvector": ("xvector", transformers.WavLMForXVector, SMALL | TDNN),
    "whisper": ("whisper", transformers.WhisperModel, WHISPER),
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each of the kinds, as `save_pretrained` writes it."""
    folder = tmp_path_factory.mktemp("sources")
    for name, (_, kind, values) in KINDS.items():
        torch.manual_seed(0)
        kind(kind.config_class(**values)).save_pretrained(folder / name)
    return {name: folder / name for name in KINDS}


def described(source: Path, name: str, **more: Any) -> tuple[str, dict[str, Any], dict[str, Any]]:
    kind = KINDS[name][0]
    options = PretrainedOptions(source=str(source), **more)
    return kind, options.to_json(), encoders.ENCODERS[kind].configure(options)


def built(sources: dict[str, Path], name: str, **more: Any) -> Any:
    torch.manual_seed(1)
    encoder = encoders.build(*described(sources[name], name, **more))
    encoders.load_pretrained(encoder)
    return encoder.eval()


def noise(*sizes: int) -> list[torch.Tensor]:
    return [torch.randn(n, generator=torch.Generator().manual_seed(n)) * 0.1 for n in sizes]


def run(encoder: Any, waves: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    padded = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
    frames, mask = encoder(padded, torch.tensor([len(wave) for wave in waves]))
    return frames, mask


@pytest.mark.parametrize("name", KINDS)
def test_a_clip_is_what_it_is_alone(sources: dict[str, Path], name: str) -> None:
    encoder = built(sources, name)
    waves = noise(9000, 16000, 40, 1)
    frames, mask = run(encoder, waves)
    assert frames.shape[2] == encoder.width
    for row, kept, wave in zip(frames, mask, waves, strict=True):
        alone, whole = run(encoder, [wave])
        assert whole.all()
        assert kept.sum() == alone.shape[1]
        torch.testing.assert_close(row[kept], alone[0], atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ["wavlm", "hubert", "hubert-large", "wav2vec2", "xlsr"])
def test_the_last_layer_is_what_transformers_gives(sources: dict[str, Path], name: str) -> None:
    encoder = built(sources, name, mix="last")
    theirs = KINDS[name][1].from_pretrained(sources[name]).eval()
    (wave,) = noise(12000)
    given = wave[None]
    if encoder.config["normalise"]:
        given = (wave - wave.mean())[None] / (wave.var(correction=0) + 1e-7).sqrt()
    expected = theirs(given).last_hidden_state
    torch.testing.assert_close(run(encoder, [wave])[0], expected, atol=1e-4, rtol=1e-3)


def test_speaker_embeddings_are_what_transformers_gives(sources: dict[str, Path]) -> None:
    encoder = built(sources, "xvector")
    theirs = transformers.WavLMForXVector.from_pretrained(sources["xvector"]).eval()
    waves = noise(12000, 16000)
    padded = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
    found = encoder.speaker_embedding(padded, torch.tensor([12000, 16000]))
    for row, wave in zip(found, waves, strict=True):
        torch.testing.assert_close(row, theirs(wave[None]).embeddings[0], atol=1e-4, rtol=1e-3)


def test_whispers_features_are_those_of_its_extractor(sources: dict[str, Path]) -> None:
    encoder = built(sources, "whisper")
    (wave,) = noise(30 * 16000)
    theirs = transformers.WhisperFeatureExtractor(feature_size=20)
    expected = theirs(wave.numpy(), sampling_rate=16000, return_tensors="pt").input_features
    mel, frames = encoder.log_mel(wave[None], torch.tensor([len(wave)]))
    assert frames.tolist() == [3000]
    # The two differ where the clip is mirrored at its end.
    torch.testing.assert_close(mel[..., :-2], expected[..., :-2], atol=1e-4, rtol=1e-3)


def test_whisper_reads_a_long_clip_in_pieces(sources: dict[str, Path]) -> None:
    encoder = built(sources, "whisper")  # with 50 positions a piece is 1 s
    waves = noise(16000 * 3 + 5000, 20000)
    frames, mask = run(encoder, waves)
    assert mask.sum(1).tolist() == [150 + 16, 50 + 13]
    assert torch.isfinite(frames).all()
    first, _ = run(encoder, [waves[0][:16000]])
    torch.testing.assert_close(frames[:1, :50], first, atol=2e-4, rtol=1e-3)


def test_a_bare_file_of_whispers_encoder(sources: dict[str, Path], tmp_path: Path) -> None:
    whole = built(sources, "whisper")
    save_file(whole.model.state_dict(), tmp_path / "encoder.safetensors")
    bare = built({"whisper": tmp_path / "encoder.safetensors"}, "whisper")
    (wave,) = noise(8000)
    torch.testing.assert_close(run(bare, [wave])[0], run(whole, [wave])[0])


@pytest.mark.parametrize("name", ["hubert", "xlsr", "whisper"])
def test_the_kernels_of_attention_agree(sources: dict[str, Path], name: str) -> None:
    waves = noise(9000, 16000)
    slow, mask = run(built(sources, name, attention_kernel="eager"), waves)
    fast, _ = run(built(sources, name, attention_kernel="sdpa"), waves)
    torch.testing.assert_close(fast[mask], slow[mask], atol=1e-5, rtol=1e-4)


def test_a_kernel_that_an_encoder_lacks_is_refused(sources: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="--attention-kernel sdpa: wavlm does not have it"):
        built(sources, "wavlm", attention_kernel="sdpa")


@pytest.mark.parametrize("name", ["wavlm", "xlsr", "whisper"])
def test_gradient_checkpointing_changes_nothing_but_memory(
    sources: dict[str, Path], name: str
) -> None:
    waves = noise(9000, 12000)
    slopes = []
    for wanted in (False, True):
        encoder = built(sources, name, gradient_checkpointing=wanted).train()
        frames, mask = run(encoder, waves)
        frames[mask].square().mean().backward()
        slopes.append([p.grad for p in encoder.trainable() if p.grad is not None])
    assert len(slopes[0]) == len(slopes[1]) > 10
    for plain, checked in zip(*slopes, strict=True):
        torch.testing.assert_close(plain, checked, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("name", ["wavlm", "xlsr", "whisper"])
def test_what_is_frozen(sources: dict[str, Path], name: str) -> None:
    counts = {}
    for part in ("none", "features", "lower", "all"):
        encoder = built(sources, name, freeze=part)
        trained = {n for n, p in encoder.named_parameters() if p.requires_grad}
        counts[part] = len(trained)
        layers = {n.split("layers.")[1].split(".")[0] for n in trained if "layers." in n}
        assert layers == {"none": set("0123"), "features": set("0123"), "lower": set("23")}.get(
            part, set()
        )
        assert "mix" in trained
        frames, mask = run(encoder, noise(9000))
        frames[mask].sum().backward()
        touched = {n for n, p in encoder.named_parameters() if p.grad is not None}
        assert touched <= trained
    assert counts["none"] > counts["features"] > counts["lower"] > counts["all"] == 1


@pytest.mark.parametrize("name", ["wavlm", "hubert", "whisper"])
def test_adapters_alone_are_trained(sources: dict[str, Path], name: str) -> None:
    plain, adapted = built(sources, name), built(sources, name, lora_rank=2).train()
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
    assert all("lora_" in n or n == "mix" for n in changed)


def test_the_mix_is_a_weighted_mean_of_the_layers(sources: dict[str, Path]) -> None:
    encoder = built(sources, "hubert")
    (wave,) = noise(9000)
    states, _ = encoder.hidden(wave[None], torch.tensor([9000]))
    with torch.no_grad():
        encoder.mix[2] = 20.0
    assert len(states) == 5
    frames, _ = run(encoder, [wave])
    normalised = encoder.config["normalise"]
    assert not normalised
    torch.testing.assert_close(frames, states[2], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ["wavlm", "whisper", "xvector"])
def test_a_checkpoint_needs_no_source(sources: dict[str, Path], tmp_path: Path, name: str) -> None:
    shutil.copytree(sources[name], tmp_path / "source")
    kind, options, config = described(tmp_path / "source", name)
    told = Description(
        ("angry", "sad"), kind, options, HeadOptions().to_json(), encoder_config=config
    )
    model = checkpoint.build(told).eval()
    encoders.load_pretrained(model.encoder)
    checkpoint.save(tmp_path / "kept", model, told, half=False)
    shutil.rmtree(tmp_path / "source")
    again, _ = checkpoint.load(tmp_path / "kept")
    wave, lengths = noise(9000)[0][None], torch.tensor([9000])
    torch.testing.assert_close(again.logits(wave, lengths), model.logits(wave, lengths))


def test_from_folders_of_clips_to_an_answer(
    sources: dict[str, Path], corpus_root: Path, tmp_path: Path, tiny_values: dict[str, Any]
) -> None:
    source = tmp_path / "source"
    shutil.copytree(sources["whisper"], source)
    split = by_speakers(corpora.load(str(corpus_root)), valid=["cleo"], test=["dora"])
    values = {**tiny_values, "encoder": "whisper", "source": str(source), "epochs": 1}
    events = list(train("supervised", values, split, tmp_path / "run"))
    assert isinstance(events[-1], Finished)
    assert not events[-1].note
    written = (tmp_path / "run" / "checkpoint" / "model.json").read_text(encoding="utf-8")
    assert str(tmp_path) not in written
    shutil.rmtree(source)
    answer = Predictor(tmp_path / "run" / "checkpoint").predict(split.test[0].path)
    assert sum(answer.probabilities.values()) == pytest.approx(1.0)
    resumed = {**values, "epochs": 2}
    shutil.copytree(sources["whisper"], source)
    events = list(train("supervised", resumed, split, tmp_path / "run", resume=True))
    assert isinstance(events[-1], Finished)


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


def spoilt(source: Path, folder: Path, how: str) -> Path:
    shutil.copytree(source, folder)
    weights = folder / "model.safetensors"
    state = load_file(weights)
    name = next(n for n in sorted(state) if "encoder.layers.1" in n)
    if how == "missing":
        del state[name]
    elif how == "shape":
        state[name] = torch.zeros(*state[name].shape, 2)
    if how == "picture":
        weights.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    elif how == "pickle":
        weights.rename(folder / "pytorch_model.bin")
    elif how == "config":
        (folder / "config.json").write_text("{", encoding="utf-8")
    else:
        save_file(state, weights, {"format": "pt"})
    return folder


@pytest.mark.parametrize("how", ["missing", "shape", "picture", "pickle", "config"])
@pytest.mark.parametrize("name", ["wavlm", "whisper"])
def test_a_spoilt_source_is_one_sentence(
    sources: dict[str, Path], tmp_path: Path, name: str, how: str
) -> None:
    folder = spoilt(sources[name], tmp_path / "spoilt", how)
    with pytest.raises(SerdemoError) as told:
        built({name: folder}, name)
    assert "\n" not in str(told.value)
    assert "The encoder" in str(told.value)


@pytest.mark.parametrize("odd", ["layers.0.fc1.weight", "conv1.weight", "layers.9.extra"])
def test_a_bare_file_must_fit_to_the_last_tensor(
    sources: dict[str, Path], tmp_path: Path, odd: str
) -> None:
    state = dict(built(sources, "whisper").model.state_dict())
    if odd in state:
        del state[odd]
    else:
        state["layers.0.odd"] = torch.zeros(1)
    save_file(state, tmp_path / "encoder.safetensors")
    with pytest.raises(SerdemoError, match="tensor"):
        built({"whisper": tmp_path / "encoder.safetensors"}, "whisper")


def test_another_kind_of_model_is_refused(sources: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="holds a model of type hubert, not wavlm"):
        built({"wavlm": sources["hubert"]}, "wavlm")


@pytest.mark.parametrize("kind", PRETRAINED)
def test_a_hub_that_cannot_be_reached_is_one_sentence(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(SerdemoError, match="could not be read: give --source"):
        encoders.ENCODERS[kind].configure(PretrainedOptions())


def test_the_table_and_the_option_name_the_same_encoders() -> None:
    choices = {spec.name: spec.choices for spec in specs(encoders.GROUPS[0])}
    assert tuple(encoders.ENCODERS) == choices["encoder"]


def weights() -> Path:
    folder = Path(os.environ.get("SERDEMO_DATA", "nowhere")).resolve().parent / "weights"
    if not (folder / "whisper-base-encoder-fp16.safetensors").exists():
        pytest.skip("the folder `weights` beside SERDEMO_DATA, with Whisper-base, is not here")
    return folder


TEACHER = {
    "03-01-05-01-01-01-07": [3.232, 0.189, 0.010, -0.328, 0.430, 0.384, 0.114],
    "03-01-04-02-02-01-20": [-1.373, 0.404, 1.950, -0.633, -0.310, 3.288, -0.904],
}


def test_the_real_whisper_base_answers_as_the_real_one() -> None:
    """With the teacher's weights in it, its frames give the teacher's published logits."""
    folder = weights()
    encoder = built({"whisper": folder / "whisper-base-encoder-fp16.safetensors"}, "whisper")
    assert sum(p.numel() for p in encoder.model.parameters()) == 20_590_592
    state = load_file(folder / "teacher-whisper-base-emotion-fp16.safetensors")
    t = {name: value.float() for name, value in state.items()}
    encoder.model.load_state_dict({n[4:]: v for n, v in t.items() if n.startswith("enc.")})
    encoder.mix.data = t["lw"]
    for stem, expected in TEACHER.items():
        (path,) = Path(os.environ["SERDEMO_DATA"]).glob(f"ravdess/{stem}.*")
        wave = torch.from_numpy(decode(path).samples)
        with torch.inference_mode():
            h = F.relu(
                F.linear(run(encoder, [wave])[0], t["proj_in.0.weight"], t["proj_in.0.bias"])
            )
            inner = torch.tanh(F.linear(h, t["att.0.weight"], t["att.0.bias"]))
            share = F.linear(inner, t["att.2.weight"], t["att.2.bias"]).softmax(1)
            mean = (share * h).sum(1)
            spread = ((share * h * h).sum(1) - mean**2).clamp_min(1e-5).sqrt()
            hidden = F.linear(torch.cat((mean, spread), 1), t["emb.weight"], t["emb.bias"])
            logits = F.linear(F.silu(hidden), t["cls.weight"], t["cls.bias"])
        assert logits[0].tolist() == pytest.approx(expected, abs=0.06)
