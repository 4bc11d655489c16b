"""Every target of `bench fuzz` answers or refuses what is sent, and its finds are kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.command import here

from serdemo.experiments.fuzz import target as targets
from serdemo.experiments.fuzz.guard import Guard, TrespassError
from serdemo.experiments.fuzz.mutation import mutated
from serdemo.experiments.fuzz.worker import FINDINGS, REPORT, Trial
from serdemo.schema.errors import SerdemoError

FAST = [name for name in targets.TARGETS if name != "ffmpeg"]
load = cache(targets.load)


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Path]:
    """A function that empties a folder; what the page and the caches write lies beside it."""
    for name in ("GRADIO_TEMP_DIR", "XDG_CACHE_HOME", "SERDEMO_RUNS"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))

    def empty() -> Path:
        folder = tmp_path / "input"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    return empty


@pytest.mark.parametrize("name", FAST)
def test_bad_input_is_answered_or_refused_in_a_sentence(
    name: str, fresh: Callable[[], Path]
) -> None:
    target = load(name)

    def refusal(data: bytes) -> str:
        try:
            target.read(data, fresh())
        except SerdemoError as problem:
            return str(problem)
        return ""

    refusals = [refusal(seed) for seed in target.seeds()]
    assert "" in refusals  # a target that refuses everything finds nothing
    assert all(20 < len(sentence) < 600 for sentence in refusals if sentence)

    @settings(
        max_examples=50,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of(mutated(target.seeds()), st.binary(max_size=200)))
    def reads(data: bytes) -> None:
        assert len(refusal(data)) < 1000

    reads()


def test_the_shares_are_all_of_the_inputs() -> None:
    assert sum(share for _, share in targets.TARGETS.values()) == pytest.approx(1.0)


class Faulty(targets.Target):
    """Refuses `no`, fails on `bad`, writes outside of its folder on `out`."""

    def seeds(self) -> list[bytes]:
        return [b"yes"]

    def read(self, data: bytes, folder: Path) -> None:
        if data == b"no":
            raise SerdemoError("It is refused: send something else.")
        if data == b"bad":
            raise KeyError("bad")
        where = folder.parent.parent / "beside" if data == b"out" else folder / "inside"
        where.write_bytes(data)


def test_what_is_not_refused_is_kept_once(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    trial = Trial(Faulty(), folder, 100, 0)
    for data in (b"yes", b"no", b"bad", b"bad", b"out"):
        trial(data)
    kept = [path.read_bytes() for path in (folder / FINDINGS).iterdir() if not path.suffix]
    assert sorted(kept) == [b"bad", b"out"]
    whats = [json.loads(path.read_text())["what"] for path in (folder / FINDINGS).glob("*.json")]
    assert any(what.startswith("KeyError at ") for what in whats)
    assert any(what.startswith("TrespassError") for what in whats)
    assert not (tmp_path / "beside").exists()
    assert json.loads((folder / REPORT).read_text())["inputs"] == 5


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> tuple[Guard, Path]:
    folder = tmp_path_factory.mktemp("guarded")
    return Guard(folder), folder


def test_the_guard_knows_reading_from_writing(guard: tuple[Guard, Path], tmp_path: Path) -> None:
    watch, folder = guard
    with watch.within():
        (folder / "a").write_text("a")
        (folder / "a").rename(folder / "b")
        Path(__file__).read_bytes()
    for trespass in (
        lambda: (tmp_path / "a").write_text("a"),
        lambda: (tmp_path / "a").mkdir(),
        lambda: (folder / "b").rename(tmp_path / "b"),
    ):
        with pytest.raises(TrespassError, match="writes"), watch.within():
            trespass()
    (tmp_path / "a").write_text("free again")


@pytest.mark.slow
def test_the_command_counts_what_it_read(tmp_path: Path) -> None:
    words = ("bench", "fuzz", "--inputs", "60", "--target", "table,records", "--json")
    ran = here(*words, "--engine", "hypothesis", "--out", str(tmp_path / "found"))
    assert ran.code == 0, ran.err
    rows = json.loads(ran.out)["targets"]
    assert [(row["target"], row["inputs"]) for row in rows] == [("table", 35), ("records", 25)]
    assert all(row["findings"] == [] and row["peak_mb"] > 20 for row in rows)


def test_an_unknown_target_is_wrong_usage() -> None:
    ran = here("bench", "fuzz", "--target", "nothing")
    assert ran.code == 2 and "decoder" in ran.err
