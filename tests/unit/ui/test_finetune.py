"""Fine-tune without a browser: what is asked becomes a command, and what is shown of a run."""

from __future__ import annotations

import re
import shutil
import time
import zipfile
from dataclasses import replace
from inspect import isgenerator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
import torch

from serdemo.data import corpora
from serdemo.data.corpora.folder_levels import LevelUnclearError
from serdemo.data.splits import Split
from serdemo.evaluation.comparison import BEFORE_AFTER, Comparison
from serdemo.metrics.significance import PairedComparison, compare_to_chance
from serdemo.nn import checkpoint_files, device
from serdemo.nn.checkpoint_files import ENCODER_CHECKPOINT, REPORT, SHIPPED, bundled_checkpoint
from serdemo.nn.description import PATH_OPTIONS
from serdemo.runs.estimate import Estimate
from serdemo.runs.job import LOG, Job
from serdemo.runs.queue import JobQueue
from serdemo.runs.registry.store import default_registry
from serdemo.runs.request import TrainingRequest
from serdemo.schema import files
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import write_json
from serdemo.schema.options import specs
from serdemo.schema.settings import runs_root
from serdemo.training import recipes
from serdemo.training.events import (
    EVENTS,
    EpochEnd,
    Event,
    Failed,
    Finished,
    Started,
    Step,
    Stopped,
    Verdict,
    to_line,
)
from serdemo.training.recipes.supervised import Supervised
from serdemo.ui import default_page
from serdemo.ui.adapt import takes
from serdemo.ui.finetune import form, new_run, option_widgets, run_view, start_models
from serdemo.ui.finetune.new_run import build_request
from serdemo.ui.shell import html, visitor_store
from serdemo.ui.shell.page import Page

pytestmark = pytest.mark.usefixtures("generous_owner")


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobQueue:
    monkeypatch.setenv("SERDEMO_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "served"))
    return JobQueue(tmp_path / "runs")


def test_what_is_filled_in_is_a_command(jobs: JobQueue) -> None:
    start = bundled_checkpoint()
    options = {"learning_rate": 1e-4, "balanced": True}
    asks = build_request(named=("emodb", "ravdess"), start=start, minutes=3, options=options)
    line = new_run.command(asks, new_run.free_name(asks, jobs))
    assert line.startswith("serdemo train supervised --corpus emodb,ravdess --shipped-split")
    for part in (
        "--budget-minutes 3",
        "--learning-rate 0.0001",
        "--balanced",
        f"checkpoints/{SHIPPED}",
    ):
        assert part in line
    assert line.endswith("--run runs/supervised-emodb-ravdess-1")
    fresh = build_request(named=("emodb", "ravdess"))
    assert "--init-from" not in fresh.command()
    assert "--shipped-split" not in fresh.command()
    for folder in ("", "  "):
        with pytest.raises(UsageError, match="Choose what to train on"):
            build_request(folder=folder)
    with pytest.raises(UsageError, match="comma"):
        build_request(folder="a,b")


def test_names_are_free_and_plain(jobs: JobQueue) -> None:
    asks = build_request(folder="/home/My Voices!.csv")
    assert new_run.free_name(asks, jobs) == "supervised-my-voices-csv-1"
    jobs.path("supervised-my-voices-csv-1").mkdir(parents=True)
    assert new_run.free_name(asks, jobs) == "supervised-my-voices-csv-2"


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_every_option_has_a_widget_that_gives_it_back(name: str) -> None:
    with gr.Blocks():
        for spec, value in option_widgets.recipe_options(name, ("init_from",)):
            assert spec.name != "init_from"
            asked: Any = option_widgets.widget(spec, value)
            assert option_widgets.parse_value(spec, asked.value) == value
            assert spec.help == asked.info


def test_a_widget_gives_a_whole_number_where_one_is_due() -> None:
    (epochs,) = (
        spec for group in Supervised.groups for spec in specs(group) if spec.name == "epochs"
    )
    assert option_widgets.parse_value(epochs, 4.0) == 4
    for wrong in (4.5, "x", None, 0):
        with pytest.raises(UsageError, match="--epochs"):
            option_widgets.parse_value(epochs, wrong)


def zipped(path: Path, root: Path, table: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for clip in root.rglob("*.wav"):
            archive.write(clip, Path("voices") / clip.relative_to(root))
        if table:
            archive.writestr("list.csv", table)
    return path


def data(place: Path) -> Split:
    asks, clips = new_run.load_clips(build_request(folder=str(place)))
    return asks.split.split(clips)


def test_speakers_are_kept_apart_as_far_as_there_are_any(corpus_root: Path) -> None:
    clips = corpora.load(str(corpus_root))
    for names, expected in (
        (("anna", "bert", "cleo"), ("0.15", "0.15")),
        (("anna", "bert"), ("0.15", "none")),
        (("anna",), ("none", "none")),
    ):
        some = [u for u in clips if u.speaker in names]
        choice = new_run.split_choice(some)
        assert (choice.valid, choice.test) == expected
        assert len(choice.split(some).speakers("train")) == 1


def test_a_zip_becomes_data_of_its_own(jobs: JobQueue, corpus_root: Path, tmp_path: Path) -> None:
    sent = zipped(tmp_path / "My clips.zip", corpus_root)
    folder = new_run.receive_zip(sent, jobs, None)
    assert not (tmp_path / "My clips.zip").exists()
    assert folder.name == "My-clips" and folder.is_relative_to(jobs.uploads)
    split = data(folder)
    assert sum(map(len, split.parts.values())) == 24
    assert len(split.speakers("test")) == 1
    shown = run_view.split_html(split)
    assert "12 clips of 2 speakers to train on" in shown
    assert "8 angry, 8 happy, 8 sad" in shown
    rows = ["path,speaker,emotion"] + [
        f"{Path('voices') / clip.relative_to(corpus_root)},{clip.parts[-3]},{clip.parts[-2]}"
        for clip in sorted(corpus_root.rglob("*.wav"))[:12]
    ]
    archive = zipped(tmp_path / "b.zip", corpus_root, "\n".join(rows))
    table = new_run.receive_zip(archive, jobs, "anna")
    assert table.name == "list.csv"
    assert table.is_relative_to(visitor_store.folder_of("anna"))
    assert sum(map(len, data(table).parts.values())) == 12


def test_a_table_in_a_zip_reaches_nothing_else(
    jobs: JobQueue, corpus_root: Path, tmp_path: Path
) -> None:
    table = "path,speaker,emotion\n/etc/hostname,a,sad\n"
    sent = zipped(tmp_path / "a.zip", corpus_root, table)
    found = new_run.receive_zip(sent, jobs, None)
    with pytest.raises(SerdemoError, match="leads out"):
        data(found)
    # one's own table may name any file, and a request remembers which it is
    own = tmp_path / "own.csv"
    own.write_text(f"path,emotion\n{next(corpus_root.rglob('*.wav'))},sad\n")
    for confined in (True, False):
        asks = build_request(folder=str(own), confined=confined)
        assert TrainingRequest.from_json(asks.to_json() | {"corpora": [str(own)]}) == asks
    assert [clip.emotion for clip in asks.clips()] == ["sad"]


def test_uploads_go_with_the_last_run_that_needs_them_and_when_taken_back(jobs: JobQueue) -> None:
    for name in ("used", "fresh", "other"):
        (jobs.uploads / name / "clips").mkdir(parents=True)
    request = TrainingRequest("supervised", (str(jobs.uploads / "used" / "clips"),))
    for name in ("run", "again"):
        jobs.write(Job(name, request, withdrawn=True))

    def left() -> list[str]:
        return sorted(path.name for path in jobs.uploads.iterdir())

    for name in ("used", "fresh"):
        new_run.discard_upload(str(jobs.uploads / name / "clips" / "list.csv"), jobs)
    new_run.discard_upload("", jobs)
    assert left() == ["other", "used"]
    jobs.delete("run")
    assert left() == ["other", "used"]
    jobs.delete("again")
    assert left() == ["other"]


def test_visitors_clips_do_not_fill_the_disk(
    jobs: JobQueue, corpus_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send(owner: str | None) -> Path:
        (sent := tmp_path / "served" / "hash").mkdir(parents=True)
        archive = zipped(sent / "a.zip", corpus_root)
        return new_run.receive_zip(archive, jobs, owner)

    with pytest.raises(UsageError, match="reload it"):
        send("")
    send("anna")
    with monkeypatch.context() as patch:
        patch.setattr(new_run, "MAX_VISITOR_BYTES", 1000)
        with pytest.raises(SerdemoError, match="unpacks to more than"):
            send("anna")
    monkeypatch.setattr(visitor_store, "MAX_TOTAL_BYTES", 1000)
    with pytest.raises(SerdemoError, match="no room for another zip"):
        send("bert")
    assert not jobs.uploads.exists()
    assert len(list((visitor_store.folder_of("anna") / "uploads").iterdir())) == 1
    assert not list((tmp_path / "served").iterdir())
    assert send(None).is_dir()  # one's own disk one may fill


class Visit:
    """Someone from elsewhere on a page, whose browser sends this token."""

    session_hash = "a"

    def __init__(self, token: Any, address: str = "192.168.1.5") -> None:
        self.token, self.client = token, SimpleNamespace(host=address)
        self.headers = {"host": "localhost:7860", "origin": "http://localhost:7860"}

    def press(self, page: Page, button: str, *given: Any) -> Any:
        """What the handler of a button answers, all of it."""
        (found,) = (
            one.fn
            for one in page.fns.values()
            if any(at in page.blocks and page.blocks[at].elem_id == button for at, _ in one.targets)
        )
        assert found is not None
        told = found(*given, self)
        return list(told) if isgenerator(told) else told


def test_nobody_without_a_token_sees_stops_or_deletes_a_run(
    jobs: JobQueue, monkeypatch: pytest.MonkeyPatch, tiny_checkpoint: Path
) -> None:
    monkeypatch.setenv("SERDEMO_RUNS", str(jobs.folder))
    jobs.write(Job("mine", TrainingRequest("supervised", ("/home/me",)), queued_at=1.0, pid=1))
    page = default_page(tiny_checkpoint)
    for token in ("", None, [], "somebody"):
        far = Visit(token)
        for button in ("finetune-stop", "finetune-delete", "finetune-resume"):
            shown = far.press(page, button, "mine", start_models.SHIPPED, token)
            assert "/home/me" not in str(shown) and "No run yet" in str(shown)
    assert jobs.job("mine").withdrawn is False
    here = Visit("", "127.0.0.1")
    assert "/home/me" in str(here.press(page, "finetune-stop", "mine", start_models.SHIPPED, ""))
    here.press(page, "finetune-delete", "mine", start_models.SHIPPED, "")
    assert jobs.all() == []


@pytest.mark.slow
def test_a_run_that_waits_begins_when_the_page_is_looked_at(
    jobs: JobQueue, monkeypatch: pytest.MonkeyPatch, tiny_checkpoint: Path
) -> None:
    monkeypatch.setenv("SERDEMO_RUNS", str(jobs.folder))
    jobs.write(Job("run", TrainingRequest("no-such-recipe", ("clips",)), queued_at=1.0))
    page = default_page(tiny_checkpoint)
    (refresh, *_) = (one.fn for one in page.fns.values() if one.name == "refresh")
    assert refresh is not None
    refresh("run", start_models.SHIPPED, "", Visit("", "127.0.0.1"))
    end = time.monotonic() + 60
    while jobs.state(jobs.job("run")) != "failed":
        assert time.monotonic() < end
        time.sleep(0.05)
    assert "no-such-recipe" in jobs.failure_reason(jobs.job("run"))


def test_a_visitor_names_no_place_on_this_machine() -> None:
    assert {*PATH_OPTIONS} & {*form.hidden_options(False)} == {*PATH_OPTIONS}
    assert not {*PATH_OPTIONS} - {"init_from"} & {*form.hidden_options(True)}
    with gr.Blocks():
        asks = form.Form(False)
    given: dict[Any, Any] = {one: getattr(one, "value", None) for one in asks.inputs}
    given |= {
        asks.corpora: ["emodb"],
        asks.folder: "/home",
        asks.time: 3,
        asks.recipe: "supervised",
    }
    given[asks.options] = {"supervised": {"epochs": 3, "source": "me/secret", "cache": "/etc"}}
    requests = [asks.request(given, JobQueue(Path("runs")), owner) for owner in (None, "anna")]
    assert [one.corpora for one in requests] == [("emodb", "/home"), ("emodb",)]
    shared = {
        "workers": 0,
        "budget_minutes": 3.0,
        "init_from": str(bundled_checkpoint()),
        "epochs": 3,
    }
    assert requests[0].options == {**shared, "source": "me/secret", "cache": "/etc"}
    assert requests[1].options == shared
    names = [[name for _, name in option_widgets.recipe_choices(here)] for here in (True, False)]
    assert names[0] == list(recipes.RECIPES)
    assert {*names[0]} - {*names[1]} == {"distill"}


def test_unclear_folders_are_asked_about(tmp_path: Path) -> None:
    for name in ("paris/anna/angry/1.wav", "rome/ben/sad/2.wav", "rome/ben/other stuff/3.wav"):
        (tmp_path / "set" / name).parent.mkdir(parents=True)
        (tmp_path / "set" / name).touch()
    with gr.Blocks():
        asks = form.Form(False)
    given: dict[Any, Any] = {one: getattr(one, "value", None) for one in asks.inputs}
    given |= {asks.folder: str(tmp_path / "set"), asks.time: 3}
    with pytest.raises(LevelUnclearError) as unclear:
        asks.request(given, JobQueue(Path("runs")), None).clips()
    question = asks.level_choice(given, unclear.value)
    assert question.label == "Which folders are named after the speakers?"
    assert question.choices == [
        ("level 1: paris, rome", "speaker_level=1"),
        ("level 2: anna, ben", "speaker_level=2"),
        ("none of them", "speaker_level=0"),
    ]
    expected: dict[str, set[str]] = {"1": {"paris", "rome"}, "2": {"anna", "ben"}, "0": {"unknown"}}
    for level, speakers in expected.items():
        request = asks.request(
            given | {asks.level: f"speaker_level={level}"}, JobQueue(Path("runs")), None
        )
        notes: list[str] = []
        _, clips = new_run.load_clips(request, notes.append)
        assert {clip.speaker for clip in clips} == speakers
        assert "1 of 3 files in set are left out" in notes[0]
    split = request.split.split([*clips, *(replace(u, path=u.path / "b") for u in clips)])
    shown = run_view.split_html(split, notes)
    assert "No speaker is in two parts" not in shown and "unknown speakers" in shown
    assert "other stuff" in shown and "one voice may be in two parts" in shown
    with pytest.raises(UsageError, match="one of the levels"):
        asks.request(given | {asks.level: "labels=/etc/passwd"}, JobQueue(Path("runs")), None)


def test_of_unknown_speakers_clips_are_held_out(corpus_root: Path) -> None:
    clips = [replace(u, speaker="unknown") for u in corpora.load(str(corpus_root))]
    choice = new_run.split_choice(clips)
    assert (choice.valid, choice.test) == ("0.15", "0.15")
    split = choice.split(clips)
    assert {part: len(own) for part, own in split.parts.items()} == {
        "train": 18,
        "valid": 3,
        "test": 3,
    }


def test_without_a_gpu_a_head_on_the_shipped_encoder_is_preselected(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    shipped = {"compact": tiny_checkpoint}

    def bundled(name: str = "compact") -> Path:
        if name not in shipped:
            raise SerdemoError("There is none.")
        return shipped[name]

    monkeypatch.setattr(checkpoint_files, "bundled_checkpoint", bundled)
    monkeypatch.setattr(device, "pick_device", lambda name: torch.device("cpu"))
    assert option_widgets.recipe_choices(local=False)[0][1] == "head"
    assert option_widgets.preselected_recipe() == "supervised"
    shipped[ENCODER_CHECKPOINT] = tmp_path
    assert option_widgets.preselected_recipe() == "head"
    monkeypatch.setattr(device, "pick_device", lambda name: torch.device("cuda"))
    assert option_widgets.preselected_recipe() == "supervised"
    jobs = JobQueue(tmp_path)
    monkeypatch.setattr(checkpoint_files, "bundled_checkpoint", lambda: tmp_path)
    assert start_models.folder(start_models.SHIPPED, jobs, None) == tmp_path


@pytest.mark.parametrize("owner", [None, "anna"])
def test_a_bad_zip_leaves_nothing(jobs: JobQueue, tmp_path: Path, owner: str | None) -> None:
    (tmp_path / "a.zip").write_bytes(b"no zip")
    with pytest.raises(SerdemoError, match="not a zip file"):
        new_run.receive_zip(tmp_path / "a.zip", jobs, owner)
    assert not list(jobs.uploads.glob("*"))
    assert not list((visitor_store.folder_of("anna") / "uploads").glob("*"))
    assert not (tmp_path / "a.zip").exists()


def test_what_cannot_be_trained_is_not_begun(
    jobs: JobQueue, corpus_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SERDEMO_DATA", raising=False)
    for wrong, words in (
        (build_request(folder=str(corpus_root), options={"epochs": 0}), "--epochs must lie"),
        (build_request(folder=str(corpus_root / "gone")), "gone"),
        (build_request(named=("emodb",)), "SERDEMO_DATA|not complete|emodb|EMO-DB"),
    ):
        with pytest.raises(SerdemoError, match=words):
            new_run.new_job(wrong, jobs, None)
    right = build_request(folder=str(corpus_root))
    with pytest.raises(UsageError, match="does not know your browser"):
        new_run.new_job(right, jobs, "")
    owners = [new_run.new_job(right, jobs, owner).owner for owner in (None, "anna")]
    assert owners == ["", "anna"]
    assert jobs.all() == []


def told(jobs: JobQueue, name: str, *events: Event, log: str = "") -> Job:
    """A run whose process has gone, with these events."""
    folder = jobs.path(name)
    folder.mkdir(parents=True)
    (folder / EVENTS).write_text("".join(map(to_line, events)), encoding="utf-8")
    (folder / LOG).write_text(log, encoding="utf-8")
    job = Job(
        name, TrainingRequest("supervised", ("clips",)), pid=2**22 + 1, born=1.0, queued_at=1.0
    )
    jobs.write(job)
    return job


STARTED = Started("supervised", ("supervised",), 100, 10, 20, 5, "cpu", "float32")
STEPS = [
    Step("supervised", 0, n, 3.0 - n / 20, {}, 1e-3, 40.0, 60.0 - n, time=STARTED.time + n)
    for n in range(1, 31)
]
EPOCH = EpochEnd("supervised", 0, 30, {"uar": 0.625}, ("angry", "sad"), ((3, 1), (0, 2)), best=True)


@pytest.mark.parametrize(
    ("last", "log", "state", "words"),
    [
        (Stopped(30, "asked to stop", 3.0), "", "stopped", "Stopped (asked to stop)."),
        (Finished(100, {}, 9.0, note="Its time was up."), "", "finished", "Its time was up."),
        (Failed("The disk is full."), "", "failed", "Broke off: The disk is full."),
        (None, "epoch 1: uar 62 %", "failed", "ended from outside"),
        (None, "serdemo: no room.", "failed", "Broke off: no room."),
        (None, "Traceback (most\n  File\nValueError: x", "failed", "Broke off: ValueError: x"),
    ],
)
def test_the_end_of_a_run_in_words(
    jobs: JobQueue, last: Event | None, log: str, state: str, words: str
) -> None:
    job = told(jobs, "run", STARTED, *STEPS, EPOCH, *([last] if last else []), log=log)
    shown = run_view.view(jobs, job, jobs.state(job))
    assert f'data-state="{state}"' in shown
    assert words in shown
    assert ("Finished." in shown) == (state == "finished")
    assert "62.5%" in shown
    assert shown.count("<figure") == 3
    assert "serdemo train supervised --corpus clips" in shown and "--run runs/run" in shown


def test_a_finished_run_tells_what_it_brought(jobs: JobQueue) -> None:
    figures = PairedComparison(
        0.5, 0.6, (0.4, 0.6), (0.5, 0.7), (0.02, 0.18), "speakers", "better", 90
    )
    found = Comparison("compact", "run", "voices", ("angry", "sad"), 12, True, figures)
    verdict = Verdict("better", "compact", figures, speakers=12, unseen_speakers=True)
    finished = Finished(100, {}, 9.0, "Its time was up.", verdict)
    job = told(jobs, "run", STARTED, *STEPS, EPOCH, finished)
    assert not start_models.leaves_model(jobs, job, jobs.state(job))
    assert "sd-verdict" not in run_view.view(jobs, job, jobs.state(job))
    kept = {"found": [found.to_json()], "said": found.sentence}
    write_json(jobs.path("run") / BEFORE_AFTER, kept)
    shown = run_view.view(jobs, job, jobs.state(job))
    assert "Better by 10 points, sure." in shown and ">Before<" in shown
    assert shown.count("95 % interval of the difference") == 1
    assert "Finished. Its time was up.</p>" in shown
    (jobs.path("run") / "checkpoint").mkdir()
    (jobs.path("run") / "checkpoint" / "model.json").touch()
    assert start_models.leaves_model(jobs, job, jobs.state(job))
    (jobs.path("run") / BEFORE_AFTER).write_text("{}{", encoding="utf-8")
    assert "cannot be read" in run_view.view(jobs, job, jobs.state(job))


@pytest.mark.parametrize(
    ("right", "verdict", "words"),
    [
        ((9, 8), "better", "Better than guessing, sure."),
        ((5, 6), "no difference", "No better than guessing, as far as 20 clips can show."),
    ],
)
def test_a_run_from_scratch_is_told_beside_guessing(
    jobs: JobQueue, right: tuple[int, int], verdict: str, words: str
) -> None:
    report = {
        "corpus": "voices",
        "uar": sum(right) / 20,
        "uar_ci95": [0.4, 0.9],
        "n": 20,
        "speakers": 2,
        "unseen_speakers": True,
        "confusion": [[right[0], 10 - right[0], 0], [10 - right[1], right[1], 0], [0, 0, 0]],
    }
    (one,) = compare_to_chance([report])
    outcome = "better" if one.better else "no difference"
    finished = Finished(100, {}, 9.0, "Its time was up.", Verdict(outcome, chance=(one,)))
    job = told(jobs, "run", STARTED, *STEPS, EPOCH, finished)
    (jobs.path("run") / "checkpoint").mkdir()
    write_json(jobs.path("run") / "checkpoint" / REPORT, [report])
    shown = run_view.view(jobs, job, jobs.state(job))
    assert f'data-verdict="{verdict}"' in shown and words in shown
    assert shown.count("20 clips of 2 unseen speakers") == 1
    assert f"recognises {sum(right) / 20:.0%}, averaged over 2 emotions" in shown
    assert "(95 % interval 40% to 90%), where guessing gives 50%" in shown
    assert "Finished. Its time was up.</p>" in shown

    old = told(jobs, "old", STARTED, *STEPS, EPOCH, Finished(100, {}, 9.0, f"Up. {one.sentence}"))
    (jobs.path("old") / "checkpoint").mkdir()
    write_json(jobs.path("old") / "checkpoint" / REPORT, [report])
    assert f'data-verdict="{verdict}"' in run_view.view(
        jobs, old, jobs.state(old)
    )  # of version 0.1
    (jobs.path("old") / "checkpoint" / REPORT).write_text("{}{", encoding="utf-8")
    assert "cannot be read" in run_view.view(jobs, old, jobs.state(old))


def test_what_a_run_can_begin_with(
    jobs: JobQueue, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERDEMO_RUNS", str(jobs.folder))
    assert [key for _, key in start_models.choices(jobs, None)][:2] == [
        start_models.SHIPPED,
        start_models.SCRATCH,
    ]
    shipped_too = [(f"{name}, shipped too", name) for name in ("compact", "speaker")]
    assert start_models.choices(jobs, "anna")[2:] == shipped_too
    for name, last in (("done", Finished(9, {}, 1.0)), ("broken", Failed("no room"))):
        told(jobs, name, STARTED, last)
        shutil.copytree(tiny_checkpoint, jobs.path(name) / "checkpoint")
    shutil.copytree(tiny_checkpoint, jobs.path("by-hand") / "checkpoint")  # of the command line
    shutil.copytree(tiny_checkpoint, jobs.folder.parent / "models" / "given")
    assert start_models.choices(jobs, None)[2:] == [
        *shipped_too,
        ("by-hand", "runs/by-hand"),
        ("done", "runs/done"),
        ("given, imported", "models/given"),
    ]
    assert start_models.choices(jobs, "anna")[2:] == shipped_too
    assert start_models.folder(start_models.SCRATCH, jobs, None) is None
    assert start_models.folder(start_models.SHIPPED, jobs, "anna") == bundled_checkpoint()
    assert start_models.folder("runs/done", jobs, None) == jobs.path("done") / "checkpoint"
    for key, owner in (("runs/done", "anna"), ("models/given", "anna"), ("runs/broken", None)):
        with pytest.raises(SerdemoError, match="to begin with any more"):
            start_models.folder(key, jobs, owner)


def test_too_short_a_time_is_told(
    jobs: JobQueue, corpus_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks, clips = new_run.load_clips(build_request(folder=str(corpus_root), minutes=2))
    split = asks.split.split(clips)
    for epochs, words in (
        (0.4, "not one pass over the clips fits into 2 minutes"),
        (3.0, "about 3 of 36"),
    ):
        found = Estimate(130.0, 120.0, epochs, 36, 5.0, "Some <GPU>")
        monkeypatch.setattr(
            "serdemo.runs.estimate.estimate_duration", lambda *_, found=found, **__: found
        )
        shown = run_view.estimate_html(asks, split)
        assert words in shown and "On Some &lt;GPU&gt;: <b>about 2 minutes</b>" in shown


def test_a_chart_says_what_it_shows() -> None:
    found = run_view.chart("Loss", [(1, 4.0), (3, 2.0), (2, 3.0)], "{:.1f}")
    assert 'aria-label="Loss: 3.0 now, between 2.0 and 4.0"' in found
    assert 'points="4.0,6.0 316.0,104.0 160.0,55.0"' in found
    flat = run_view.chart("Loss", [(1, 4.0)], "{:.1f}")
    assert 'points="4.0,104.0"' in flat
    near = run_view.chart("UAR", [(1, 0.83), (2, 0.84)], "{:.0%}", span=0.2)
    assert "UAR: 84% now, between 83% and 84%" in near
    assert "<span>94%</span><span>74%</span>" in near  # 93.5 and 73.5, rounded to even
    assert 'points="4.0,57.5 316.0,52.6"' in near
    top = run_view.chart("UAR", [(1, 0.99), (2, 1.0)], "{:.0%}", span=0.2)
    assert "<span>100%</span><span>80%</span>" in top


def test_words_of_others_are_no_markup(jobs: JobQueue) -> None:
    job = told(jobs, "run", STARTED, *STEPS, Failed("<script>1</script>"), log="<b>bold")
    shown = run_view.view(jobs, job, jobs.state(job))
    assert "<script>" not in shown
    assert "<b>bold" not in shown


def test_damaged_events_are_a_sentence(jobs: JobQueue) -> None:
    job = told(jobs, "run", STARTED)
    (jobs.path("run") / EVENTS).write_text("{no\n", encoding="utf-8")
    assert "is no event of a training run" in run_view.view(jobs, job, jobs.state(job))


def test_how_long_in_words() -> None:
    assert [html.duration(s) for s in (0.2, 45, 400, 9000)] == [
        "about 1 s",
        "about 45 s",
        "about 7 minutes",
        "about 2.5 hours",
    ]


def test_one_place_says_where_the_runs_lie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty SERDEMO_RUNS is as none: every tab looks into the same folder."""
    for given, folder in (("", Path("runs")), (str(tmp_path), tmp_path)):
        monkeypatch.setenv("SERDEMO_RUNS", given)
        assert runs_root() == folder
        assert visitor_store.registry_for(None).runs == folder.absolute()
        assert default_registry().runs == folder.absolute()
        assert takes.voice_of(None).folder == folder.absolute() / takes.NAME
    monkeypatch.delenv("SERDEMO_RUNS")
    assert runs_root() == Path("runs")
    readers = [
        path.name
        for path in Path(files.__file__).parent.parent.rglob("*.py")
        if re.search(r"environ.*SERDEMO_RUNS", path.read_text(encoding="utf-8"))
    ]
    assert readers == ["settings.py"]
