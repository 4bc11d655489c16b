"""`bench quality`: the figures of a card measured anew."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.command import here

from serdemo.audio import waveform
from serdemo.cli.benchmarks import quality as quality_bench
from serdemo.data import corpora
from serdemo.evaluation.scoring import evaluate
from serdemo.inference.predictor import Predictor
from serdemo.schema.errors import SerdemoError, UsageError


@pytest.fixture
def reported(tiny_checkpoint: Path, corpus_root: Path, tmp_path: Path) -> Path:
    """The tiny checkpoint with a report on the speaker it never heard."""
    folder = tmp_path / "tiny"
    shutil.copytree(tiny_checkpoint, folder)
    dora = [u for u in corpora.load(str(corpus_root)) if u.speaker == "dora"]
    scores = evaluate(Predictor(folder), dora[0].corpus, dora).to_json()
    (folder / "report.json").write_text(json.dumps([scores]), encoding="utf-8")
    return folder


def test_what_the_card_says_is_found_again(reported: Path, corpus_root: Path) -> None:
    scores = quality_bench.measure(reported, corpus_root.parent, None, 0.3)
    (row,) = scores["corpora"]
    (report,) = json.loads((reported / "report.json").read_text(encoding="utf-8"))
    assert row["card"] == "as in its card"
    for name in ("n", "speakers", "uar", "ece"):
        assert row[name] == report[name]
    assert row["uar_lost"] == pytest.approx(row["uar"] - row["uar_cut"])
    whole = scores["together"]
    assert (whole["n"], whole["uar"], whole["ece"]) == (row["n"], row["uar"], row["ece"])
    assert scores["megabytes"] == (reported / "model.safetensors").stat().st_size / 1e6
    report["uar"] = 0.987
    (reported / "report.json").write_text(json.dumps([report]), encoding="utf-8")
    (row,) = quality_bench.measure(reported, corpus_root.parent, None, 0.3)["corpora"]
    assert row["card"] == "its card says 98.7%"


def test_a_folder_is_beside_the_corpus_of_its_clips(reported: Path, corpus_root: Path) -> None:
    (row,) = quality_bench.measure(reported, None, str(corpus_root), 0.3)["corpora"]
    assert (row["corpus"], row["card"]) == ("simple", "as in its card")


def test_short_clips_are_the_middle(corpus_root: Path) -> None:
    clip = corpora.load(str(corpus_root))[0]
    whole = waveform.decode(clip.path).samples
    short = quality_bench.middle(clip, 0.2).samples
    assert len(short) == 3200
    start = (len(whole) - 3200) // 2
    assert (short == whole[start : start + 3200]).all()
    assert (quality_bench.middle(clip, 60).samples == whole).all()


def test_sure_and_right_add_up(reported: Path, corpus_root: Path) -> None:
    (row,) = quality_bench.measure(reported, corpus_root.parent, None, 5.0)["corpora"]
    assert row["uar_cut"] == row["uar"]  # nothing is cut off
    share = row["sure"] * row["right_when_sure"] + (1 - row["sure"]) * row["right_when_unsure"]
    assert share * row["n"] == pytest.approx(round(share * row["n"]), abs=1e-9)


def test_the_command(reported: Path, corpus_root: Path, tmp_path: Path) -> None:
    root = ("--root", corpus_root.parent)
    ran = here("bench", "quality", "--checkpoint", reported, *root, "--cut", "0.3")
    assert ran.code == 0
    assert "as in its card" in ran.out
    ran = here("bench", "quality", "--checkpoint", reported, *root, "--json")
    assert json.loads(ran.out)["cut_s"] == 1.5


def test_nothing_to_compare_with(reported: Path, corpus_root: Path) -> None:
    (reported / "report.json").write_text('[{"corpus": 1}]', encoding="utf-8")
    with pytest.raises(SerdemoError, match="damaged"):
        quality_bench.measure(reported, corpus_root.parent, None, 1.0)
    (reported / "report.json").unlink()
    with pytest.raises(UsageError, match="--corpus"):
        quality_bench.measure(reported, corpus_root.parent, None, 1.0)
    (row,) = quality_bench.measure(reported, None, str(corpus_root), 1.0)["corpora"]
    assert row["card"] == "not in its report"
