"""ONNX files beside their checkpoints on clips of real speech of speakers that none was trained on."""

from __future__ import annotations

from pathlib import Path

import pytest

from serdemo.data import corpora
from serdemo.evaluation.agreement import ClipDifference, clip_differences
from serdemo.evaluation.scoring import select_test_clips
from serdemo.evaluation.verified_export import export
from serdemo.inference.predictor import Predictor
from serdemo.nn.checkpoint_files import bundled_checkpoint

CORPORA = ("ravdess", "cremad", "emodb", "aesdd", "urdu")
N_CLIPS = 60


@pytest.fixture(scope="module")
def clips(data_root: Path) -> list[Path]:
    """As many clips of each corpus, spread evenly over its test speakers."""
    description = Predictor(bundled_checkpoint("compact"), device="cpu").description
    paths = []
    each = N_CLIPS // len(CORPORA)
    for name in CORPORA:
        if not (data_root / name).is_dir():
            pytest.skip(f"{name} not in SERDEMO_DATA")
        test = select_test_clips(corpora.load_many(name, data_root), "unseen", description)
        paths += [test[number * len(test) // each].path for number in range(each)]
    return paths


def differences(name: str, graph: Path, clips: list[Path]) -> list[ClipDifference]:
    checkpoint = Predictor(bundled_checkpoint(name), device="cpu")
    rows = clip_differences(checkpoint, Predictor(graph), clips)
    assert len(rows) == N_CLIPS
    assert len({row.labels[0] for row in rows}) > 5
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("name", ["compact", "base"])
def test_probabilities_of_real_clips(name: str, clips: list[Path]) -> None:
    rows = differences(name, bundled_checkpoint(name) / "model.onnx", clips)
    assert max(row.difference for row in rows) < 1e-4
    assert not any(row.is_changed for row in rows)


@pytest.mark.slow
def test_labels_of_real_clips_in_eight_bits(clips: list[Path], tmp_path: Path) -> None:
    export(bundled_checkpoint("compact"), tmp_path / "compact.onnx", int8=True)
    rows = differences("compact", tmp_path / "compact.onnx", clips)
    assert sum(row.is_changed for row in rows) <= 0.02 * len(rows)
    assert 1e-4 < max(row.difference for row in rows) < 0.1
