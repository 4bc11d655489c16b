"""ONNX files of checkpoints of every kind: the outputs of the checkpoint, and the same bytes each time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from support.small_encoders import describe, noise

from serdemo.nn import checkpoint, encoders
from serdemo.nn.checkpoint_files import bundled_checkpoint
from serdemo.nn.description import Description
from serdemo.nn.loading import load_model
from serdemo.nn.model import HeadOptions, Model
from serdemo.nn.onnx_export import ConvPower, Filters, traceable, write_file, write_graphs
from serdemo.nn.weights import Bits
from serdemo.schema.errors import SerdemoError

TINY: dict[str, Any] = dict(width=16, layers=1, heads=2, expansion=1, kernel=3)
IMAGE: dict[str, Any] = dict(pooling="cnn", image_side=32, image_seconds=0.5, cnn_layers=3)
LABELS = ("angry", "sad")


def saved(
    folder: Path,
    encoder: tuple[str, dict[str, Any], dict[str, Any]],
    bits: Bits = 16,
    labels: tuple[str, ...] = LABELS,
    **heads: Any,
) -> Path:
    """A checkpoint with random weights in `folder`."""
    torch.manual_seed(0)
    options = HeadOptions(embedding=8, projection=8, attention=8, **heads)
    description = Description(
        labels=labels,
        encoder=encoder[0],
        encoder_options=encoder[1],
        head_options=options.to_json(),
        encoder_config=encoder[2],
        name=folder.name,
        temperature=1.5,
    )
    model = Model(encoders.build(*encoder), labels, options)
    encoders.load_pretrained(model.encoder)
    if options.image:  # so that batch norm has seen something
        padded = torch.nn.utils.rnn.pad_sequence(noise(8000, 6000, 5000), True)
        model.train().embed(padded, torch.tensor([8000, 6000, 5000]))
    checkpoint.save(folder, model.eval(), description, bits=bits)
    return folder


def difference(first: Path, second: Path, *sizes: int) -> float:
    """Largest difference of embeddings and logits of two forms of a model on noise of these lengths."""
    wave = torch.nn.utils.rnn.pad_sequence(noise(*sizes), True)
    outputs = []
    for place in (first, second):
        model, _ = load_model(place)
        with torch.inference_mode():
            embedding = model.embed(wave, torch.tensor(sizes))
            outputs.append(torch.cat((embedding, model.classify(embedding)), 1))
    assert outputs[0].std() > 1e-3
    return float((outputs[0] - outputs[1]).abs().max())


@pytest.mark.slow
def test_a_small_compact(tmp_path: Path) -> None:
    folder = saved(tmp_path / "mine", ("compact", TINY, {}), 16, classifier_width=4)
    write_file(folder, tmp_path / "mine.onnx", card="A card.")
    assert difference(folder, tmp_path / "mine.onnx", 9000, 399, 1) < 1e-5
    file = onnx.load(tmp_path / "mine.onnx")
    metadata = {entry.key: entry.value for entry in file.metadata_props}
    assert json.loads(metadata["labels"]) == list(LABELS)
    assert (metadata["temperature"], metadata["sample_rate"]) == ("1.5", "16000")
    assert (metadata["window_s"], metadata["card"], metadata["name"]) == ("3.0", "A card.", "mine")
    assert json.loads(metadata["description"])["encoder_options"] == {
        **TINY,
        **json.loads((folder / "model.json").read_text())["encoder_options"],
    }
    stored = [t.data_type for t in file.graph.initializer if ".blocks." in t.name]
    assert len(stored) > 20 and set(stored) == {onnx.TensorProto.FLOAT16}
    onnx.checker.check_model(file)


WHISPERS = {
    "weighted layers": dict(layer_pooling="weighted", keep_layers=2),
    "concatenated, adapted": dict(layer_pooling="concat", keep_layers=2, lora_rank=2, bottleneck=6),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", WHISPERS)
def test_a_small_whisper(kind: str, sources: dict[str, Path], tmp_path: Path) -> None:
    encoder = describe(sources["whisper"], "whisper", **WHISPERS[kind])
    folder = saved(tmp_path / "mine", encoder, pooling="mean-std")
    write_file(folder, tmp_path / "mine.onnx")
    assert difference(folder, tmp_path / "mine.onnx", 16_000, 5000, 1) < 1e-4
    with pytest.raises(SerdemoError, match="at most 1 s at once"):
        difference(tmp_path / "mine.onnx", folder, 16_001)


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["cnn", "efficientnet"])
def test_frames_as_an_image(pooling: str, tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    folder = saved(
        tmp_path / "mine", ("mfcc", {}, {}), **{**IMAGE, "pooling": pooling, "image_side": 64}
    )
    write_file(folder, tmp_path / "mine.onnx")
    assert difference(folder, tmp_path / "mine.onnx", 12_000, 5000, 400) < 1e-4


@pytest.mark.slow
def test_eight_bits_are_those_of_a_checkpoint_in_eight_bits(tmp_path: Path) -> None:
    big = ("compact", {**TINY, "width": 64, "expansion": 2}, {})
    folder = saved(tmp_path / "mine", big, 32, pooling="attention", labels=())
    small = saved(tmp_path / "small", big, 8, pooling="attention", labels=())
    write_file(folder, tmp_path / "mine.onnx", int8=True)
    write_file(small, tmp_path / "small.onnx", int8=True)
    assert difference(folder, tmp_path / "mine.onnx", 9000, 400) > 1e-4
    assert difference(small, tmp_path / "mine.onnx", 9000, 400) < 1e-5
    assert difference(small, tmp_path / "small.onnx", 9000, 400) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["compact", "base"])
def test_the_shipped_graphs_are_those_of_the_exporter(name: str, tmp_path: Path) -> None:
    """Which answer as the checkpoints do (test_onnx_model.py)."""
    folder = shutil.copytree(bundled_checkpoint(name), tmp_path / name)
    shipped = {path.name: path.read_bytes() for path in folder.glob("*.onnx")}
    for path in folder.glob("*.onnx"):
        path.unlink()
    assert {path.name: path.read_bytes() for path in write_graphs(folder)} == shipped


def test_a_convolution_gives_the_power_spectrum() -> None:
    (wave,) = noise(4000)
    window = torch.hann_window(400)
    power = ConvPower(window, 400, 160, reflected=200)(wave[None])
    spectrum = torch.stft(wave, 400, 160, window=window, return_complex=True).abs().square()
    n_frames = power.shape[2]
    assert n_frames == 24
    torch.testing.assert_close(power[0], spectrum[:, :n_frames], atol=1e-4, rtol=1e-3)


def test_filters_are_rebuilt_exactly() -> None:
    matrix = torch.tensor([[0.0, 0.1, 0.0], [0.25, 0.0, -3.0]])
    filters = Filters(matrix)
    assert len(filters.values) == 3
    assert torch.equal(filters(), matrix)


@pytest.mark.parametrize("name", ["wav2vec2", "wavlm", "xvector"])
def test_other_encoders_are_refused(name: str, sources: dict[str, Path], tmp_path: Path) -> None:
    folder = saved(tmp_path / "mine", describe(sources[name], name), pooling="mean")
    with pytest.raises(SerdemoError, match=f"mine cannot be exported: its encoder is {name}"):
        traceable(*checkpoint.load(folder))


def test_an_image_beyond_whispers_positions_is_refused(
    sources: dict[str, Path], tmp_path: Path
) -> None:
    image = {**IMAGE, "image_seconds": 1.5}
    folder = saved(tmp_path / "mine", describe(sources["whisper"], "whisper"), **image)
    with pytest.raises(SerdemoError, match=r"takes 1\.5 s at once, and its encoder .* 1 s"):
        traceable(*checkpoint.load(folder))
