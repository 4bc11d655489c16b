"""Models in the page without a browser: who sees what, what is shown, and who is answered by whom."""

from __future__ import annotations

import os
import shutil
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support import hub_server

from serdemo.data import corpora
from serdemo.evaluation.comparison import Comparison
from serdemo.inference.predictor import Predictor
from serdemo.metrics.significance import PairedComparison
from serdemo.nn import checkpoint, description
from serdemo.nn.checkpoint_files import SHIPPED, bundled_checkpoint
from serdemo.runs.job import Job
from serdemo.runs.queue import JobQueue
from serdemo.runs.registry import archive as registry_archive
from serdemo.runs.registry.store import Registry
from serdemo.runs.registry.summary import Figure, Summary, summarise
from serdemo.runs.request import TrainingRequest
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import read_json
from serdemo.schema.types import Prediction, Segment
from serdemo.ui import build, launch
from serdemo.ui.live.handlers import Live
from serdemo.ui.models import handlers, view
from serdemo.ui.shell import cleanup, connections, visitor_store
from serdemo.ui.shell import session as shell_session
from serdemo.ui.shell.examples import EXAMPLES, EXAMPLES_DIR
from serdemo.ui.shell.page import Page, footer_html
from serdemo.ui.shell.session import Visitors, WarmPredictor

pytestmark = pytest.mark.usefixtures("generous_owner")

VOICE = EXAMPLES_DIR / next(iter(EXAMPLES.values()))


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_checkpoint: Path) -> Path:
    """A folder of runs, one of them anna's, with an imported model beside it."""
    runs = tmp_path / "runs"
    monkeypatch.setenv("SERDEMO_RUNS", str(runs))
    for name, owner in (("mine", ""), ("annas", "anna")):
        shutil.copytree(tiny_checkpoint, runs / name / "checkpoint")
        JobQueue(runs).write(
            Job(
                name,
                TrainingRequest("supervised", ("clips",)),
                owner,
                queued_at=1.0,
                withdrawn=True,
            )
        )
    shutil.copytree(tiny_checkpoint, tmp_path / "models" / "shared")
    return runs


@pytest.fixture
def archive(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    path = tmp_path / "My tiny.zip"
    with zipfile.ZipFile(path, "w") as made:
        for file in tiny_checkpoint.iterdir():
            made.write(file, file.name)
    return path


def keys(owner: str | None) -> list[str]:
    return [e.key for e in visitor_store.registry_for(owner).entries() if e.origin != "shipped"]


def test_whoever_sits_here_sees_all_and_a_visitor_only_his_own(runs: Path, archive: Path) -> None:
    assert keys(None) == ["runs/annas", "runs/mine", "models/shared"]
    assert keys("anna") == ["runs/annas"]
    assert keys("bert") == keys("") == []
    for key in ("models/shared", "runs/annas", "runs/mine", "../models/shared"):
        with pytest.raises(SerdemoError, match="no model"):
            visitor_store.registry_for("bert").get(key)
    entry = visitor_store.import_archive(archive, "bert")
    assert not archive.exists()
    assert keys("bert") == ["models/My-tiny"]
    assert keys("anna") == ["runs/annas"]
    assert keys(None) == ["runs/annas", "runs/mine", "models/shared"]
    assert "bert" not in str(entry.folder)  # a token is a secret, a folder's name is none
    visitor_store.registry_for("bert").delete(entry)
    assert keys("bert") == []


def test_the_same_name_again_gets_a_number(runs: Path, archive: Path) -> None:
    second = shutil.copy(archive, archive.with_name("again.zip"))
    assert visitor_store.import_archive(archive, None).key == "models/My-tiny"
    shutil.move(second, archive)
    assert visitor_store.import_archive(archive, None).key == "models/My-tiny-2"


def test_visitors_do_not_fill_the_disk(
    runs: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = archive.read_bytes()

    def send(owner: str) -> None:
        archive.write_bytes(kept)
        visitor_store.import_archive(archive, owner)

    with pytest.raises(SerdemoError, match="reload it"):
        send("")
    monkeypatch.setattr(visitor_store, "MAX_VISITOR_BYTES", 1000)
    with pytest.raises(SerdemoError, match="unpacks to more than"):
        send("bert")
    monkeypatch.undo()
    monkeypatch.setenv("SERDEMO_RUNS", str(runs))
    send("bert")
    monkeypatch.setattr(visitor_store, "MAX_TOTAL_BYTES", 1000)
    with pytest.raises(SerdemoError, match="no room"):
        send("cleo")
    left = visitor_store.folder_of("bert")
    os.utime(left, (1.0, 1.0))
    assert left in cleanup.sweep(JobQueue(runs))
    send("cleo")
    assert keys("bert") == [] and keys("cleo") == ["models/My-tiny"]
    assert keys(None)[-1] == "models/shared"


def test_an_export_is_a_zip_that_comes_back(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "served"))
    entry = visitor_store.registry_for(None).get("models/shared")
    made = visitor_store.export(entry)
    assert made.name == "shared.zip" and made.is_relative_to(tmp_path / "served")
    back = Registry(runs).add("back", lambda folder: registry_archive.unpack(made, folder))
    assert description.read_description(back.folder) == description.read_description(entry.folder)
    monkeypatch.setattr(visitor_store, "MAX_TOTAL_BYTES", 1000)
    with pytest.raises(SerdemoError, match="no room for another download"):
        visitor_store.export(entry)
    cleanup.sweep(JobQueue(runs))
    assert made.exists()
    os.utime(made, (1.0, 1.0))
    assert made in cleanup.sweep(JobQueue(runs)) and not made.exists()
    assert visitor_store.export(entry).exists()


def test_the_page_tidies_up_when_it_starts(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_checkpoint: Path
) -> None:
    served, jobs = tmp_path / "served", JobQueue(runs)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(served))
    page_of_others = runs / ".visitors" / "page-killed"
    model = page_of_others / "bert" / "models" / "mine"
    shutil.copytree(tiny_checkpoint, model)
    used = jobs.uploads / "used"
    due = [
        *(
            page_of_others,
            jobs.uploads / "left",
            served / "tmpempty",
            served / "hash",
            runs / "none",
        ),
        *(runs / ".voices" / "a", runs.parent / "models" / ".visitors" / "b", runs / ".new.part"),
        runs / "annas",  # whose visitor left nothing else
    ]
    stay = [used, jobs.uploads / "fresh", served / "new" / "tmpfull", served / "tmpnew"]
    for path in (jobs.uploads / "left", served / "hash", *due[5:8], *stay[:2], served / "new"):
        path.mkdir(parents=True)
    for path in (served / "tmpempty", served / "new" / "tmpfull", served / "tmpnew"):
        path.write_text("x", encoding="utf-8")
    for path in (jobs.uploads / "left", served / "tmpempty", served / "hash", used):
        os.utime(path, (1.0, 1.0))
    jobs.write(
        Job(
            "mine",
            TrainingRequest("supervised", (str(used / "clips"),)),
            queued_at=1.0,
            withdrawn=True,
        )
    )
    monkeypatch.setattr(Page, "launch", lambda *_, **__: None)
    monkeypatch.setattr(Page, "block_thread", lambda _: None)
    monkeypatch.setattr(Page, "server", SimpleNamespace(config=None), raising=False)
    monkeypatch.setattr(connections, "limit", lambda _: None)
    monkeypatch.setattr(cleanup, "end", lambda: None)  # which would sweep too
    page = build(lambda: Predictor(device="cpu"))
    page.visitors.choose("b", model)
    launch(page=page)
    end = time.monotonic() + 20
    while any(path.exists() for path in due) or page.visitors.of("b") is not page.visitors.own:
        assert time.monotonic() < end, [path for path in due if path.exists()]
        time.sleep(0.05)
    assert all(path.exists() for path in stay)


def test_what_others_delete_meanwhile_is_no_fault(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "served"))
    gone = JobQueue(runs).uploads / "gone"
    monkeypatch.setattr(JobQueue, "orphaned_uploads", lambda _: [gone])
    assert gone in cleanup.sweep(JobQueue(runs))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[hub_server.Hub]:
    with hub_server.serving() as served:
        template = served.url + "/{repo_id}/resolve/{revision}/{filename}"
        for name, value in (
            ("ENDPOINT", served.url),
            ("HUGGINGFACE_CO_URL_TEMPLATE", template),
            ("HF_HUB_DISABLE_XET", True),
            ("HF_TOKEN_PATH", str(tmp_path / "none")),
        ):
            monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
        for name, told in served.environment(tmp_path / "home").items():
            monkeypatch.setenv(name, told)
        yield served


def test_a_visitor_pulls_without_the_token_of_this_machine(
    runs: Path, tiny_checkpoint: Path, hub: hub_server.Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {path.name: path.read_bytes() for path in tiny_checkpoint.iterdir()}
    for name, private in (("me/open", False), ("me/shut", True)):
        hub.repos[name] = hub_server.Repo(private)
        hub.repos[name].add(files)
    assert visitor_store.import_from_hub(" me/open ", "bert").key == "models/open"
    assert keys("bert") == ["models/open"]
    with pytest.raises(SerdemoError, match="no model me/shut on the hub"):
        visitor_store.import_from_hub("me/shut", "bert")
    assert visitor_store.import_from_hub("me/shut", None).key == "models/shut"
    assert visitor_store.import_from_hub("me/open", "bert").key == "models/open-2"
    monkeypatch.setattr(visitor_store, "MAX_VISITOR_BYTES", 1000)
    with pytest.raises(SerdemoError, match="is larger than"):
        visitor_store.import_from_hub("me/open", "cleo")
    with pytest.raises(SerdemoError, match="reload it"):
        visitor_store.import_from_hub("me/open", "")
    with pytest.raises(SerdemoError, match="give OWNER/NAME"):
        visitor_store.import_from_hub("", None)


def test_corpora_are_found_where_they_are_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SERDEMO_DATA", raising=False)
    assert corpora.available_corpora() == []
    (tmp_path / "emodb").mkdir()
    shutil.copy(VOICE, tmp_path / "emodb" / "03a01Fa.flac")
    monkeypatch.setenv("SERDEMO_DATA", str(tmp_path))
    assert corpora.available_corpora() == [("EMO-DB (1 clips)", "emodb")]
    monkeypatch.setenv("SERDEMO_DATA", str(tmp_path / "gone"))
    assert corpora.available_corpora() == []


# Which model answers


@pytest.fixture
def page(tiny_checkpoint: Path) -> Visitors:
    return Visitors(WarmPredictor(lambda: Predictor(device="cpu")))


def test_a_choice_counts_for_one_visitor_alone(page: Visitors, runs: Path) -> None:
    folder = runs / "mine" / "checkpoint"
    assert page.of("one") is page.own
    assert page.choose("one", folder).labels == ("angry", "happy", "sad")
    assert page.of("one").get().labels == ("angry", "happy", "sad")
    assert page.of("two") is page.of(None) is page.own
    assert page.of("one") is page.of("one")  # loaded once
    page.choose("two", folder)
    assert page.of("two") is page.of("one")
    page.choose("one", None)
    assert page.of("one") is page.own
    page.forget(folder)
    assert page.of("two") is page.own


def test_what_cannot_answer_is_not_chosen(page: Visitors, runs: Path) -> None:
    folder, mute = runs / "mine" / "checkpoint", runs / "annas" / "checkpoint"
    page.choose("one", folder)
    described = description.read_description(mute)
    state = checkpoint.load(mute)[0]
    bare = checkpoint.build(replace(described, labels=()))
    bare.load_state_dict({k: v for k, v in state.state_dict().items() if k in bare.state_dict()})
    checkpoint.save(mute, bare, replace(described, labels=()))
    for wrong in (mute, runs / "nowhere"):
        with pytest.raises(SerdemoError):
            page.choose("one", wrong)
    assert page.of("one").get().folder == folder


def test_memory_is_bounded(page: Visitors, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell_session, "MAX_LOADED", 1)
    monkeypatch.setattr(shell_session, "MAX_VISITORS", 2)
    mine, annas = (runs / name / "checkpoint" for name in ("mine", "annas"))
    page.choose("one", mine)
    before = page.of("one")
    page.choose("two", annas)
    assert page.of("one") is not before  # loaded anew when it is needed again
    page.choose("three", mine)
    assert page.of("one") is page.own  # the longest ago
    assert page.of("two").get().folder == annas


def test_live_answers_each_visitor_by_his_own_model(page: Visitors, runs: Path) -> None:
    live = Live(page)
    page.choose("one", runs / "mine" / "checkpoint")

    def call(name: str, **asked: Any) -> Any:
        return live.call({"call": name, **asked}, None)  # type: ignore[arg-type]

    mine, theirs = (call("open", rate=16_000, visitor=who)["stream"] for who in ("one", "two"))
    page.choose("one", None)  # a stream that has begun goes on as it began
    silence = {"sequence": 0, "samples": np.zeros(12_000, np.int16), "since": 0}
    for stream in (mine, theirs):
        assert "refused" not in call("push", stream=stream, **silence)
    assert (
        call("push", stream=mine, sequence=1, samples=np.zeros(0, np.int16), since=0)["streams"]
        == 2
    )
    told = {s: call("close", stream=s, since=0.0)["segments"] for s in (mine, theirs)}
    assert set(told[mine][0]["probabilities"]) == {"angry", "happy", "sad"}
    assert len(told[theirs][0]["probabilities"]) == 7
    gone = call("push", stream=mine, **silence)
    assert gone["gone"] and "closed" in gone["refused"]
    page.live_services.shutdown()


def test_the_foot_of_the_page_tells_model_and_visitor(page: Visitors, runs: Path) -> None:
    own = footer_html('"><script>', page.own.get())
    assert "<script>" not in own and f'<strong translate="no">{SHIPPED}</strong>' in own
    other = footer_html("a", page.choose("a", runs / "mine" / "checkpoint"))
    assert own.partition("data-model=")[2][:18] != other.partition("data-model=")[2][:18]
    assert str(runs) not in other
    # Browsers have the shipped models, and not another of the same name.
    assert f'data-in-browser="{SHIPPED}"' in own and 'data-in-browser=""' in other
    smallest = page.choose("b", bundled_checkpoint("compact"))
    assert 'data-in-browser="compact"' in footer_html("b", smallest)


def test_a_choice_is_of_whoever_may_see_the_model(tiny_checkpoint: Path, runs: Path) -> None:
    page = build(lambda: Predictor(device="cpu"))

    def visit(session: str, client: str = "10.0.0.1", **more: str) -> Any:
        headers = {"host": "localhost:7860", "origin": "http://localhost:7860", **more}
        return SimpleNamespace(
            session_hash=session, headers=headers, client=SimpleNamespace(host=client)
        )

    assert page.use("runs/annas", "anna", visit("a")).labels == ("angry", "happy", "sad")
    assert '<strong translate="no">tiny</strong>' in page.foot(visit("a"))
    with pytest.raises(SerdemoError, match="no model"):
        page.use("runs/annas", "bert", visit("b"))
    assert page.use("runs/annas", "", visit("c", "127.0.0.1")).name == "tiny"  # sits here
    for handed_on in ({"x-real-ip": "10.0.0.1"}, {"host": "rebound.example:7860"}):
        assert page.owner("bert", visit("c", "127.0.0.1", **handed_on)) == "bert"
    assert page.answering("runs/annas", "bert", visit("b")).name == SHIPPED
    assert page.answering("runs/annas", "anna", visit("d")).name == "tiny"  # comes again
    page.visitors.forget(runs / "annas" / "checkpoint")
    assert f'<strong translate="no">{SHIPPED}</strong>' in page.foot(visit("a"))


# What is shown


def test_a_card_shows_figures_data_and_licence(runs: Path) -> None:
    row = summarise(visitor_store.registry_for(None).get(SHIPPED))
    shown = view.card_page(row, "# compact\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
    (told,) = (
        one for one in read_json(bundled_checkpoint() / "report.json") if one["corpus"] == "emodb"
    )
    uar = f"UAR {100 * told['uar']:.1f}%"
    for words in ("comes with serdemo", "11.76 million", "emodb", uar, "research use only"):
        assert words in shown
    assert '<div class="sd-scroll"><table>' in shown and "<td>2</td>" in shown
    bare = view.card_page(Summary("models/x", "x", "imported"), "")
    assert "Not measured on unseen speakers." in bare and "Its card" not in bare
    broken = view.card_page(Summary("k", "x", "run", problem="It is cut."), "")
    assert "It is cut." in broken and 'role="alert"' in broken
    heard = view.results_table({"a": Figure("eer", 0.25, None, 7, 1, False)})
    assert "EER 25.0%" in heard and "7 clips, 1 speaker, heard before" in heard


def test_a_strangers_words_are_no_markup() -> None:
    evil = "<script>1</script>"
    row = Summary(
        evil, evil, "imported", evil, evil, (evil,), {evil: 1}, {evil: Figure("uar", 1)}, evil
    )
    card = f"{evil}\n\n![x](http://else.where/x.png) [y](javascript:1) <http://else.where>\n"
    shown = view.card_page(row, card)
    assert "<script" not in shown
    assert "<img" not in shown and "href" not in shown


def said(label: str, speech: float = 1.0) -> Prediction:
    shares = {"angry": 0.2, "sad": 0.2, label: 0.8}
    part = Segment(0.0, 1.0, label, 0.8, shares, speech)
    return Prediction("a", 1.0, label, 0.8, False, shares, (part,))


def test_two_answers_and_whether_they_agree() -> None:
    names = ("compact", "models/<b>")
    assert "Both hear sad most." in view.clip_comparison_html(
        "clip", names, (said("sad"), said("sad"))
    )
    differ = view.clip_comparison_html("clip", names, (said("sad"), said("angry")))
    assert "They differ: sad against angry." in differ and differ.count("sd-bars") == 2
    assert "<b>]" not in differ and "models/&lt;b&gt;" in differ
    mute = view.clip_comparison_html("clip", names, (said("sad", 0.0), said("sad", 0.0)))
    assert "No speech was found" in mute and "sd-bars" not in mute


@pytest.mark.slow
def test_a_clip_is_heard_by_both_and_forgotten(page: Visitors, runs: Path, tmp_path: Path) -> None:
    store = visitor_store.registry_for(None)
    pair = (store.get("compact"), store.get("runs/mine"))
    sent = Path(shutil.copy(VOICE, tmp_path / "sent.flac"))
    first, second = handlers.predict_both(page, pair, sent, "Your clip", delete=True)
    assert len(first.probabilities) == 7 and len(second.probabilities) == 3
    assert not sent.exists()
    handlers.predict_both(page, pair, VOICE, "voice", delete=False)
    assert VOICE.exists()
    sent.write_bytes(b"no sound")
    with pytest.raises(SerdemoError, match="Your clip"):
        handlers.predict_both(page, pair, sent, "Your clip", delete=True)
    assert not sent.exists()


def compared(corpus: str, difference: float, verdict: Any) -> Comparison:
    low, high = (0.5, 0.7), (0.5 + difference, 0.7 + difference)
    found = PairedComparison(0.6, 0.6 + difference, low, high, (0.01, 0.2), "speakers", verdict, 40)
    return Comparison("models/<a>", "b", corpus, ("angry", "sad"), 3, True, found)


def test_a_verdict_is_told_first_and_both_with_their_intervals() -> None:
    better = compared("emodb", 0.061, "better")
    shown = view.corpus_comparison_html([better])
    assert shown.index("Better by 6 points, sure.") < shown.index("<table")
    assert "60.0% <small>(50% to 70%)" in shown and "66.1% <small>(56% to 76%)" in shown
    assert "models/&lt;a&gt;" in shown and "<a>" not in shown
    assert "40 clips of 3 unseen speakers (95 % interval of the difference +1.0 to" in shown
    none = compared("all together", 0.0, "no difference")
    both = view.corpus_comparison_html([better, none], ("Before", "After"))
    assert "No difference that 40 clips can show." in both
    assert both.count("<tr>") == 3 and ">Before<" in both and ">After is<" in both
