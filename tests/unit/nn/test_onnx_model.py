"""Models in ONNX files: equal to the checkpoint, or refused in a sentence."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from support.command import EXAMPLES

from serdemo.embeddings.extract import checkpoint_digest
from serdemo.inference.predictor import Embedder, Predictor
from serdemo.nn import checkpoint
from serdemo.nn.checkpoint_files import DESCRIPTION, WEIGHTS, bundled_checkpoint
from serdemo.nn.loading import load_model
from serdemo.nn.model import Model
from serdemo.nn.onnx_file import read_graph
from serdemo.nn.onnx_model import OnnxModel
from serdemo.schema.errors import SerdemoError, UsageError

SHIPPED = ("compact", "base", "speaker")
CLIPS = sorted(EXAMPLES.glob("*.flac"))[:2]


def noise(*sizes: int) -> tuple[torch.Tensor, torch.Tensor]:
    waves = [torch.randn(n, generator=torch.Generator().manual_seed(n)) * 0.1 for n in sizes]
    return torch.nn.utils.rnn.pad_sequence(waves, True), torch.tensor(sizes)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_graphs_give_what_the_checkpoints_give(name: str) -> None:
    folder = bundled_checkpoint(name)
    (model, description), (graph, described) = (
        load_model(place) for place in (folder, folder / "model.onnx")
    )
    assert described == description
    for sizes in ((1,), (400,), (30 * 16_000, 3000), (47_111, 20_000, 400, 161)):
        wave, lengths = noise(*sizes)
        with torch.inference_mode():
            expected = model.embed(wave, lengths)
            embedding = graph.embed(wave, lengths)
            assert embedding.shape == (len(sizes), model.options.embedding)
            assert (embedding - expected).abs().max() < 2e-4
            if model.labels:
                logits, others = graph.classify(embedding), model.classify(expected)
                assert (logits - others).abs().max() < 1e-4
        alone = graph.embed(wave[-1:, : sizes[-1]], lengths[-1:])
        assert (alone - embedding[-1:]).abs().max() < 1e-4


def test_answers_are_those_of_the_checkpoint() -> None:
    folder = bundled_checkpoint("compact")
    ours, graph = Predictor(folder, device="cpu"), Predictor(folder / "model.onnx")
    assert (graph.labels, graph.unsure_below) == (ours.labels, ours.unsure_below)
    for a, b in zip(ours.predict_many(CLIPS), graph.predict_many(CLIPS), strict=True):
        assert not isinstance(a, SerdemoError) and not isinstance(b, SerdemoError)
        assert (a.label, len(a.segments)) == (b.label, len(b.segments))
        for label, share in a.probabilities.items():
            assert b.probabilities[label] == pytest.approx(share, abs=1e-5)


def test_the_graph_of_the_classifier_gives_the_same_logits() -> None:
    import onnxruntime

    folder = bundled_checkpoint("base")
    session = onnxruntime.InferenceSession(folder / "classifier.onnx")
    rows = np.random.default_rng(0).standard_normal((3, 256)).astype(np.float32)
    model, _ = checkpoint.load(folder)
    with torch.inference_mode():
        expected = model.classify(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(session.run(None, {"embedding": rows})[0], expected, atol=1e-5)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_graph_beside_the_weights_holds_none_of_them(name: str) -> None:
    folder = bundled_checkpoint(name)
    graph = read_graph(folder / "model.onnx").graph
    outside = [t for t in graph.initializer if t.data_location == TensorProto.EXTERNAL]
    inside = [t for t in graph.initializer if t.data_location != TensorProto.EXTERNAL]
    assert sum(len(t.raw_data) for t in inside) < 20_000
    assert sum(path.stat().st_size for path in folder.glob("*.onnx")) < 80_000
    used = sum(int(e.value) for t in outside for e in t.external_data if e.key == "length")
    weights = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    assert 0.95 * weights < used < weights  # all but the projection of training
    assert not any(node.doc_string or node.metadata_props for node in graph.node)


def test_what_needs_weights_is_refused() -> None:
    graph = bundled_checkpoint("compact") / "model.onnx"
    embedder = Embedder(graph)
    with pytest.raises(SerdemoError, match=r"model\.onnx is an ONNX file.*takes the checkpoint"):
        embedder.own_model  # noqa: B018
    with pytest.raises(SerdemoError, match=r"model\.onnx is an ONNX file"):
        checkpoint.load(graph)
    with pytest.raises(UsageError, match="runs on the CPU"):
        load_model(graph, "meta")
    assert embedder.device == torch.device("cpu")
    with pytest.raises(SerdemoError, match="no emotion classifier"):
        Predictor(bundled_checkpoint("speaker") / "model.onnx")


def test_whisper_takes_no_more_than_its_positions() -> None:
    model, _ = load_model(bundled_checkpoint("base") / "model.onnx")
    with pytest.raises(SerdemoError, match="at most 30 s at once"):
        model.embed(torch.zeros(1, 30 * 16_000 + 1), torch.tensor([30 * 16_000 + 1]))


def test_a_digest_follows_the_graph_and_its_weights(tmp_path: Path) -> None:
    source = bundled_checkpoint("compact")
    for name in ("model.onnx", WEIGHTS, DESCRIPTION):
        shutil.copyfile(source / name, tmp_path / name)
    first = checkpoint_digest(tmp_path / "model.onnx")
    assert first != checkpoint_digest(tmp_path)
    assert first == checkpoint_digest(source / "model.onnx")
    with (tmp_path / WEIGHTS).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    assert checkpoint_digest(tmp_path / "model.onnx") != first


def test_a_checkpoint_that_is_saved_again_keeps_no_graph_of_former_weights(tmp_path: Path) -> None:
    folder = shutil.copytree(bundled_checkpoint("compact"), tmp_path / "mine")
    checkpoint.save(folder, *checkpoint.load(folder))
    assert (folder / "README.md").exists()
    assert not list(folder.glob("*.onnx"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The place of a file `strange.onnx`."""
    return tmp_path / "strange.onnx"


def small_graph(*nodes: Any, weights: tuple[Any, ...] = (), width: int = 192, **opset: int) -> Any:
    """A model with the signature of compact's, its embedding the lengths."""
    describe = helper.make_tensor_value_info
    inputs = [
        describe("wave", TensorProto.FLOAT, ["b", "t"]),
        describe("lengths", TensorProto.INT64, ["b"]),
    ]
    outputs = [
        describe("embedding", TensorProto.FLOAT, ["b", width]),
        describe("logits", TensorProto.FLOAT, ["b", 7]),
    ]
    default = (
        helper.make_node("Identity", ["wave"], ["embedding"]),
        helper.make_node("Identity", ["embedding"], ["logits"]),
    )
    graph = helper.make_graph(nodes or default, "strange", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    values = json.loads((bundled_checkpoint("compact") / DESCRIPTION).read_text())
    model.metadata_props.add(key="description", value=json.dumps(values))
    return model


def outside(location: str, **entries: str) -> Any:
    """A model with weights in another file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": "8", **entries}.items():
        tensor.external_data.add(key=key, value=value)
    return small_graph(weights=(tensor,))


def nowhere() -> Any:
    """A model with weights outside, and no word on where."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2])
    tensor.data_location = TensorProto.EXTERNAL
    return small_graph(weights=(tensor,))


def sparse() -> Any:
    """A model whose weights in another file are those of a sparse tensor."""
    values = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    values.data_location = TensorProto.EXTERNAL
    values.external_data.add(key="location", value="../secret")
    places = helper.make_tensor("places", TensorProto.INT64, [1], [0])
    tensor = helper.make_sparse_tensor(values, places, [2])
    return small_graph(helper.make_node("Constant", [], ["embedding"], sparse_value=tensor))


def looping() -> Any:
    body = helper.make_graph([helper.make_node("Identity", ["wave"], ["x"])], "body", [], [])
    return small_graph(helper.make_node("If", ["c"], ["embedding"], then_branch=body))


def undescribed() -> Any:
    model = small_graph()
    del model.metadata_props[:]
    return model


def described(text: str) -> Any:
    model = undescribed()
    model.metadata_props.add(key="description", value=text)
    return model


STRANGE: dict[str, tuple[Callable[[], Any], str]] = {
    "above": (lambda: outside("../secret"), "'../secret', which is no file of a checkpoint"),
    "absolute": (lambda: outside("/etc/passwd"), "'/etc/passwd', which is no file of a checkpoint"),
    "below": (lambda: outside(f"x/../{WEIGHTS}"), "which is no file of a checkpoint"),
    "absent": (lambda: outside(WEIGHTS), "strange.onnx is incomplete: model.safetensors"),
    "nowhere": (nowhere, "which is no file of a checkpoint beside it"),
    "sparse": (sparse, "'Constant' holds a sparse tensor"),
    "loop": (looping, "'If' is a loop or a branch"),
    "own operator": (
        lambda: small_graph(helper.make_node("Run", ["wave"], ["embedding"], domain="evil")),
        "'Run' is not one of ONNX's own",
    ),
    "unknown operator": (
        lambda: small_graph(
            helper.make_node("Odd", ["wave"], ["embedding"]),
            helper.make_node("Identity", ["embedding"], ["logits"]),
        ),
        "refuses its graph",
    ),
    "empty": (lambda: onnx.ModelProto(), "its graph is empty"),
    "undescribed": (undescribed, "holds no description of its labels"),
    "no JSON": (lambda: described("{"), "its description is no JSON"),
    "no table": (lambda: described("[]"), "is no JSON table"),
    "width": (lambda: small_graph(width=8), r"must take wave and lengths and give embedding \(192\)"),
    "logits of sound": (
        lambda: small_graph(
            helper.make_node("Identity", ["wave"], ["embedding"]),
            helper.make_node("Identity", ["wave"], ["logits"]),
        ),
        "cannot be run|do not follow from its embedding",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", STRANGE)
def test_a_strange_graph_is_refused_in_a_sentence(kind: str, file: Path) -> None:
    make, reason = STRANGE[kind]
    file.write_bytes(make().SerializeToString())
    with pytest.raises(SerdemoError, match=reason) as problem:
        Predictor(file)
    assert str(problem.value).endswith(".") and "\n" not in str(problem.value)


@pytest.mark.parametrize(
    "places", [{"offset": "4"}, {"length": "7"}, {"offset": "-8"}, {"offset": ""}]
)
def test_weights_beyond_their_file_are_refused(places: dict[str, str], file: Path) -> None:
    (file.parent / WEIGHTS).write_bytes(bytes(8))
    file.write_bytes(outside(WEIGHTS, **places).SerializeToString())
    with pytest.raises(SerdemoError, match=r"'w' does not lie in model\.safetensors where it says"):
        Predictor(file)


@pytest.mark.parametrize("content", [b"", b"not ONNX", b"\x08\x0a" * 40])
def test_garbage_is_refused(content: bytes, file: Path) -> None:
    file.write_bytes(content)
    with pytest.raises(SerdemoError, match=r"^strange\.onnx is (not an ONNX file|refused)"):
        Predictor(file)


def test_a_damaged_file_is_refused(file: Path) -> None:
    graph = (bundled_checkpoint("compact") / "model.onnx").read_bytes()
    file.write_bytes(graph[: len(graph) // 2])
    with pytest.raises(SerdemoError, match=r"^strange\.onnx is not an ONNX file or is damaged"):
        Predictor(file)
    file.unlink()
    with pytest.raises(SerdemoError, match="the file does not exist"):
        Predictor(file)


def test_a_graph_that_fails_on_sound_says_so(file: Path) -> None:
    nodes = (
        helper.make_node("Add", ["wave", "w"], ["embedding"]),
        helper.make_node("Add", ["embedding", "w"], ["logits"]),
    )
    weight = helper.make_tensor("w", TensorProto.FLOAT, [3], [1.0, 2.0, 3.0])
    file.write_bytes(small_graph(*nodes, weights=(weight,)).SerializeToString())
    with pytest.raises(SerdemoError, match=r"failed on this sound|refuses its graph"):
        Predictor(file).predict(CLIPS[0])


def test_without_onnx_the_command_that_installs_it(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_bytes(b"")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(SerdemoError, match="need the package onnx: python -m pip install"):
        Predictor(file)


def test_a_shipped_model_answers_by_its_graph_and_a_copy_of_it_by_its_weights(
    tmp_path: Path,
) -> None:
    shipped = bundled_checkpoint("compact")
    plain, graph = (
        Predictor(shipped, device="cpu", by_graph=by_graph) for by_graph in (False, True)
    )
    assert isinstance(graph.model, OnnxModel) and isinstance(plain.model, Model)
    wave = np.random.default_rng(0).normal(0, 0.1, 24_000).astype(np.float32)
    rows = [predictor.embeddings([wave, wave[:9000]]) for predictor in (plain, graph)]
    assert np.allclose(*rows, atol=1e-4) and np.ptp(rows[0]) > 0.1
    assert isinstance(graph.own_model, Model)  # for training and adaptation
    copy = shutil.copytree(
        shipped, tmp_path / "compact"
    )  # as a stranger's may be: its graph is not run
    assert isinstance(Predictor(copy, device="cpu", by_graph=True).model, Model)
