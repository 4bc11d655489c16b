"""The page without a browser: pictures, answers, handlers and what they leave behind."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from serdemo.audio import waveform
from serdemo.inference.predictor import Predictor
from serdemo.inference.timeline import Span, spans
from serdemo.nn import description
from serdemo.schema import palette
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import EMOTIONS, Prediction, Segment
from serdemo.ui import build, launch
from serdemo.ui.recognise import drawing, handlers, view
from serdemo.ui.shell import examples, html, scripts, theme
from serdemo.ui.shell import uploads as shell_uploads
from serdemo.ui.shell.page import unseen_recalls
from serdemo.ui.shell.session import RequestTracker, TrackedRequest, WarmPredictor
from serdemo.ui.shell.templates import render

ROOT = Path(__file__).resolve().parents[3]


def shares(**given: float) -> dict[str, float]:
    """Probabilities of the seven emotions; those not given share the rest."""
    rest = (1 - sum(given.values())) / (len(EMOTIONS) - len(given))
    return {emotion: given.get(emotion, rest) for emotion in EMOTIONS}


def prediction(name: str, duration_s: float = 2.0, speech: float = 1.0) -> Prediction:
    probabilities = shares(angry=0.7, happy=0.2)
    part = Segment(0.0, duration_s, "angry", 0.7, probabilities, speech)
    return Prediction(name, duration_s, "angry", 0.7, speech == 0, probabilities, (part,))


class LoudnessPredictor:
    """Stands in for the model: loud is angry, quiet is sad, silence holds no speech."""

    name = "loudness"

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.description = SimpleNamespace(speaker_prior={}, neutral=[], labels=())

    open = staticmethod(waveform.open_recording)

    def predict(self, clip: waveform.Clip) -> Prediction:
        self.heard.append(clip.name)
        peak = float(np.abs(clip.samples).max())
        label = "angry" if peak > 0.3 else "sad"
        probabilities = shares(**{label: 0.9})
        speech = 0.0 if peak == 0 else 1.0
        warnings = () if speech else ("No speech was found: choose a clip with a voice.",)
        part = Segment(0.0, clip.duration_s, label, 0.9, probabilities, speech)
        return Prediction(
            clip.name, clip.duration_s, label, 0.9, not speech, probabilities, (part,), warnings
        )


@pytest.fixture
def model() -> WarmPredictor:
    return WarmPredictor(LoudnessPredictor)  # type: ignore[arg-type]


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Gradio's upload folder, moved to where the test can see it."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def toasts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    shown: list[str] = []
    monkeypatch.setattr(handlers.gr, "Warning", lambda text: shown.append(text))
    return shown


def upload(folder: Path, name: str, peak: float | None, seconds: float = 1.0) -> dict[str, Any]:
    """What the drop zone would send: a tone of that peak, or bytes that are no sound."""
    path = folder / f"hash-of-{name}" / name
    path.parent.mkdir(parents=True)
    if peak is None:
        path.write_bytes(b"this is no sound")
    else:
        time = np.arange(int(seconds * 16_000)) / 16_000
        soundfile.write(path, peak * np.sin(2 * np.pi * 220 * time), 16_000)
    return {"path": str(path), "name": name}


def run_to_end(model: WarmPredictor, files: list[dict[str, Any]], run: TrackedRequest) -> list[str]:
    recordings = [shell_uploads.uploaded(file) for file in files]
    return list(handlers.recognise(model, recordings, run))


def answers(page: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(page)["answers"]
    return found


def labels(page: str) -> list[str | None]:
    """The label of each answer, None for one without a prediction."""
    found = [answer["prediction"] for answer in answers(page)]
    return [prediction and prediction["label"] for prediction in found]


def waiting(page: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = json.loads(page)["waiting"]
    return found


# Pictures


@pytest.mark.parametrize(
    ("confidence", "words"),
    [(0.99, "very sure"), (0.85, "very sure"), (0.7, "fairly sure"), (0.45, "somewhat sure")],
)
def test_confidence_is_told_in_words(confidence: float, words: str) -> None:
    assert palette.certainty(confidence) == words


def test_unsure_names_the_two_nearest_and_silence_names_none() -> None:
    probabilities = shares(angry=0.3, happy=0.28)
    part = Segment(0, 1, "angry", 0.3, probabilities)
    unsure = Prediction("a", 1.0, "angry", 0.3, True, probabilities, (part,))
    assert palette.sentence(unsure) == "Not sure: angry or happy"
    assert palette.sentence(prediction("a", speech=0.0)) == "No speech found"


def test_every_emotion_has_its_own_colour_and_shape() -> None:
    looks = [palette.style_of(emotion) for emotion in EMOTIONS]
    assert len({look.colour for look in looks}) == len({look.symbol for look in looks}) == 7
    assert len({html.marker(emotion) for emotion in (*EMOTIONS, "boredom")}) == 8


def test_overlapping_windows_share_their_overlap_and_like_neighbours_join() -> None:
    def window(start: float, end: float, label: str, sure: float, speech: float = 1) -> Segment:
        return Segment(start, end, label, sure, {}, speech)

    windows = [
        window(0, 3, "sad", 0.6),
        window(1, 4, "sad", 0.9),
        window(2, 5, "angry", 0.8),
        window(6, 7, "angry", 0.5),
        window(7, 8, "happy", 0.9, speech=0),
    ]
    assert spans(windows) == [
        Span(0, 3, "sad", pytest.approx((0.6 * 2 + 0.9 * 1) / 3)),
        Span(3, 5, "angry", 0.8),
        Span(6, 7, "angry", 0.5),
    ]


def test_wave_levels_are_peaks_and_quiet_stays_quiet() -> None:
    samples = np.repeat(np.array([0.0, 0.5, -1.0, 0.25], np.float32), 100)
    assert drawing.wave_levels(samples, 4).tolist() == [0.0, 0.5, 1.0, 0.25]
    faint = np.full(400, 0.002, np.float32)
    assert drawing.wave_levels(faint, 4).tolist() == pytest.approx([0.1] * 4)
    assert drawing.wave_levels(np.ones(3, np.float32), 150).max() == 1.0


def test_bars_are_sorted_named_and_numbered() -> None:
    drawn = html.bars({"sad": 0.25, "angry": 0.705, "<b>": 0.045})
    assert re.findall(r'sd-bar-name"[^>]*>([^<]*)<', drawn) == ["angry", "sad", "&lt;b&gt;"]
    assert re.findall(r'sd-number">([^<]*)<', drawn) == ["70%", "25%", "4%"]
    assert "width:70.50%" in drawn
    assert palette.style_of("angry").colour in drawn


def test_an_answer_carries_its_sound_and_what_is_drawn_of_it() -> None:
    samples = np.sin(np.arange(32_000) / 10).astype(np.float32) / 2
    clip = waveform.from_array(samples, 16_000, "a.wav")
    (told,) = answers(view.answers_page([view.Answer("a.wav", clip, prediction("a.wav"))]))
    assert told["duration_s"] == 2.0
    assert len(told["levels"]) == 150
    assert max(told["levels"]) == 1.0
    assert told["prediction"] == json.loads(json.dumps(prediction("a.wav").to_json()))
    sound = re.fullmatch(r"data:audio/[a-z]+;base64,(.*)", told["sound"])
    assert sound
    decoded, rate = soundfile.read(io.BytesIO(base64.b64decode(sound[1])))
    assert rate == 16_000
    assert len(decoded) == pytest.approx(32_000, abs=2500)


def test_a_very_long_recording_is_drawn_without_its_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "MAX_PLAYABLE_S", 1)
    assert drawing.sound_url(np.zeros(32_000, np.float32), 16_000) == ""
    assert len(drawing.bar_levels(np.zeros(72_000, np.float32), 10)) == 12 * 150


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_contrast_of_the_theme(mode: int) -> None:
    for text in ("body_text_color", "body_text_color_subdued", "link_text_color"):
        for ground in (
            "body_background_fill",
            "background_fill_primary",
            "background_fill_secondary",
        ):
            pair = (theme.TOKENS[name][mode] for name in (text, ground))
            assert contrast(*pair) >= 4.5, (text, ground)
    tokens = {name: pair[mode] for name, pair in theme.TOKENS.items()}
    for ground in ("background_fill_primary", "background_fill_secondary"):
        assert contrast(tokens["checkbox_border_color"], tokens[ground]) >= 3
    assert contrast(tokens["checkbox_background_color_selected"], "#ffffff") >= 3


# Answers


def test_what_answers_in_the_browser_is_not_loaded_before_it_is_switched_on() -> None:
    loaded = scripts.preloaded()
    assert {"recognise/answers.js", "live/live.js", "browser/timeline.js"} < set(loaded)
    assert sum(len(scripts.modules()[path]) for path in loaded if "browser/" in path) < 10_000


def test_footer_tells_only_figures_on_unseen_speakers() -> None:
    metrics = {
        "RAVDESS": {"uar": 0.683, "unseen_speakers": True},
        "EMO-DB": {"uar": 0.99, "unseen_speakers": False},
        "validation": {"uar": 0.9},
        "note": "text",
    }
    assert unseen_recalls(metrics) == {"RAVDESS": 0.683}
    shown = dict(visitor="", model="<b>", model_id="", in_browser="")
    line = render("shell/footer.html", recalls={"RAVDESS": 0.683}, **shown)
    assert "RAVDESS 68%" in line
    assert '<strong translate="no">&lt;b&gt;</strong>' in line
    assert "recall" not in render("shell/footer.html", recalls={}, **shown)


# Handlers


@pytest.mark.slow
def test_good_bad_and_silent_files_each_get_their_own_answer(
    model: WarmPredictor, uploads: Path, toasts: list[str]
) -> None:
    files = [upload(uploads, n, p) for n, p in (("a.wav", 0.5), ("b.wav", None), ("c.wav", 0.0))]
    pages = run_to_end(model, files, RequestTracker().begin("one"))
    first = waiting(pages[0])
    assert first and first["text"].startswith("Listening to a.wav")
    assert (first["done"], first["total"]) == (0, 3)
    assert labels(pages[-1]) == ["angry", None, "sad"]
    silent = answers(pages[-1])[2]["prediction"]
    assert [part["speech"] for part in silent["segments"]] == [0.0]
    assert silent["warnings"] == ["No speech was found: choose a clip with a voice."]
    assert len(toasts) == 1
    assert toasts[0].startswith("b.wav ")
    assert answers(pages[-1])[1]["refusal"] == toasts[0]


def test_nothing_sent_stays_on_the_server(
    model: WarmPredictor, uploads: Path, toasts: list[str]
) -> None:
    files = [upload(uploads, f"{i}.wav", None if i == 1 else 0.2) for i in range(3)]
    run = RequestTracker().begin("one")
    pages = handlers.recognise(model, [shell_uploads.uploaded(f) for f in files], run)
    next(pages)
    assert len(list(uploads.iterdir())) == 3
    next(pages)
    assert len(list(uploads.iterdir())) == 2
    pages.close()  # the visitor leaves
    assert list(uploads.iterdir()) == []


def test_a_recording_too_large_is_refused_unread(
    model: WarmPredictor, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shell_uploads, "MAX_MB", 0.001)
    page = run_to_end(model, [upload(uploads, "a.wav", 0.2)], RequestTracker().begin("one"))[-1]
    assert "a.wav is larger than" in page
    assert list(uploads.iterdir()) == []


def test_examples_are_kept_small_and_hold_sound(model: WarmPredictor) -> None:
    for label in examples.EXAMPLES:
        recording = examples.example(label)
        assert recording.path is not None
        assert labels(list(handlers.recognise(model, [recording], RequestTracker().begin("x")))[-1])
        assert recording.path.stat().st_size < 110_000
        clip = waveform.decode(recording.path)
        assert 2 < clip.duration_s < 8
        assert float(np.abs(clip.samples).max()) > 0.1


def test_stop_keeps_what_is_answered(model: WarmPredictor, uploads: Path) -> None:
    runs = RequestTracker()
    files = [upload(uploads, f"{i}.wav", 0.2) for i in range(4)]
    run = runs.begin("one")
    pages = handlers.recognise(model, [shell_uploads.uploaded(f) for f in files], run)
    next(pages), next(pages)
    runs.stop("another visitor")
    next(pages)
    runs.stop("one")
    last = list(pages)[-1]
    assert "Stopped after 3 of 4 files." in last
    assert len(answers(last)) == 3
    assert list(uploads.iterdir()) == []


def test_a_newer_run_silences_the_older_one(model: WarmPredictor, uploads: Path) -> None:
    runs = RequestTracker()
    files = [upload(uploads, f"{i}.wav", 0.2) for i in range(3)]
    recordings = [shell_uploads.uploaded(file) for file in files]
    older = handlers.recognise(model, recordings[:2], runs.begin("one"))
    next(older)
    newer = handlers.recognise(model, recordings[2:], runs.begin("one"))
    assert labels(list(newer)[-1]) == ["sad"]
    assert list(older) == []


def test_only_uploads_are_read_and_deleted(
    model: WarmPredictor, uploads: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    private = tmp_path_factory.mktemp("elsewhere") / "private.wav"
    soundfile.write(private, np.zeros(16_000), 16_000)
    sneaky = uploads / ".." / private.parent.name / private.name
    for path in (private, sneaky, uploads):
        page = run_to_end(
            model, [{"path": str(path), "name": "x.wav"}], RequestTracker().begin("one")
        )[-1]
        assert "x.wav could not be sent: drop it once more." in page
    assert private.exists()
    assert uploads.exists()


def test_a_file_too_large_has_its_sentence(model: WarmPredictor, toasts: list[str]) -> None:
    page = run_to_end(
        model, [{"name": "big.wav", "too_large": True}], RequestTracker().begin("one")
    )[-1]
    assert "big.wav is larger than 20 MB" in page
    assert toasts[0] in page


@pytest.mark.slow
def test_many_refusals_make_one_toast(
    model: WarmPredictor, uploads: Path, toasts: list[str]
) -> None:
    files = [upload(uploads, f"{i}.wav", None) for i in range(5)]
    run_to_end(model, files, RequestTracker().begin("one"))
    assert toasts == ["5 of 5 files could not be answered: the table says why."]


def test_first_screen_is_an_answer_of_the_model(model: WarmPredictor) -> None:
    page = handlers.first_screen(model)
    assert labels(page) == ["angry"]
    assert examples.SYNTHETIC in page
    assert handlers.first_screen(model) == page
    # Answered for the first visitor alone.
    assert model.get().heard == ["English, quick and high"]  # type: ignore[attr-defined]


def test_a_missing_or_broken_model_is_told_in_the_page(uploads: Path) -> None:
    def missing() -> Any:
        raise SerdemoError("There is no checkpoint here: give one with --checkpoint.")

    def broken() -> Any:
        raise RuntimeError("secret detail")

    for factory, sentence in ((missing, "There is no checkpoint here"), (broken, "went wrong")):
        model = WarmPredictor(factory)
        assert sentence in handlers.first_screen(model)
        page = run_to_end(
            model, [upload(uploads, f"{sentence}.wav", 0.2)], RequestTracker().begin("one")
        )[-1]
        assert sentence in page
        assert "secret detail" not in page


def test_the_model_is_made_once_for_all_visitors() -> None:
    made: list[LoudnessPredictor] = []

    def factory() -> Any:
        made.append(LoudnessPredictor())
        return made[-1]

    model = WarmPredictor(factory)
    model.warm_up()
    threads = [threading.Thread(target=model.get) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [model.get()]


# The page


def events(page: Any) -> Iterator[dict[str, Any]]:
    yield from page.get_config_file()["dependencies"]


def test_no_handler_of_the_page_is_open_to_programs() -> None:
    page = build(LoudnessPredictor)  # type: ignore[arg-type]
    names = [e["api_name"] for e in events(page) if e["api_visibility"] != "private"]
    live = ["live_open", "live_push", "live_close"]
    assert names == ["predict", "embed", "compare", "models", *live]
    assert len(list(events(page))) >= 8 + len(names)


@pytest.mark.slow
def test_building_the_page_does_not_wait_for_the_model() -> None:
    code = (
        "import sys, app\n"
        "assert app.demo.blocks\n"
        "heavy = {'torch', 'transformers', 'umap'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_port_in_use_and_a_missing_checkpoint_are_told_in_a_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SerdemoError, match=f"Port {port} is in use: choose another"):
            launch(port=port, page=build(LoudnessPredictor))  # type: ignore[arg-type]
    with pytest.raises(SerdemoError):
        launch(checkpoint=tmp_path / "nothing here")


def test_the_first_screen_gives_way_to_whoever_asks() -> None:
    runs = RequestTracker()
    first = runs.begin("one", yielding=True)
    asked = runs.begin("one")
    assert first.replaced and not asked.replaced
    first.end()
    late = runs.begin("one", yielding=True)
    assert late.replaced and not asked.replaced
    late.end()
    asked.end()
    assert not runs.begin("one", yielding=True).replaced


# All of one person


@pytest.fixture
def adaptive(tiny_checkpoint: Path, tmp_path: Path) -> WarmPredictor:
    """A model that gets used to voices."""
    shutil.copytree(tiny_checkpoint, tmp_path / "tiny")
    described = description.read_description(tmp_path / "tiny")
    means = {label: [2.0] * 8 for label in described.labels}
    prior = {"class_means": means, "discriminants": [[100.0] * 8], "offset_scale": 1e-3}
    description.write_description(tmp_path / "tiny", replace(described, speaker_prior=prior))
    return WarmPredictor(lambda: Predictor(tmp_path / "tiny", device="cpu"))


def recognised(model: WarmPredictor, count: int, same_person: bool) -> str:
    """The last page for so many example voices."""
    recordings = [examples.example(label) for label in list(examples.EXAMPLES)[:count]]
    run = RequestTracker().begin("x")
    return list(handlers.recognise(model, recordings, run, same_person))[-1]


def shares_of(page: str) -> list[dict[str, float]]:
    return [answer["prediction"]["probabilities"] for answer in answers(page)]


def test_several_files_of_one_person_are_answered_together(adaptive: WarmPredictor) -> None:
    plain, together = recognised(adaptive, 3, False), recognised(adaptive, 3, True)
    box = json.loads(plain)["same_person"]
    assert not box["ticked"]
    assert "if one person speaks in all of these files" in box["note"]
    box = json.loads(together)["same_person"]
    assert box["ticked"]
    assert re.fullmatch(r"Used to this voice by \d+ s of its speech\.", box["note"])
    assert len(answers(together)) == 3
    assert shares_of(together) != shares_of(plain)


def test_the_box_is_for_several_files_and_models_that_adapt(
    adaptive: WarmPredictor, tiny_checkpoint: Path
) -> None:
    assert json.loads(recognised(adaptive, 1, True))["same_person"] is None
    plain = WarmPredictor(lambda: Predictor(tiny_checkpoint, device="cpu"))
    assert json.loads(recognised(plain, 2, True))["same_person"] is None


@pytest.mark.slow  # ffmpeg tries the file that is no sound
def test_of_one_readable_file_nothing_is_learnt(adaptive: WarmPredictor, uploads: Path) -> None:
    files = [upload(uploads, "good.wav", 0.5), upload(uploads, "bad.wav", None)]
    recordings = [shell_uploads.uploaded(file) for file in files]
    page = list(handlers.recognise(adaptive, recordings, RequestTracker().begin("x"), True))[-1]
    assert "There were no two files with speech" in page
    assert list(uploads.glob("hash-of-*")) == []
