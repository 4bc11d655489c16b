"""Each command as its user runs it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import click
import numpy as np
import pytest
from support.bad_audio import wav
from support.command import EXAMPLES, ROOT, clips, here, there

from serdemo import __version__
from serdemo.cli.main import COMMANDS
from serdemo.data.corpora import CORPORA
from serdemo.nn.checkpoint_files import SHIPPED
from serdemo.schema.types import EMOTIONS

DATA = os.environ.get("SERDEMO_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="SERDEMO_DATA names no folder with corpora")

TINY = (
    *("--width", 16, "--layers", 1, "--heads", 2, "--embedding", 8, "--batch-size", 8),
    *("--workers", 0, "--threads", 1, "--device", "cpu", "--precision", "fp32"),
)
SEGMENT_KEYS = ["start_s", "end_s", "label", "confidence", "probabilities", "speech"]
PREDICTION_KEYS = [
    "file",
    "duration_s",
    "label",
    "confidence",
    "unsure",
    "probabilities",
    "segments",
    "warnings",
]


def voices() -> list[Path]:
    return sorted(EXAMPLES.glob("*.flac"))


# predict


def test_predict_tells_the_answer_its_probabilities_and_course() -> None:
    voice = max(voices(), key=lambda path: path.stat().st_size)
    ran = here("predict", voice)
    assert (ran.code, ran.err) == (0, "")
    first, answer, *bars = ran.out.splitlines()
    assert first.startswith(f"{voice}  (")
    assert answer.startswith(("  Sounds ", "  Not sure: "))
    assert {line.split()[0] for line in bars[:7]} == set(EMOTIONS)
    shares = [int(line.split()[1].rstrip("%")) for line in bars[:7]]
    assert shares == sorted(shares, reverse=True)
    assert 97 <= sum(shares) <= 103
    assert "0.0-3.0 s" in ran.out


def test_predict_gives_one_json_document() -> None:
    ran = here("predict", *voices()[:2], "--json", "--device", "cpu")
    assert ran.err == ""
    answers = ran.json()
    assert [answer["file"] for answer in answers] == [str(voice) for voice in voices()[:2]]
    for answer in answers:
        assert list(answer) == PREDICTION_KEYS
        assert answer["duration_s"] > 1
        assert set(answer["probabilities"]) == set(EMOTIONS)
        assert sum(answer["probabilities"].values()) == pytest.approx(1)
        assert answer["label"] == max(EMOTIONS, key=answer["probabilities"].__getitem__)
        assert answer["confidence"] == answer["probabilities"][answer["label"]]
        assert isinstance(answer["unsure"], bool)
        assert all(list(segment) == SEGMENT_KEYS for segment in answer["segments"])
        assert answer["segments"][0]["start_s"] == 0
        assert answer["segments"][-1]["end_s"] == pytest.approx(answer["duration_s"], abs=0.01)
        assert all(isinstance(warning, str) for warning in answer["warnings"])


def test_predict_takes_a_folder(tmp_path: Path) -> None:
    shutil.copy(voices()[0], tmp_path / "b.flac")
    (tmp_path / "deeper").mkdir()
    shutil.copy(voices()[0], tmp_path / "deeper" / "a.flac")
    (tmp_path / "notes.txt").write_text("no sound", encoding="utf-8")
    answers = here("predict", tmp_path, "--json").json()
    result = [Path(answer["file"]).relative_to(tmp_path).as_posix() for answer in answers]
    assert result == ["b.flac", "deeper/a.flac"]
    assert answers[0]["probabilities"] == answers[1]["probabilities"]


def test_predict_answers_the_rest_when_one_file_is_bad(tmp_path: Path) -> None:
    newline = "\n" if os.name == "posix" else " "
    bad = tmp_path / "[" / f"red] bad{newline}name.wav"
    bad.parent.mkdir()
    bad.write_bytes(b"")
    for arguments in (("--json",), ()):
        ran = here("predict", bad, voices()[0], *arguments)
        assert ran.code == 1
        assert ran.err.startswith("serdemo: ") and ran.err.count("\n") == 1
        assert voices()[0].name in ran.out
    assert len(json.loads(here("predict", bad, voices()[0], "--json").out)) == 1


def test_predict_warns_and_shows_names_as_they_are(tmp_path: Path) -> None:
    quiet = tmp_path / "[bold]silence[" / "nothing].wav"  # would be markup, were it read as such
    quiet.parent.mkdir()
    quiet.write_bytes(wav(np.zeros(32_000)))
    ran = here("predict", quiet)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[:2] == [f"{quiet}  (2.0 s)", "  No speech found"]
    assert lines[2].startswith("  Note: ")
    (answer,) = here("predict", quiet, "--json").json()
    assert answer["unsure"] and answer["warnings"]


@pytest.mark.slow
def test_in_a_process_of_its_own_a_terminal_that_knows_only_ascii_will_do(tmp_path: Path) -> None:
    voice = shutil.copy(voices()[0], tmp_path / "Stimme-ü-声.flac")
    ran = there("predict", voice, cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert (ran.code, ran.err) == (0, "")
    ran = there("predict", voice, "--json", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert ran.json()[0]["file"] == str(voice)


def test_a_checkpoint_goes_by_its_name_or_its_folder(tmp_path: Path) -> None:
    by_name = here("predict", voices()[0], "--checkpoint", SHIPPED, "--json").json()
    folder = ROOT / "checkpoints" / SHIPPED
    assert by_name == here("predict", voices()[0], "--checkpoint", folder, "--json").json()
    assert by_name == here("predict", voices()[0], "--json").json()


# corpora


def test_corpora_counts_what_is_found(tmp_path: Path) -> None:
    for name in ("RAVDESS/Actor_07/03-01-05-01-01-01-07.wav", "emodb/wav/03a01Fa.wav"):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.touch()
    rows = {row["name"]: row for row in here("corpora", "--root", tmp_path, "--json").json()}
    assert list(rows) == list(CORPORA)
    assert (rows["ravdess"]["clips"], rows["ravdess"]["expected_clips"]) == (1, 1440)
    assert rows["ravdess"]["emotions"] == {"angry": 1}
    assert not rows["ravdess"]["complete"] and "http" in rows["ravdess"]["missing"]
    assert (rows["emodb"]["clips"], rows["emodb"]["speakers"]) == (1, 1)
    assert rows["urdu"]["clips"] == 0
    listing = here("corpora", "--root", tmp_path)
    assert listing.code == 0
    assert "1 of 1440" in listing.out and "in part" in listing.out and "not found" in listing.out


def test_corpora_reads_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "emodb").mkdir()
    (tmp_path / "emodb" / "03a01Fa.wav").touch()
    monkeypatch.setenv("SERDEMO_DATA", str(tmp_path))
    rows = here("corpora", "--json").json()
    assert [row["name"] for row in rows if row["clips"]] == ["emodb"]
    monkeypatch.delenv("SERDEMO_DATA")
    assert not any(row["clips"] for row in here("corpora", "--json").json())


# train and evaluate


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A corpus of plain folders and a run on it that was stopped, resumed and finished."""
    folder = tmp_path_factory.mktemp("train")
    data, run = clips(folder / "data"), folder / "run"
    line = ("train", "supervised", "--corpus", data, "--run", run, "--epochs", 2, *TINY)
    stopped = there(*line, "--stop-after", 0, cwd=folder)
    assert stopped.code == 0, stopped.err
    assert stopped.out == ""
    assert "Stopped after 0 s, as asked; saved, go on with --resume." in stopped.err
    answers = here("predict", voices()[0], "--checkpoint", run / "checkpoint", "--json").json()
    assert len(answers) == 1, "a stopped run leaves no checkpoint that loads"
    resumed = there("train", "supervised", "--corpus", data, "--run", run, "--resume", cwd=folder)
    assert resumed.code == 0, resumed.err
    assert "Finished" in resumed.err
    return data, run


@pytest.mark.slow
def test_train_stops_resumes_and_finishes(trained: tuple[Path, Path]) -> None:
    _, run = trained
    lines = (run / "events.jsonl").read_text(encoding="utf-8").splitlines()
    kinds = [json.loads(line)["event"] for line in lines]
    assert kinds.count("Started") == 2
    assert kinds.index("Stopped") < kinds.index("Finished") == len(kinds) - 1
    steps = [json.loads(line)["step"] for line in lines if json.loads(line)["event"] == "Step"]
    assert steps == list(range(1, len(steps) + 1)), "resuming repeats or leaves out no step"
    description = json.loads((run / "checkpoint" / "model.json").read_text(encoding="utf-8"))
    assert description["encoder_options"]["width"] == 16, "a resumed run keeps its options"
    assert description["options"]["epochs"] == 2
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert config["command"].startswith("serdemo train supervised --corpus ")
    assert (run / "checkpoint" / "README.md").stat().st_size > 500
    assert (run / "checkpoint" / "report.json").is_file()


def test_resume_on_an_empty_folder_starts(tmp_path: Path) -> None:
    data, run = clips(tmp_path / "data", speakers=4), tmp_path / "run"
    line = ("train", "supervised", "--corpus", data, "--run", run, "--epochs", 1, *TINY)
    ran = here(*line, "--resume", "--stop-after", 0, "--valid", "s1", "--test", "none")
    assert ran.code == 0, ran.err
    description = json.loads((run / "checkpoint" / "model.json").read_text(encoding="utf-8"))
    assert description["trained_on"] == {"data": ["s0", "s2", "s3"]}
    assert description["selected_on"] == {"data": ["s1"]}


def test_evaluate_scores_the_speakers_asked_for(trained: tuple[Path, Path]) -> None:
    data, run = trained
    line = ("evaluate", run / "checkpoint", "--corpus", data, "--json")
    unseen = here(*line).json()
    keys = (
        "checkpoint corpus labels n speakers uar wa macro_f1 uar_ci95 ece confusion unseen_speakers"
    )
    assert [key for key in unseen if key in keys.split()] == keys.split()
    assert unseen["unseen_speakers"] is True
    assert (unseen["speakers"], unseen["n"]) == (1, 6)
    assert unseen["labels"] == list(EMOTIONS)
    assert sum(map(sum, unseen["confusion"])) == 6
    recalls = [row[at] / sum(row) for at, row in enumerate(unseen["confusion"]) if sum(row)]
    assert unseen["uar"] == pytest.approx(sum(recalls) / len(recalls))
    assert unseen["uar_ci95"][0] <= unseen["uar"] <= unseen["uar_ci95"][1]
    everyone = here(*line, "--speakers", "all").json()
    assert (everyone["speakers"], everyone["n"], everyone["unseen_speakers"]) == (6, 36, False)
    two = here(*line, "--speakers", "s0, s3").json()
    assert (two["speakers"], two["n"]) == (2, 12)


def test_evaluate_tells_percent(trained: tuple[Path, Path]) -> None:
    data, run = trained
    ran = here("evaluate", run / "checkpoint", "--corpus", data, "--speakers", "all")
    assert ran.code == 0, ran.err
    assert "36 clips" in ran.out and "UAR " in ran.out and "%" in ran.out
    assert "angry" in ran.out


@pytest.mark.slow
@needs_data
@pytest.mark.parametrize(
    ("corpus", "speakers", "least"),
    [("ravdess", "07,11,20,22,23", 0.50), ("emodb", "11,13", 0.65)],
)
def test_the_shipped_model_is_as_good_as_its_report(
    corpus: str, speakers: str, least: float
) -> None:
    folder = ROOT / "checkpoints" / "compact"
    reports = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    (reported_uar,) = (report["uar"] for report in reports if report["corpus"] == corpus)
    line = ("evaluate", "compact", "--corpus", corpus, "--speakers", speakers, "--json")
    scored = here(*line).json()
    assert scored["unseen_speakers"] is True
    assert scored["speakers"] == len(speakers.split(","))
    assert scored["uar"] > reported_uar - 0.02
    assert scored["uar"] >= least


# app, bench, help, version


@pytest.mark.slow
def test_app_serves_the_page(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    page = subprocess.Popen(
        [sys.executable, "-m", "serdemo", "app", "--port", str(port)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert "serdemo" in fetch(f"http://127.0.0.1:{port}/", page)
    finally:
        page.kill()
        page.wait()


def fetch(url: str, server: subprocess.Popen[bytes], patience_s: float = 60.0) -> str:
    """The page at `url`, as soon as the server answers."""
    late = time.monotonic() + patience_s
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            assert server.poll() is None, "the page ended by itself"
            assert time.monotonic() < late, "the page was not served in time"
            time.sleep(0.1)


def test_bench_predict_measures() -> None:
    figures = here(
        *("bench", "predict", "--clips", 1, "--rounds", 1, "--threads", 1, "--no-peer", "--json")
    ).json()
    assert figures["times_real_time"] > 1
    assert figures["peer_times_real_time"] is None
    assert figures["rss_mb"] > 50


def commands(table: dict[str, click.Command], *before: str) -> list[tuple[str, ...]]:
    result: list[tuple[str, ...]] = []
    for name, command in table.items():
        result.append((*before, name))
        if isinstance(command, click.Group):
            context = click.Context(command)
            inner = {n: command.get_command(context, n) for n in command.list_commands(context)}
            assert inner
            result += commands({n: c for n, c in inner.items() if c}, *before, name)
    return result


@pytest.mark.parametrize("line", [(), *commands(COMMANDS)], ids=" ".join)
def test_every_command_explains_itself(line: tuple[str, ...]) -> None:
    ran = here(*line, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"Usage: {' '.join(('serdemo', *line))} [OPTIONS]")
    assert len(ran.out.split("\n\n")[1].split()) > 3, "says what it is for"


def test_the_bare_command_lists_the_commands() -> None:
    ran = here()
    assert (ran.code, ran.out) == (2, "")
    assert all(f"\n  {name} " in ran.err for name in COMMANDS)


@pytest.mark.slow
def test_the_version_is_told_without_loading_the_models(tmp_path: Path) -> None:
    ran = there("--version", cwd=tmp_path, PYTHONPROFILEIMPORTTIME="1")
    assert ran.out.strip() == f"serdemo, version {__version__}"
    assert " click" in ran.err, "the imports were not listed"
    assert not [line for line in ran.err.splitlines() if line.endswith((" torch", " gradio"))]
