"""Copies of checkpoints with weights in 8 bits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.command import EXAMPLES, here

from serdemo.evaluation.quantization import quantize
from serdemo.inference.predictor import Predictor
from serdemo.nn import checkpoint
from serdemo.nn.checkpoint_files import WEIGHTS, bundled_checkpoint
from serdemo.schema.errors import SerdemoError, UsageError

CLIPS = sorted(EXAMPLES.glob("*.flac"))[:2]


def test_compact_in_eight_bits_gives_the_same_answers(tmp_path: Path) -> None:
    folder = bundled_checkpoint("compact")
    result = quantize(folder, tmp_path / "small", CLIPS)
    assert (result.clips, result.changed) == (2, 0)
    assert result.megabytes < 0.55 * result.megabytes_before
    outputs = [list(Predictor(place).embed_many(CLIPS)) for place in (folder, tmp_path / "small")]
    worst = 0.0
    for a, b in zip(*outputs, strict=True):
        assert not isinstance(a, SerdemoError) and not isinstance(b, SerdemoError)
        worst = max(worst, abs(a.probabilities - b.probabilities).max())
    assert 0 < worst == pytest.approx(result.max_difference, abs=1e-5) and worst < 0.01
    for name in ("README.md", "report.json", "events.jsonl"):
        assert (tmp_path / "small" / name).read_bytes() == (folder / name).read_bytes()
    assert checkpoint.load(tmp_path / "small")[1] == checkpoint.load(folder)[1]


def test_what_differs_too_much_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(SerdemoError, match=r"would differ by 0\.00\d, more than 1e-06"):
        quantize(bundled_checkpoint("compact"), tmp_path / "small", CLIPS[:1], max_difference=1e-6)
    assert not list(tmp_path.iterdir())


def test_a_speaker_encoder_is_compared_by_its_embeddings(tmp_path: Path) -> None:
    result = quantize(bundled_checkpoint("speaker"), tmp_path / "small", CLIPS[:1])
    assert 0 < result.max_difference < 0.01


def test_the_command_and_what_it_refuses(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "mine"))
    done = here("models", "quantize", folder, tmp_path / "out", "--json", "--max-difference", "1")
    assert done.code == 0, done.err
    assert json.loads(done.out)["clips"] == 16
    assert (tmp_path / "out" / WEIGHTS).is_file()
    again = here("models", "quantize", folder, tmp_path / "out")
    assert again.code == 2 and "exists" in again.err
    for target in (folder, tmp_path / "no" / "where"):
        done = here("models", "quantize", folder, target, "--force")
        assert done.code == 2 and done.err.count("\n") == 1
    with pytest.raises(UsageError, match="exists"):
        quantize(folder, tmp_path / "out")
    (tmp_path / "empty.wav").write_bytes(b"")
    with pytest.raises(SerdemoError, match="not compared"):
        quantize(folder, tmp_path / "other", [tmp_path / "empty.wav"])
