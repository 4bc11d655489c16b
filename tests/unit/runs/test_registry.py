"""The store of models: listed, found, packed, taken in, deleted, compared; what is bad is refused."""

from __future__ import annotations

import json
import os
import shutil
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from support.command import EXAMPLES, here, there

from serdemo.data import corpora
from serdemo.embeddings.extract import checkpoint_digest
from serdemo.evaluation.comparison import Comparison, compare
from serdemo.inference.predictor import Predictor
from serdemo.nn import checkpoint, checkpoint_files
from serdemo.nn.description import MAX_LABELS, read_description, write_description
from serdemo.runs import process
from serdemo.runs.job import JOB, Job
from serdemo.runs.queue import JobQueue
from serdemo.runs.registry import archive as registry_archive
from serdemo.runs.registry.entry import PART, Entry, files_of
from serdemo.runs.registry.store import Registry, delete_leftovers, slugify
from serdemo.runs.registry.summary import card_text, figures, summarise
from serdemo.runs.request import TrainingRequest
from serdemo.schema.errors import SerdemoError, UsageError

CLIP = sorted(EXAMPLES.glob("*.flac"))[0]


@pytest.fixture
def store(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "runs")


@pytest.fixture
def with_all(store: Registry, tiny_checkpoint: Path) -> Registry:
    """A store with a run and an imported model of the same name, and what is neither."""
    shutil.copytree(tiny_checkpoint, store.runs / "tiny" / "checkpoint")
    shutil.copytree(tiny_checkpoint, store.models / "tiny")
    shutil.copytree(tiny_checkpoint, store.models / "other")
    shutil.copytree(tiny_checkpoint, store.models / f"{PART}left")
    (store.runs / "empty").mkdir()
    (store.models / "foreign").mkdir()
    (store.models / "foreign" / "model.safetensors").write_bytes(b"of something else")
    return store


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return path


def parts(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def take(store: Registry, archive: Path, name: str = "taken", **given: Any) -> Entry:
    return store.add(name, lambda folder: registry_archive.unpack(archive, folder), **given)


# The store


def test_all_that_is_at_hand_is_listed(with_all: Registry) -> None:
    keys = [entry.key for entry in with_all.entries()]
    assert keys[0] == checkpoint_files.SHIPPED
    assert keys[-3:] == ["runs/tiny", "models/other", "models/tiny"]
    assert with_all.get("runs/tiny").folder == with_all.runs / "tiny" / "checkpoint"
    seen = Registry(with_all.runs, with_all.models / "nobody", {"other"})
    assert {entry.origin for entry in seen.entries()} == {"shipped"}


def test_names_as_a_user_gives_them(with_all: Registry, tmp_path: Path) -> None:
    assert with_all.find("compact").origin == "shipped"
    assert with_all.find("other").key == "models/other"
    assert with_all.find("models/tiny/").origin == "imported"
    assert with_all.find("runs\\tiny").origin == "run"
    folder = with_all.find(str(with_all.models / "other"))
    assert (folder.origin, folder.name) == ("folder", "other")
    with pytest.raises(UsageError, match="several models: say runs/tiny or models/tiny"):
        with_all.find("tiny")
    with pytest.raises(SerdemoError, match="no model 'nowhere'"):
        with_all.find("nowhere")
    with pytest.raises(SerdemoError, match="no model"):
        with_all.get(str(tmp_path))


def test_a_summary_tells_what_a_checkpoint_says_of_itself(store: Registry) -> None:
    row = summarise(store.find("compact"))
    described = read_description(store.find("compact").folder)
    assert row.labels == described.labels
    assert row.parameters == described.metrics["parameters"]
    weights = store.find("compact").folder / checkpoint_files.WEIGHTS
    assert row.size_mb == pytest.approx(weights.stat().st_size / 1e6, abs=0.01)
    found = described.metrics["test"]["emodb"]
    assert row.figures and row.figures["emodb"].value == found["uar"]
    assert row.figures["emodb"].ci95 == tuple(found["uar_ci95"])
    assert row.figures["emodb"].unseen
    assert row.trained_on and row.trained_on["ravdess"] == len(described.trained_on["ravdess"])
    assert "NC" in row.licence
    assert row.times_real_time is None
    json.dumps(row.to_json(), allow_nan=False)


def test_speed_is_measured_when_asked(with_all: Registry) -> None:
    rate = summarise(with_all.find("other"), speed=True).times_real_time
    assert rate is not None and rate > 1


def test_a_damaged_model_is_told_and_does_not_hide_the_others(with_all: Registry) -> None:
    (with_all.models / "other" / "model.json").write_text("{", encoding="utf-8")
    rows = {entry.key: summarise(entry) for entry in with_all.entries()}
    assert "model.json cannot be read as JSON" in rows["models/other"].problem
    assert not rows["models/tiny"].problem
    (with_all.models / "tiny" / "model.safetensors").write_bytes(b"cut")
    assert "damaged" in summarise(with_all.find("models/tiny")).problem


def test_figures_of_strangers_are_not_believed(tmp_path: Path) -> None:
    rows = [{"corpus": "a", "uar": 0.5, "n": 4, "uar_ci95": [0.4, 0.6], "unseen_speakers": True}]
    (tmp_path / "report.json").write_text(json.dumps(rows), encoding="utf-8")
    found = figures(tmp_path, {})["a"]
    assert (found.value, found.n, found.ci95, found.unseen) == (0.5, 4, (0.4, 0.6), True)
    odd = {
        "a": {"uar": "<b>"},
        "b": {"uar": 7},
        "c": 5,
        "d": {"uar": True},
        "e": {"eer": 0.2, "eer_ci95": [0, "x"], "n": "many"},
        "f": {"uar": float("nan")},
    }
    told = figures(tmp_path, {"test": odd})
    assert list(told) == ["e"]
    assert (told["e"].ci95, told["e"].n) == (None, None)
    assert figures(tmp_path, {"test": "none"})["a"].value == 0.5
    for report in ("{", '"words"', "[" * 100_000):
        (tmp_path / "report.json").write_text(report, encoding="utf-8")
        assert figures(tmp_path, {}) == {}


def test_a_file_that_vanishes_or_cannot_be_read_hides_no_other_model(
    with_all: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(path: Path) -> int:
        raise FileNotFoundError(2, "No such file or directory", str(path))

    (with_all.models / "other" / "report.json").write_text("{", encoding="utf-8")
    (with_all.models / "other" / "README.md").mkdir()
    assert card_text(with_all.models / "other") == ""
    row = summarise(with_all.find("models/other"))
    assert (row.problem, row.figures) == ("", {})
    monkeypatch.setattr("serdemo.runs.registry.summary.count_parameters", gone)
    assert "No such file" in summarise(with_all.find("models/other")).problem


def test_a_card_without_front_matter_and_without_control(tmp_path: Path) -> None:
    assert card_text(tmp_path) == ""
    text = "---\nlicense: x\n---\n\n# tiny\r\n\x1b]0;owned\x07 done\u202e\n"
    (tmp_path / "README.md").write_text(text, encoding="utf-8", newline="")
    assert card_text(tmp_path) == "# tiny\n]0;owned done"


# Zip files


def test_a_model_goes_out_and_comes_back_byte_for_byte(
    with_all: Registry, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    entry = with_all.find("models/other")
    (entry.folder / "README.md").write_text("# tiny", encoding="utf-8")
    (entry.folder / "notes.txt").write_text("not of the checkpoint", encoding="utf-8")
    registry_archive.pack(entry, tmp_path / "a.zip")
    registry_archive.pack(entry, tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert set(archive.namelist()) == set(files_of(entry.folder))
    taken = take(with_all, tmp_path / "a.zip")
    assert taken.key == "models/taken"
    held = parts(entry.folder)
    del held["notes.txt"]
    assert parts(taken.folder) == held
    with pytest.raises(UsageError, match=r"a\.zip exists"):
        registry_archive.pack(entry, tmp_path / "a.zip")
    registry_archive.pack(entry, tmp_path / "a.zip", force=True)
    with pytest.raises(UsageError, match="must name a file"):
        registry_archive.pack(entry, tmp_path / "no" / "a.zip")


@pytest.fixture
def sharded(store: Registry, tiny_checkpoint: Path) -> Entry:
    """A run whose weights lie in several files."""
    model, description = checkpoint.load(tiny_checkpoint)
    checkpoint.save(store.runs / "big" / "checkpoint", model, description, max_file_bytes=4000)
    return store.find("runs/big")


def test_weights_in_several_files_go_out_and_come_back(
    store: Registry, sharded: Entry, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    registry_archive.pack(sharded, tmp_path / "a.zip")
    taken = take(store, tmp_path / "a.zip")
    assert parts(taken.folder) == parts(sharded.folder)
    whole = sum(len(data) for name, data in parts(taken.folder).items() if name != "model.json")
    row = summarise(taken)
    assert row.size_mb == pytest.approx(whole / 1e6, abs=0.006)
    assert row.parameters == summarise(Entry("tiny", "folder", tiny_checkpoint)).parameters
    assert checkpoint_digest(taken.folder) == checkpoint_digest(sharded.folder)
    assert checkpoint_digest(taken.folder) != checkpoint_digest(tiny_checkpoint)


def test_a_zip_without_one_of_its_files_is_refused(
    store: Registry, sharded: Entry, tmp_path: Path
) -> None:
    files = parts(sharded.folder)
    shard = max(name for name in files if name.endswith(".safetensors"))
    lost = {name: data for name, data in files.items() if name != shard}
    with pytest.raises(SerdemoError, match=f"incomplete: it lacks {shard}"):
        take(store, zipped(tmp_path / "a.zip", lost))
    files["model.safetensors.index.json"] = files["model.safetensors.index.json"].replace(
        shard.encode(), b"../../etc/passwd"
    )
    with pytest.raises(SerdemoError, match=r"is refused: '\.\./\.\./etc/passwd'"):
        take(store, zipped(tmp_path / "b.zip", files))
    assert not store.models.exists() or not list(store.models.iterdir())


def test_a_zip_of_a_folder_is_a_model_too(
    store: Registry, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    files = {f"tiny/{name}": content for name, content in parts(tiny_checkpoint).items()}
    files |= {"__MACOSX/tiny/._model.json": b"no", "tiny/.DS_Store": b"no", "tiny/": b""}
    taken = take(store, zipped(tmp_path / "a.zip", files))
    assert parts(taken.folder) == parts(tiny_checkpoint)


def test_what_is_there_is_not_replaced_unasked(
    with_all: Registry, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    archive = zipped(tmp_path / "a.zip", parts(tiny_checkpoint))
    (with_all.models / "other" / "README.md").write_text("before", encoding="utf-8")
    with pytest.raises(UsageError, match="models/other already"):
        take(with_all, archive, "other")
    assert (with_all.models / "other" / "README.md").exists()
    take(with_all, archive, "other", force=True)
    assert not (with_all.models / "other" / "README.md").exists()


def changed(folder: Path, **values: Any) -> bytes:
    described = read_description(folder)
    text = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert described.labels == tuple(text["labels"])
    return json.dumps({**text, **values}).encode()


def with_tensor(folder: Path, path: Path, value: float) -> bytes:
    state = load_file(folder / "model.safetensors")
    name = sorted(state)[0]
    save_file({**state, name: state[name] * value}, path)
    return path.read_bytes()


BAD = {
    "no zip": "is not a zip file or is damaged",
    "picture": "is not a zip file or is damaged",
    "only others": "holds no file that counts here",
    "another file": r"'notes.md' is no file of a checkpoint",
    "deep": "'a/b/model.json' is no file of a checkpoint",
    "two models": "holds several folders",
    "climbs": "leads out of it",
    "absolute": "leads out of it",
    "link": "is a link",
    "twice": "twice",
    "bomb": "unpacks to more than",
    "no weights": "needs model.safetensors and model.json",
    "empty": "holds no file that counts",
    "json": "cannot be read as JSON",
    "pickle": "not a safetensors file or is damaged",
    "not finite": "not finite",
    "other labels": "does not fit its description",
    "wide": "does not fit its description",
}


def bad(how: str, tiny: Path, tmp_path: Path) -> Path:
    path, files = tmp_path / "bad.zip", parts(tiny)
    files = {name: files[name] for name in ("model.json", "model.safetensors")}
    if how in ("no zip", "picture"):
        path.write_bytes(b"not at all" if how == "no zip" else b"\x89PNG\r\n\x1a\n" + bytes(200))
        return path
    if how == "link":
        with zipfile.ZipFile(path, "w") as archive:
            told = zipfile.ZipInfo("model.json")
            told.external_attr = 0o120777 << 16
            archive.writestr(told, "/etc/passwd")
        return path
    more: dict[str, bytes] = {
        "another file": {"notes.md": b"no"},
        "deep": {"a/b/model.json": b"{}"},
        "two models": {f"x/{name}": content for name, content in files.items()},
        "climbs": {"../../model.json": b"{}"},
        "absolute": {"/model.json": b"{}"},
        "twice": {"MODEL.JSON": b"{}"},
        "bomb": {"events.jsonl": bytes(30_000_000)},
        "json": {"model.json": b"{"},
        "pickle": {"model.safetensors": b"\x80\x04" + bytes(100)},
        "not finite": {"model.safetensors": with_tensor(tiny, tmp_path / "x", float("nan"))},
        "other labels": {"model.json": changed(tiny, labels=["angry", "sad"])},
        "wide": {
            "model.json": changed(
                tiny,
                encoder_options={
                    **read_description(tiny).encoder_options,
                    "width": 512,
                },
            )
        },
    }.get(how, {})
    if how in ("no weights", "empty", "only others"):
        files = {"no weights": {"README.md": b"#"}, "only others": {"model.pkl": b"no"}}.get(
            how, {}
        )
    return zipped(path, {**files, **more})


@pytest.mark.parametrize("how", BAD)
def test_a_bad_zip_is_one_sentence_and_leaves_nothing(
    how: str, store: Registry, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    archive = bad(how, tiny_checkpoint, tmp_path)
    with pytest.raises(SerdemoError, match=BAD[how]) as raised:
        take(store, archive)
    assert "\n" not in str(raised.value)
    assert list(store.models.iterdir()) == []


def test_what_is_no_part_of_a_model_is_left_out(
    store: Registry, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    files = {**parts(tiny_checkpoint), "model.pkl": b"no", "run.sh": b"no"}
    taken = take(store, zipped(tmp_path / "a.zip", files))
    assert parts(taken.folder) == parts(tiny_checkpoint)


@pytest.mark.parametrize("where", ["taking", "packing"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    where: str, with_all: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = with_all.find("models/other")
    archive = tmp_path / "a.zip"
    registry_archive.pack(entry, archive)
    before = sorted(path.name for path in with_all.models.iterdir())

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    monkeypatch.setattr("serdemo.schema.zipfiles._copy", full)
    work: dict[str, Callable[[], Any]] = {
        "taking": lambda: take(with_all, archive),
        "packing": lambda: registry_archive.pack(entry, tmp_path / "b.zip"),
    }
    with pytest.raises(SerdemoError, match="No space left on device") as raised:
        work[where]()
    assert "\n" not in str(raised.value)
    assert sorted(path.name for path in with_all.models.iterdir()) == before
    assert not list(tmp_path.glob("b.zip*"))


def test_a_model_from_elsewhere_needs_no_more_memory_than_it_has_weights(
    store: Registry, sources: dict[str, Path], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    from serdemo.nn.encoders import ENCODERS

    kind = ENCODERS["whisper"]
    options = kind.options.from_json({"source": str(sources["whisper"])})
    description = replace(
        read_description(tiny_checkpoint),
        encoder="whisper",
        encoder_options={**options.to_json(), "source": "whisper"},
        encoder_config=kind.configure(options),
        neutral=[],
    )
    folder = tmp_path / "whisper"
    checkpoint.save(folder, checkpoint.build(description), description)
    assert take(store, zipped(tmp_path / "good.zip", parts(folder))).name == "taken"
    shape = description.encoder_config["architecture"]
    for changes, words in (
        ({"d_model": 64_000}, "that needs"),
        ({"encoder_layers": 10**6}, "beyond measure"),
        ({"num_mel_bins": 10**9}, "beyond measure"),
        ({"d_model": float("inf")}, "beyond measure"),
    ):
        wrong = {**description.encoder_config, "architecture": {**shape, **changes}}
        files = {**parts(folder), "model.json": changed(folder, encoder_config=wrong)}
        began = time.monotonic()
        with pytest.raises(SerdemoError, match=words):
            take(store, zipped(tmp_path / "bad.zip", files), "bad")
        assert time.monotonic() - began < 5


def test_no_memory_is_taken_for_what_the_weights_do_not_fill(
    store: Registry, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def built(*_: Any) -> None:
        raise AssertionError("it was built")

    monkeypatch.setattr(checkpoint, "load", built)
    described = read_description(tiny_checkpoint)
    many = [str(n) for n in range(MAX_LABELS + 1)]
    wide = {**described.encoder_options, "width": 512}
    for changes, words in (
        ({"labels": many}, "1000 at most"),
        ({"labels": many[1:]}, "that needs"),
        ({"encoder_options": wide}, "that needs"),
        ({"head_options": {**described.head_options, "embedding": 1024}}, "that needs"),
    ):
        files = {**parts(tiny_checkpoint), "model.json": changed(tiny_checkpoint, **changes)}
        with pytest.raises(SerdemoError, match=words):
            take(store, zipped(tmp_path / "bad.zip", files), "bad")
    with pytest.raises(AssertionError, match="it was built"):
        take(store, zipped(tmp_path / "good.zip", parts(tiny_checkpoint)), "good")


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "nul", "a b", "x" * 81, "a."])
def test_bad_names_are_refused(name: str, store: Registry) -> None:
    with pytest.raises(UsageError, match="cannot name a model"):
        store.add(name, lambda folder: None)


def test_names_are_made_plain() -> None:
    assert slugify("My model (1)") == "My-model-1"
    assert slugify("../../etc") == "etc"
    assert slugify("???") == "model"


def test_what_a_kill_left_behind_is_swept(store: Registry) -> None:
    store.models.mkdir()
    for name, when in (("old", 1.0), ("new", time.time())):
        (store.models / f"{PART}{name}").mkdir()
        os.utime(store.models / f"{PART}{name}", (when, when))
    delete_leftovers(store.models)
    assert [path.name for path in store.models.iterdir()] == [f"{PART}new"]


# Deleting


def test_own_models_and_runs_are_deleted_and_no_others(with_all: Registry) -> None:
    with_all.delete(with_all.find("models/tiny"))
    assert not (with_all.models / "tiny").exists()
    with_all.delete(with_all.find("runs/tiny"))
    assert not (with_all.runs / "tiny").exists()
    for name, words in (("compact", "comes with serdemo"), (str(with_all.models), "of your own")):
        with pytest.raises(UsageError, match=words):
            with_all.delete(with_all.find(name))
    assert with_all.find("compact").folder.exists()


def test_a_run_that_still_runs_is_kept(with_all: Registry) -> None:
    entry = with_all.find("runs/tiny")
    own = process.current_process()
    with process.lock_folder(with_all.runs / "tiny"), pytest.raises(UsageError, match="still runs"):
        with_all.delete(entry)  # however long it has said nothing, as while it is scored
    assert not process.is_locked(with_all.runs / "tiny")
    for told in ([own[0], 1.0], [], {}, ["x", None]):  # of another process, or damaged
        (with_all.runs / "tiny" / process.PROCESS).write_text(json.dumps(told), encoding="utf-8")
        assert not process.is_locked(with_all.runs / "tiny")
    JobQueue(with_all.runs).write(
        Job("tiny", TrainingRequest("supervised", ("clips",)), queued_at=1.0)
    )  # waits in the queue
    assert (with_all.runs / "tiny" / JOB).exists()
    with pytest.raises(UsageError, match="still runs"):
        with_all.delete(entry)
    JobQueue(with_all.runs).write(
        Job("tiny", TrainingRequest("supervised", ("clips",)), queued_at=1.0, withdrawn=True)
    )
    with_all.delete(entry)
    assert not (with_all.runs / "tiny").exists()


# Comparing


@pytest.fixture
def worse(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """The tiny model with its labels in another order, so that it answers otherwise."""
    folder = tmp_path / "worse"
    shutil.copytree(tiny_checkpoint, folder)
    described = read_description(folder)
    turned = (*described.labels[1:], described.labels[0])
    write_description(
        folder, replace(described, labels=turned, name="worse", trained_on={"simple": ["dora"]})
    )
    return folder


def test_two_models_on_a_corpus(tiny_checkpoint: Path, worse: Path, corpus_root: Path) -> None:
    a, b = Predictor(tiny_checkpoint, device="cpu"), Predictor(worse, device="cpu")
    clips = corpora.load(str(corpus_root))
    with pytest.raises(SerdemoError, match="tiny or worse was trained or selected on every"):
        compare(a, b, clips)  # dora is new to the first, anna and bert to the second
    done: list[int] = []
    (found,) = compare(a, b, clips, "all", lambda so_far, total: done.append(so_far + total))
    assert (found.paired.n, found.speakers, found.unseen_speakers) == (24, 4, False)
    assert done == list(range(49, 97))
    (some,) = compare(a, b, clips, "all", max_clips=12)
    assert (some.paired.n, some.speakers, set(some.classes)) == (12, 4, set(a.labels))
    truth = [clip.emotion for clip in clips]
    said = [a.predict(clip.path).label for clip in clips]
    rates = [
        np.mean([x == y for x, y in zip(said, truth, strict=True) if y == label])
        for label in a.labels
    ]
    assert found.paired.uar_a == pytest.approx(np.mean(rates))
    assert found.paired.ci95_a[0] <= found.paired.uar_a <= found.paired.ci95_a[1]
    assert "not all of the speakers are new to both" in found.sentence
    assert Comparison.from_json(json.loads(json.dumps(found.to_json()))) == found
    for wrong in ({}, [], {**found.to_json(), "ci95": [1]}, {**found.to_json(), "classes": None}):
        with pytest.raises(SerdemoError, match="saved comparison is damaged"):
            Comparison.from_json(wrong)
    two = [replace(clip, corpus=("simple", "other")[n % 2]) for n, clip in enumerate(clips)]
    assert [one.corpus for one in compare(a, b, two, "all")] == ["other", "simple", "all together"]


def test_models_with_other_emotions_are_compared_on_those_in_common(
    tiny_checkpoint: Path, worse: Path, corpus_root: Path
) -> None:
    described = read_description(worse)
    renamed = tuple("calm" if label == "sad" else label for label in described.labels)
    write_description(worse, replace(described, labels=renamed, trained_on={}))
    a, b = Predictor(tiny_checkpoint, device="cpu"), Predictor(worse, device="cpu")
    (found,) = compare(a, b, corpora.load(str(corpus_root)))
    assert set(found.classes) == {"angry", "happy"}
    assert (found.paired.n, found.speakers, found.unseen_speakers) == (4, 1, True)
    assert found.paired.verdict == "no difference"
    assert found.sentence.startswith(
        "No difference between tiny and worse that 4 clips of 1 unseen speaker can show (95 %"
    )
    write_description(worse, replace(described, labels=("x", "angry", "y")))
    with pytest.raises(UsageError, match="fewer than two emotions in common"):
        compare(a, Predictor(worse, device="cpu"), corpora.load(str(corpus_root)))


# The command


def test_the_commands_from_list_to_delete(
    tiny_checkpoint: Path, tmp_path: Path, corpus_root: Path
) -> None:
    runs = ("--runs", tmp_path / "runs")
    archive = zipped(tmp_path / "My tiny.zip", parts(tiny_checkpoint))
    done = here("models", "import", archive, *runs)
    assert done.code == 0 and "models/My-tiny" in done.out
    rows = here("models", "list", *runs, "--json").json()
    assert [row["key"] for row in rows][-1] == "models/My-tiny"
    assert rows[-1]["labels"] == ["angry", "happy", "sad"]
    assert "runs" not in {row["origin"] for row in rows}
    listed = here("models", "list", *runs)
    assert "models/My-tiny" in listed.out and "M parameters" in listed.out
    told = here("models", "show", "My-tiny", *runs)
    assert told.code == 0 and "It has no card." in told.out
    card = here("models", "show", "compact", *runs, "--json").json()
    assert card["card"].startswith("# compact") and card["name"] == "compact"
    assert here("models", "export", "My-tiny", tmp_path / "b.zip", *runs).code == 0
    said = here("models", "compare", "compact", "My-tiny", CLIP, *runs, "--json").json()
    assert said["b"] == "models/My-tiny"
    (one,) = said["files"]
    own = Predictor(tiny_checkpoint, device="cpu").predict(CLIP)
    assert one["b"]["probabilities"] == pytest.approx(own.probabilities)
    assert one["agree"] == (one["a"]["label"] == one["b"]["label"])
    found = here(
        *("models", "compare", "My-tiny", tiny_checkpoint, "--corpus", corpus_root),
        *("--device", "cpu", *runs, "--json"),
    ).json()
    assert (found[0]["difference"], found[0]["speakers"], found[0]["n"]) == (0.0, 1, 6)
    assert found[0]["verdict"] == "no difference"
    assert here("models", "delete", "My-tiny", "--yes", *runs).code == 0
    assert not (tmp_path / "models" / "My-tiny").exists()


@pytest.mark.slow
def test_deleting_asks_first(tiny_checkpoint: Path, tmp_path: Path) -> None:
    place = tmp_path / "models" / "tiny"
    shutil.copytree(tiny_checkpoint, place)
    asked = there("models", "delete", "tiny", cwd=tmp_path)
    assert asked.code == 2 and "give --yes" in asked.err
    assert place.exists()


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("models shw", 2, "No such command 'shw'"),
        ("models show nowhere", 1, "no model 'nowhere'"),
        ("models compare compact compact", 2, "either sound files or --corpus"),
        ("models compare compact compact a.wav --corpus b", 2, "either sound files or --corpus"),
        ("models compare compact nowhere a.wav", 1, "no model 'nowhere'"),
        ("models compare compact compact --corpus nosuch", 2, "no corpus, folder or CSV"),
        ("models export compact", 2, "Missing argument 'FILE.zip'"),
        ("models export compact no/such/place.zip", 2, "must name a file in a folder"),
        ("models import nothing.zip", 1, "no file nothing.zip"),
        ("models delete compact --yes", 2, "comes with serdemo"),
        ("models delete compact", 2, "comes with serdemo"),
    ],
)
def test_what_is_wrong_is_one_sentence(line: str, code: int, words: str, tmp_path: Path) -> None:
    done = here(*line.split(), "--runs", tmp_path / "runs")
    assert (done.code, words in done.err) == (code, True), done.err
    assert done.out == "" and done.err.count("\n") == 1


@pytest.mark.slow
def test_a_file_that_is_no_sound_is_left_out_and_told(tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"no")
    done = here("models", "compare", "compact", "compact", CLIP, tmp_path / "bad.wav")
    assert done.code == 1
    assert "They agree on 1 of 1." in done.out and "Left out: bad.wav" in done.out
