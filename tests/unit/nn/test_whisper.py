"""Whisper's encoder: its features, clips of any length, bare files, and the real Whisper-base."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from support.small_encoders import make_encoder, noise, run

from serdemo.nn import checkpoint
from serdemo.nn.checkpoint_files import WEIGHTS
from serdemo.nn.description import Description
from serdemo.nn.model import HeadOptions, Model
from serdemo.nn.weights import Bits
from serdemo.schema.errors import SerdemoError


def test_whispers_features_are_those_of_its_extractor(sources: dict[str, Path]) -> None:
    encoder = make_encoder(sources, "whisper")
    (wave,) = noise(30 * 16000)
    theirs = transformers.WhisperFeatureExtractor(feature_size=20)
    expected = theirs(wave.numpy(), sampling_rate=16000, return_tensors="pt").input_features
    mel, frames = encoder.log_mel(wave[None], torch.tensor([len(wave)]))
    assert frames.tolist() == [3000]
    # The two differ where the clip is mirrored at its end.
    torch.testing.assert_close(mel[..., :-2], expected[..., :-2], atol=1e-4, rtol=1e-3)


def test_a_short_clip_has_the_features_of_its_extractor_to_its_end(
    sources: dict[str, Path],
) -> None:
    encoder = make_encoder(sources, "whisper")
    waves = noise(20_000, 48_000)
    theirs = transformers.WhisperFeatureExtractor(feature_size=20)
    padded = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
    mel, frames = encoder.log_mel(padded, torch.tensor([20_000, 48_000]))
    assert frames.tolist() == [125, 300]
    for row, size, wave in zip(mel, frames.tolist(), waves, strict=True):
        given = theirs(wave.numpy(), sampling_rate=16000, return_tensors="pt").input_features[0]
        torch.testing.assert_close(row[:, :size], given[:, :size], atol=1e-4, rtol=1e-3)
        assert not row[:, size:].any()


def test_a_whole_piece_gives_what_transformers_gives(sources: dict[str, Path]) -> None:
    encoder = make_encoder(sources, "whisper")  # with 50 positions a piece is 1 s
    theirs = transformers.WhisperModel.from_pretrained(sources["whisper"]).eval().encoder
    (wave,) = noise(16_000)
    mel, _ = encoder.log_mel(wave[None], torch.tensor([16_000]))
    expected = theirs(mel, output_hidden_states=True).hidden_states
    states, frames = encoder.hidden(wave[None], torch.tensor([16_000]), top=4)
    assert frames.tolist() == [50]
    assert len(states) == len(expected) == 5
    for state, wanted in zip(states, expected, strict=True):
        torch.testing.assert_close(state, wanted, atol=1e-4, rtol=1e-3)


def test_whisper_reads_a_long_clip_in_pieces(sources: dict[str, Path]) -> None:
    encoder = make_encoder(sources, "whisper")  # with 50 positions a piece is 1 s
    waves = noise(16000 * 3 + 5000, 20000)
    frames, mask = run(encoder, waves)
    assert mask.sum(1).tolist() == [150 + 16, 50 + 13]
    assert torch.isfinite(frames).all()
    first, _ = run(encoder, [waves[0][:16000]])
    torch.testing.assert_close(frames[:1, :50], first, atol=2e-4, rtol=1e-3)


def test_a_bare_file_of_whispers_encoder(sources: dict[str, Path], tmp_path: Path) -> None:
    whole = make_encoder(sources, "whisper")
    save_file(whole.model.state_dict(), tmp_path / "encoder.safetensors")
    bare = make_encoder({"whisper": tmp_path / "encoder.safetensors"}, "whisper")
    (wave,) = noise(8000)
    torch.testing.assert_close(run(bare, [wave])[0], run(whole, [wave])[0])


def saved(encoder: Any, folder: Path, bits: Bits = 16) -> set[str]:
    """Save a model with this encoder; the names of the tensors that are stored."""
    heads = HeadOptions(pooling="mean", embedding=8, projection=8)
    description = Description(
        labels=("a", "b"),
        encoder="whisper",
        encoder_options=encoder.options.to_json(),
        head_options=heads.to_json(),
        encoder_config=encoder.config,
    )
    checkpoint.save(folder, Model(encoder, description.labels, heads), description, bits=bits)
    return set(load_file(folder / WEIGHTS))


POSITIONS = "encoder.model.embed_positions.weight"


def test_positions_that_are_sinusoids_are_not_stored(
    sources: dict[str, Path], tmp_path: Path
) -> None:
    encoder = make_encoder(sources, "whisper")
    table = encoder.model.embed_positions.weight
    exact = table.detach().clone()
    assert POSITIONS not in saved(encoder, tmp_path / "a")
    loaded = checkpoint.load(tmp_path / "a")[0].encoder
    assert torch.equal(loaded.model.embed_positions.weight, exact)
    # Those of a published file, in half precision
    table.data = exact.half().float()
    assert POSITIONS not in saved(encoder, tmp_path / "b")
    assert POSITIONS in saved(encoder, tmp_path / "c", bits=32)
    loaded = checkpoint.load(tmp_path / "c")[0].encoder
    assert torch.equal(loaded.model.embed_positions.weight, exact.half().float())
    # As an encoder's source
    source = make_encoder({"whisper": tmp_path / "b"}, "whisper")
    assert torch.equal(source.model.embed_positions.weight, exact)


def test_positions_that_differ_are_stored(sources: dict[str, Path], tmp_path: Path) -> None:
    encoder = make_encoder(sources, "whisper")
    encoder.model.embed_positions.weight.data[3, 5] += 0.01
    assert POSITIONS in saved(encoder, tmp_path / "a")
    expected = encoder.model.embed_positions.weight.half().float()
    for loaded in (
        checkpoint.load(tmp_path / "a")[0].encoder,
        make_encoder({"whisper": tmp_path / "a"}, "whisper"),
    ):
        assert torch.equal(loaded.model.embed_positions.weight, expected)


WRONG = {
    "layers.0.fc1.weight": (None, "lacks tensor layers.0.fc1.weight"),
    "conv1.weight": (torch.zeros(3, 3), "odd shape of tensor conv1.weight"),
    "conv2.bias": (None, "lacks tensor conv2.bias"),
    "layers.0.odd": (torch.zeros(1), "unexpected tensor layers.0.odd"),
    "layers.x": (torch.zeros(1), "lacks tensor layers.4"),
    "layers.1.fc2.weight": (torch.zeros(2, 2), r"of shape \(2, 2\), not \(64, 96\)"),
    "layers.1.fc2.bias": (torch.full((64,), torch.nan), "not finite"),
    "embed_positions.weight": (torch.tensor(1.0), "odd shape of tensor embed_positions.weight"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_bare_file_must_fit_to_the_last_tensor(
    sources: dict[str, Path], tmp_path: Path, name: str
) -> None:
    state = dict(make_encoder(sources, "whisper").model.state_dict())
    value, words = WRONG[name]
    state.pop(name, None)
    if value is not None:
        state[name] = value
    save_file(state, tmp_path / "encoder.safetensors")
    with pytest.raises(SerdemoError, match=words):
        make_encoder({"whisper": tmp_path / "encoder.safetensors"}, "whisper")


@pytest.mark.parametrize("content", [None, b"", b"\x89PNG\r\n\x1a\n" + bytes(100)])
def test_a_bare_file_that_is_none_is_one_sentence(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "encoder.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        SerdemoError, match=r"encoder\.safetensors is not a safetensors file"
    ) as told:
        make_encoder({"whisper": path}, "whisper")
    assert "\n" not in str(told.value)


def weights() -> Path:
    folder = Path(os.environ.get("SERDEMO_DATA", "nowhere")).resolve().parent / "weights"
    if not (folder / "whisper-base-encoder-fp16.safetensors").exists():
        pytest.skip("the folder `weights` beside SERDEMO_DATA, with Whisper-base, is not here")
    return folder


@pytest.mark.slow
def test_the_real_whisper_base_is_read_to_the_last_tensor() -> None:
    encoder = make_encoder(
        {"whisper": weights() / "whisper-base-encoder-fp16.safetensors"}, "whisper"
    )
    assert sum(p.numel() for p in encoder.model.parameters()) == 20_590_592
