"""`serdemo export`: a file that answers as the checkpoint does, or a sentence and no file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.command import EXAMPLES, here

from serdemo.evaluation import verified_export
from serdemo.evaluation.agreement import ClipDifference, clip_differences
from serdemo.inference.predictor import Embedder
from serdemo.nn import onnx_export
from serdemo.nn.checkpoint_files import bundled_checkpoint

VOICES = sorted(EXAMPLES.glob("*.flac"))


@pytest.mark.slow
def test_a_file_is_verified_and_answers_every_command(
    tiny_checkpoint: Path, corpus_root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tiny.onnx"
    done = here("export", tiny_checkpoint, *VOICES[:2], "--out", out, "--verify", "--json").json()
    assert done["files"] == {str(out): out.stat().st_size}
    assert [row["clip"] for row in done["clips"]] == [str(path) for path in VOICES[:2]]
    assert max(row["difference"] for row in done["clips"]) < 1e-5
    assert list(tmp_path.iterdir()) == [out]

    asked = ("predict", VOICES[0], "--json", "--checkpoint")
    ((ours,), (graph,)) = (here(*asked, place).json() for place in (tiny_checkpoint, out))
    assert graph["label"] == ours["label"]
    assert graph["probabilities"] == pytest.approx(ours["probabilities"], abs=1e-5)
    corpus = ("--corpus", corpus_root, "--device", "cpu")
    ours, graph = (
        here("evaluate", place, *corpus, "--speakers", "all", "--json").json()
        for place in (tiny_checkpoint, out)
    )
    assert graph["n"] == ours["n"] > 20 and graph["uar"] == pytest.approx(ours["uar"])
    table = here("embed", out, *corpus, "--out", tmp_path / "table.parquet")
    assert table.code == 0 and f"{ours['n']} clips" in table.err
    for words in (("models", "import"), ("export",)):
        extra = ("--out", tmp_path / "again.onnx") if words == ("export",) else ()
        refused = here(*words, out, *extra)
        assert refused.code in (1, 2) and "is an ONNX file" in refused.err


WRONG = {
    "no file": ((), "Name a file with --out, or give --beside alone"),
    "both": (("--out", "x.onnx", "--beside"), "Name a file with --out"),
    "clips": (("clip.wav", "--out", "x.onnx"), "CLIPS are for --verify"),
    "suffix": (("--out", "x.pt"), "must name a file .onnx"),
    "folder": (("--out", "absent/x.onnx"), "in a folder that is there"),
    "own folder": (("--out", "folder.onnx"), "must name a file .onnx"),
    "exists": (("--out", "old.onnx"), "old.onnx exists: name another file, or give --force"),
    "format": (("--format", "pickle", "--out", "x.onnx"), "'pickle' is not 'onnx'"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_usage(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "old.onnx").write_bytes(b"mine")
    words, sentence = WRONG[kind]
    done = here("export", "compact", *words)
    assert done.code == 2 and sentence in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.onnx", "old.onnx"]
    assert (tmp_path / "old.onnx").read_bytes() == b"mine"


def test_what_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_another(folder: Path, out: Path, *, int8: bool, card: str) -> None:
        out.write_bytes(b"stands for another model")

    rows = [ClipDifference("a", ("sad", "sad"), 0.002), ClipDifference("b", ("sad", "sad"), 1e-7)]
    monkeypatch.setattr(onnx_export, "write_file", write_another)
    monkeypatch.setattr(verified_export, "Embedder", lambda *given, **named: None)
    monkeypatch.setattr(verified_export, "clip_differences", lambda *given: rows)
    out = tmp_path / "x.onnx"
    done = here("export", "compact", "--out", out, "--verify")
    assert done.code == 1
    assert (
        "x.onnx is not written: on 2 clips it would differ from the checkpoint by 0.0020"
        in done.err
    )
    assert not list(tmp_path.iterdir())
    done = here("export", "compact", "--out", out, "--verify", "--int8")  # whose limit is wider
    assert done.code == 0 and out.read_bytes() == b"stands for another model"
    assert "Largest difference 2.0e-03 on 2 clips" in done.out
    rows[0] = ClipDifference("a", ("sad", "angry"), 0.002)
    done = here("export", "compact", "--out", out, "--verify", "--int8", "--force")
    assert done.code == 1 and "with another label for 1" in done.err


def test_differences_of_models_with_and_without_labels() -> None:
    for name in ("compact", "speaker"):
        folder = bundled_checkpoint(name)
        models = Embedder(folder, device="cpu"), Embedder(folder / "model.onnx")
        (row,) = clip_differences(*models, [VOICES[0], EXAMPLES / "absent.flac"])
        assert row.difference < 1e-5 and not row.is_changed
        assert bool(row.labels[0]) == (name == "compact")


def test_without_the_exporter_the_command_that_installs_it(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    done = here("export", tiny_checkpoint, "--out", tmp_path / "x.onnx")
    assert done.code == 1 and "needs the package onnxscript: python -m pip install" in done.err
