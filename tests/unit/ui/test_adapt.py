"""Teach it your voice without a browser: whose takes lie where, which are kept, what is shown."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support.command import EXAMPLES

from serdemo.audio import waveform
from serdemo.audio.waveform import SAMPLE_RATE, Clip
from serdemo.inference.predictor import Predictor
from serdemo.runs.adaptation import run as personal_run
from serdemo.runs.queue import JobQueue
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import write_json
from serdemo.ui import default_page
from serdemo.ui.adapt import handlers, takes, view
from serdemo.ui.adapt.takes import MAX_TAKE_S, MAX_TAKES, SENTENCES, VoiceFolder
from serdemo.ui.adapt.view import PanelState, panel
from serdemo.ui.shell import cleanup, privacy, visitor_store

pytestmark = pytest.mark.usefixtures("generous_owner")


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SERDEMO_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "served"))
    return tmp_path / "runs"


@pytest.fixture(scope="module")
def clip() -> Clip:
    return waveform.decode(EXAMPLES / "english-quick-high.flac")


@pytest.fixture(scope="module")
def predictor(tiny_checkpoint: Path) -> Predictor:
    return Predictor(tiny_checkpoint, device="cpu")


# Whose takes lie where


def test_a_local_user_has_one_voice_and_each_visitor_one(runs: Path, clip: Clip) -> None:
    own, one, two = (takes.begun_voice_of(owner) for owner in (None, "anna", "bert"))
    assert own.folder == runs / "my-voice"
    assert len({own.folder, one.folder, two.folder}) == 3
    assert "anna" not in str(one.folder)  # a token is a secret, a folder's name is none
    with pytest.raises(UsageError, match="reload it"):
        takes.begun_voice_of("")
    for voice in (own, one, two):
        voice.add("sad", clip)
    assert takes.voice_of("anna") == one and takes.voice_of("").counts() == {}
    jobs = JobQueue(runs)
    assert visitor_store.delete_all("anna", jobs) == (1, 0, 0)
    assert not one.folder.exists()
    assert own.counts() == two.counts() == {"sad": 1}
    os.utime(visitor_store.folder_of("bert"), (1.0, 1.0))
    visitor_store.note_presence("bert")  # it is long ago that it began, but it goes on
    assert cleanup.sweep(jobs) == [] and two.counts() == {"sad": 1}
    os.utime(visitor_store.folder_of("bert"), (1.0, 1.0))  # bert left long ago
    assert cleanup.sweep(jobs) == [two.folder.parent.parent]
    assert not two.folder.exists() and own.counts() == {"sad": 1}


@pytest.mark.parametrize("ended", [True, False], ids=["in the end", "where it was broken off"])
def test_who_leaves_while_it_learns_leaves_nothing(
    runs: Path, clip: Clip, predictor: Predictor, ended: bool
) -> None:
    voice = takes.begun_voice_of("anna")
    slow = waveform.decode(EXAMPLES / "german-slow-low.flac")
    for emotion, sound in (("angry", clip), ("sad", slow)) * 2:
        voice.add(emotion, sound)
    teaching = handlers.adaptation_progress(predictor, voice)
    while next(teaching)[0] < 0.5:
        pass
    visitor_store.delete_all("anna", JobQueue(runs))
    voice.folder.mkdir(parents=True)  # as what it still writes makes it anew
    with suppress(SerdemoError):
        if ended:
            list(teaching)
        teaching.close()  # type: ignore[attr-defined]
    assert not voice.folder.exists()


def test_visitors_do_not_fill_the_disk(
    runs: Path, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes.begun_voice_of("anna").add("sad", clip)
    monkeypatch.setattr(visitor_store, "MAX_TOTAL_BYTES", 1000)
    takes.begun_voice_of("anna")  # whoever has begun goes on
    takes.begun_voice_of(None)
    with pytest.raises(SerdemoError, match="no room for another voice"):
        takes.begun_voice_of("bert")


def test_all_is_deleted_at_once(runs: Path, clip: Clip) -> None:
    for voice in (takes.voice_of(None), takes.begun_voice_of("anna")):
        voice.add("sad", clip)
        voice.select(["sad", "fear"])
        voice.delete()
        assert not voice.folder.exists() and voice.counts() == {}
        voice.delete()  # twice does no harm


# What is recorded


def test_takes_are_asked_for_one_emotion_after_another(runs: Path, clip: Clip) -> None:
    voice = takes.voice_of(None)
    assert voice.selected() == ["angry", "happy", "neutral", "sad"]
    voice.select(["angry", "neutral", "nonsense"])
    assert voice.selected() == ["angry", "neutral"]
    order = []
    while (due := voice.next_emotion()) is not None:
        order.append(due)
        voice.add(due, clip)
    assert order == ["neutral"] * MAX_TAKES + ["angry"] * MAX_TAKES
    with pytest.raises(UsageError, match="No take of angry is missing"):
        voice.add("angry", clip)
    with pytest.raises(UsageError, match="choose another emotion"):
        voice.add("../angry", clip)
    voice.remove_last("neutral")
    assert voice.next_emotion() == "neutral" and voice.counts() == {"angry": 5, "neutral": 4}
    voice.add("neutral", clip)
    assert [path.stem for path in voice.takes()["neutral"]] == ["1", "2", "3", "4", "5"]
    voice.remove_last("fear")
    found = {(u.emotion, u.speaker, u.corpus) for u in voice.utterances()}
    assert found == {(name, "unknown", "recordings") for name in ("angry", "neutral")}
    stored = waveform.decode(voice.takes()["angry"][0]).samples
    again = waveform.from_array(clip.samples, waveform.SAMPLE_RATE).samples  # filtered once more
    np.testing.assert_allclose(stored, again, atol=1e-4)


def test_a_damaged_choice_is_the_first_one(runs: Path) -> None:
    voice = takes.voice_of(None)
    voice.select(["fear"])
    (voice.folder / takes.SELECTION).write_text("{", encoding="utf-8")
    assert voice.selected() == ["angry", "happy", "neutral", "sad"]


def test_a_full_disk_is_a_sentence(runs: Path, clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    import soundfile

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    voice = takes.voice_of(None)
    monkeypatch.setattr(soundfile, "write", full)
    with pytest.raises(SerdemoError, match=r"could not be kept: .*No space left"):
        voice.add("sad", clip)
    assert voice.counts() == {}


def test_every_take_has_a_sentence_of_its_own() -> None:
    assert len(set(SENTENCES)) == len(SENTENCES) == MAX_TAKES
    emotional = [
        "angry",
        "happy",
        "sad",
        "afraid",
        "fear",
        "love",
        "hate",
        "joy",
        "cry",
        "laugh",
        "great",
        "terrible",
        "sorry",
    ]
    assert not [w for line in SENTENCES for w in line.lower().split() if w.strip(".") in emotional]


def ints(samples: np.ndarray) -> np.ndarray:
    return np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)


@pytest.mark.parametrize(
    ("change", "words", "spare"),
    [
        (lambda wave: wave, "", True),
        (lambda wave: 0 * wave, "is silent", False),
        (lambda wave: wave[: SAMPLE_RATE // 2], "s long: give a whole spoken sentence", False),
        (lambda wave: 30 * wave, "is clipped", True),
        (lambda wave: 0.008 * wave, "very quiet", True),
        (lambda wave: 0.05 * np.sin(0.3 * np.arange(len(wave))), "No speech was found", False),
    ],
)
def test_a_bad_take_is_told_apart(
    predictor: Predictor, clip: Clip, change: object, words: str, spare: bool
) -> None:
    heard = takes.take_from_samples(ints(change(clip.samples)), SAMPLE_RATE)  # type: ignore[operator]
    told, may_stay = takes.recording_fault(predictor, heard)
    assert words in told and (words != "" or told == "")
    assert may_stay == spare


def test_what_is_no_take_is_a_sentence() -> None:
    for samples, rate, words in (
        (np.zeros(0, np.int16), SAMPLE_RATE, "no sound"),
        (
            np.zeros(round((MAX_TAKE_S + 1) * SAMPLE_RATE), np.int16),
            SAMPLE_RATE,
            "longer than 20 s",
        ),
        (np.zeros(100, np.int16), 1, "sample rate of 1 Hz"),
    ):
        with pytest.raises(SerdemoError, match=words):
            takes.take_from_samples(samples, rate)


# What is shown


def lesson(voice: VoiceFolder, **told: object) -> None:
    voice.checkpoint.mkdir(parents=True, exist_ok=True)
    write_json(voice.checkpoint / "model.json", {"metrics": {"voice": told}})


def test_the_panel_leads_from_nothing_to_a_model(runs: Path, clip: Clip) -> None:
    voice = takes.voice_of(None)
    shown = panel(voice, PanelState())
    assert 'data-due="neutral"' in shown and "neutral, take 1 of 5" in shown
    assert SENTENCES[0] in shown and shown.count(" checked") == 4
    for absent in ('data-act="teach"', 'data-act="use"', 'data-act="delete"', 'data-act="again"'):
        assert absent not in shown
    for emotion in ("neutral", "neutral", "happy"):
        voice.add(emotion, clip)
    assert 'data-act="teach"' not in panel(voice, PanelState())
    voice.add("happy", clip)
    shown = panel(voice, PanelState(message="Kept: happy, 2.0 s.", last_emotion="happy"))
    assert "Train the model" in shown and "Kept: happy" in shown and SENTENCES[2] in shown
    assert 'data-act="again"' in shown and 'data-act="delete"' in shown
    busy = panel(voice, PanelState(progress=0.5, message="Heard 2 of 4 takes"))
    assert 'value="0.500"' in busy and 'data-act="record" disabled' in busy
    assert 'data-act="teach"' not in busy and 'data-act="delete"' not in busy

    counts = {"happy": 2, "neutral": 2}
    lesson(voice, left_out_uar_before=0.25, gain=0.5, gain_ci95=[-0.1, 0.9], clips=counts)
    shown = panel(voice, PanelState())
    assert "about 25" in shown and "about 75" in shown and "a few more clips would tell" in shown
    assert "Use this model now" in shown and "Train again" in shown
    assert "have changed since" not in shown and str(voice.folder) in shown
    assert "serdemo train personal --corpus" in shown
    assert "Use the model as it was" in panel(voice, PanelState(in_use=True))
    voice.add("neutral", clip)
    assert "have changed since" in panel(voice, PanelState())
    voice.select([])
    assert "All is recorded" in panel(voice, PanelState())


def test_a_visitor_is_told_how_long_it_stays(runs: Path, clip: Clip) -> None:
    voice = takes.begun_voice_of("anna")
    voice.add("sad", clip)
    lesson(voice, left_out_uar_before=0.25, gain=0.5, gain_ci95=[0.1, 0.9], clips={"sad": 4})
    shown = panel(voice, PanelState(is_remote=True))
    assert str(privacy.STORED) in shown and "List this model in Models" in shown
    assert str(runs) not in shown and "in a terminal" not in shown


def test_what_a_teaching_brought_is_told_as_it_is() -> None:
    better = {"left_out_uar_before": 0.45, "gain": 0.35, "gain_ci95": [0.1, 0.6]}
    shown = view.verdict_html(better)
    assert "about 35 points better (10 to 60)" in shown and "width:80%" in shown
    assert "does not help" in view.verdict_html({**better, "gain": -0.2, "gain_ci95": [-0.4, 0.0]})
    assert "width:100%" in view.verdict_html({**better, "left_out_uar_before": 0.9})
    for broken in (
        {},
        {"n": 20, "right_before": 9, "right": 16, "sure": True},  # of an earlier release
        {**better, "gain": "<b>"},
        {**better, "gain": 0.7},
        {**better, "gain_ci95": [0.1]},
        {**better, "gain_ci95": 0.1},
        {**better, "gain": float("nan")},
    ):
        assert view.verdict_html(broken) == ""


def test_words_are_no_markup(runs: Path) -> None:
    shown = panel(
        takes.voice_of(None), PanelState(message="<script>", fault="<b>", last_emotion='"><i>')
    )
    assert "<script" not in shown and "<b>" not in shown and "<i>" not in shown


def test_a_damaged_model_is_no_model(runs: Path, tiny_checkpoint: Path) -> None:
    voice = takes.voice_of(None)
    assert voice.report() is None
    shutil.copytree(tiny_checkpoint, voice.checkpoint)
    assert voice.report() is None  # a model, but not one that was taught a voice
    for broken in ("{", "[]", '{"metrics": {"voice": 3}}', '{"metrics": 3}'):
        (voice.checkpoint / "model.json").write_text(broken, encoding="utf-8")
        assert voice.report() is None


def test_the_command_shown_teaches_the_same(
    runs: Path, clip: Clip, tiny_checkpoint: Path, predictor: Predictor
) -> None:
    from support.command import here

    voice = takes.voice_of(None)
    slow = waveform.decode(EXAMPLES / "german-slow-low.flac")
    for emotion, sound in (("angry", clip), ("sad", slow)):
        for _ in range(2):
            voice.add(emotion, sound)
    values = {"init_from": str(tiny_checkpoint)}
    clips = voice.utterances()
    list(personal_run.train(values, clips, voice.folder, predictor=predictor, resume=True))
    first = voice.report()
    assert first is not None and first["clips"] == voice.counts()
    done = here(*voice.command().split()[1:])
    assert done.code == 0, done.err
    assert voice.report() == first


def test_a_visitors_model_can_be_listed_in_models(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_checkpoint: Path
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "served"))
    voice = takes.begun_voice_of("anna")
    shutil.copytree(tiny_checkpoint, voice.checkpoint)
    assert "models/my-voice" in handlers.import_adapted(voice, "anna").key
    voice.delete()
    store = visitor_store.registry_for("anna")
    kept = store.get("models/my-voice").folder
    assert Predictor(kept, device="cpu").labels == ("angry", "happy", "sad")
    assert not [path for path in kept.rglob("*") if path.suffix == ".wav"]
    with pytest.raises(SerdemoError, match="no model"):
        visitor_store.registry_for("bert").get("models/my-voice")


def test_a_model_taught_anew_is_taught_from_what_it_began_with(
    runs: Path, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    page, voice = default_page(tiny_checkpoint), takes.voice_of(None)
    other = Path(shutil.copytree(tiny_checkpoint, tmp_path / "other"))
    shutil.copytree(tiny_checkpoint, voice.checkpoint)

    def start() -> Path:
        return handlers.start_model(page, voice, SimpleNamespace(session_hash="a")).folder  # type: ignore[arg-type]

    assert start() == tiny_checkpoint
    page.visitors.choose("a", other)
    assert start() == other  # the one that answers
    page.visitors.choose("a", voice.checkpoint)
    assert start() == tiny_checkpoint  # where nothing says what it began with
    write_json(voice.folder / "config.json", {"options": {"init_from": str(other)}})
    assert start() == other
