"""Files dropped on the page without a server: the answers are those of `serdemo predict`."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import bad_audio
from support.answers import shown, wait_for_answer
from support.static_page import (
    CLOSE,
    IN_CHROMIUM,
    answers,
    as_wav,
    convert,
    differences,
    download,
    drop,
    model,
)

from serdemo.inference.predictor import Predictor
from serdemo.nn.checkpoint_files import SHIPPED
from serdemo.schema import palette
from serdemo.schema.types import Prediction
from serdemo.ui.shell.examples import EXAMPLES, EXAMPLES_DIR

Open = Callable[..., Any]
Predictors = Callable[[str], Predictor]
FORMATS = {
    "a.mp3": "-c:a libmp3lame -b:a 192k",
    "a.m4a": "-c:a aac -b:a 192k",
    "a.webm": "-c:a libopus -b:a 128k",
    "a.ogg": "-c:a libvorbis -q:a 8",
    "a.flac": "-c:a flac",
    "a.mp4": "-f lavfi -i color=size=64x64:rate=5 -shortest -c:v libx264 -pix_fmt yuv420p -c:a aac",
}
LOSSY = 0.05
HOUR = ("-af", "apad", "-t", "3600", "-b:a", "16k", "-ac", "1")
CLIPS = int(os.environ.get("SERDEMO_BROWSER_CLIPS") or 20)
AT_ONCE = 20


def expected(predictor: Predictor, path: Path) -> Any:
    return json.loads(json.dumps(predictor.predict(path).to_json()))


@IN_CHROMIUM
def test_the_first_screen_answers_an_example(open_page: Open, predictors: Predictors) -> None:
    page = open_page()
    first = predictors(model(page)).predict(EXAMPLES_DIR / next(iter(EXAMPLES.values())))
    assert shown(page, ".sd-says").inner_text() == palette.sentence(first)


def test_a_dropped_clip_gets_the_answer_of_the_command(
    open_page: Open, wavs: list[Path], predictors: Predictors, tmp_path: Path
) -> None:
    page = open_page()
    drop(page, wavs[0])
    wait_for_answer(page, wavs[0].name)
    (told,) = answers(page, tmp_path)
    assert differences(told, expected(predictors(model(page)), wavs[0])) < CLOSE


@pytest.fixture(scope="module")
def coded(
    surest: tuple[Path, Prediction],
    predictors: Predictors,
    tmp_path_factory: pytest.TempPathFactory,
) -> list[tuple[Path, Any]]:
    """One clip in every format, and the answer to it by the default model."""
    folder = tmp_path_factory.mktemp("coded")
    files = [convert(surest[0], folder / name, *how.split()) for name, how in FORMATS.items()]
    return [(path, expected(predictors(SHIPPED), path)) for path in files]


def test_formats_that_browsers_read(
    open_page: Open,
    surest: tuple[Path, Prediction],
    coded: list[tuple[Path, Any]],
    tmp_path: Path,
) -> None:
    page = open_page()
    drop(page, *(path for path, _ in coded))
    page.locator("[data-pick]").nth(len(coded) - 1).wait_for()
    assert model(page) == SHIPPED
    for (path, wanted), told in zip(coded, answers(page, tmp_path), strict=True):
        assert told["label"] == wanted["label"] == surest[1].label, path
        assert told["probabilities"] == pytest.approx(wanted["probabilities"], abs=LOSSY), path
        assert told["duration_s"] == pytest.approx(wanted["duration_s"], abs=0.1), path


@IN_CHROMIUM
def test_several_files_one_of_them_bad(
    open_page: Open, wavs: list[Path], predictors: Predictors, broken: Path, tmp_path: Path
) -> None:
    page = open_page()
    drop(page, wavs[0], broken, wavs[1])
    page.locator("[data-pick]").nth(2).wait_for()
    rows = page.locator(".sd-picker tbody tr").all_inner_texts()
    predictor = predictors(model(page))
    for clip, row in ((wavs[0], rows[0]), (wavs[1], rows[2])):
        assert clip.name in row
        assert palette.sentence(predictor.predict(clip)) in row
    assert "No answer" in rows[1]
    page.get_by_role("button", name=wavs[1].name).click()
    wait_for_answer(page, wavs[1].name)
    link = shown(page, ".sd-save").get_by_role("link", name="Segments (CSV)")
    shown(page, ".sd-save summary").click()
    table = download(page, tmp_path, link).read_text(encoding="utf-8")
    rows_of_table = list(csv.DictReader(io.StringIO(table)))
    assert len(rows_of_table) == len(predictor.predict(wavs[1]).segments)


@IN_CHROMIUM
def test_many_clips_of_people(
    open_page: Open, data_root: Path, predictors: Predictors, tmp_path: Path
) -> None:
    """The most that the difference of a probability comes to, over clips of every corpus."""
    every = sorted(path for path in data_root.rglob("*.*") if path.suffix in (".wav", ".ogg"))
    chosen = every[:: max(1, len(every) // CLIPS)][:CLIPS]
    named = [as_wav(path, tmp_path / f"{n} {path.stem}.wav") for n, path in enumerate(chosen)]
    page = open_page()
    predictor = predictors(model(page))
    largest = 0.0
    for start in range(0, len(named), AT_ONCE):
        some = named[start : start + AT_ONCE]
        drop(page, *some)
        page.locator(".sd-picker", has_text=some[-1].name).wait_for(timeout=300_000)
        page.locator(f"[data-pick='{len(some) - 1}']").wait_for(timeout=300_000)
        for path, told in zip(some, answers(page, tmp_path), strict=True):
            largest = max(largest, differences(told, expected(predictor, path)))
    print(f"{len(named)} clips: probabilities differ by at most {largest:.1e}")
    assert largest < CLOSE


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> bad_audio.Cases:
    return bad_audio.make(tmp_path_factory.mktemp("bad"))


REFUSED = (
    "empty.wav",
    "no-samples.wav",
    "picture.wav",
    "text.mp3",
    "header-cut.wav",
    "garbage.webm",
)
WARNED = ("silent.wav", "short.wav", "clipped.wav", "only-noise.wav", "telephone.wav")


def test_what_holds_no_sound_is_refused_in_a_sentence(
    open_page: Open, bad: bad_audio.Cases, clips: list[Path]
) -> None:
    page = open_page()
    drop(page, *(bad[name][0] for name in REFUSED), clips[0])
    page.locator("[data-pick]").nth(len(REFUSED)).wait_for()
    rows = page.locator(".sd-picker tbody tr").all_inner_texts()
    for name, row in zip(REFUSED, rows[:-1], strict=True):
        assert name in row
        assert "No answer" in row
        sentence = page.locator(".sd-picker tbody tr", has_text=name).locator("small").inner_text()
        assert sentence.endswith(".") and len(sentence) < 200, sentence
    assert "Sounds" in rows[-1] or "Not sure" in rows[-1]


@IN_CHROMIUM
def test_warnings_are_those_of_the_command(
    open_page: Open, bad: bad_audio.Cases, predictors: Predictors, tmp_path: Path
) -> None:
    page = open_page()
    drop(page, *(bad[name][0] for name in WARNED))
    page.locator("[data-pick]").nth(len(WARNED) - 1).wait_for()
    predictor = predictors(model(page))
    for name, told in zip(WARNED, answers(page, tmp_path), strict=True):
        assert told["warnings"] == list(predictor.predict(bad[name][0]).warnings), name


@IN_CHROMIUM
def test_an_hour_is_no_reason_to_stop(open_page: Open, wavs: list[Path], tmp_path: Path) -> None:
    """It is answered or refused, in words, and the next file is answered."""
    page = open_page()
    hour = convert(wavs[0], tmp_path / "hour.mp3", *HOUR)
    drop(page, hour)
    wait_for_answer(page, "hour.mp3")
    assert shown(page, ".sd-says").inner_text()
    assert shown(page, ".sd-notes").inner_text().strip().endswith(".")
    drop(page, wavs[1])
    wait_for_answer(page, wavs[1].name)
