"""The static Space as `serdemo space --static` writes it, in Chromium and in stock Firefox, which have no
way to anybody but through its server."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from support import command
from support.folder_server import FolderServer
from support.static_page import as_wav

from serdemo.audio import waveform
from serdemo.inference.predictor import Predictor
from serdemo.schema.types import Prediction

CHECKPOINTS = command.ROOT / "checkpoints"
KINDS = ("chromium", "firefox")
MICROPHONE_RATE = 48_000
PAUSE_S = 1.0

# A microphone of the page's own, which plays a WAV over and over: stock Firefox has none that plays a file.
# The empty page before the page has no devices.
PLAYING = """if (navigator.mediaDevices) navigator.mediaDevices.getUserMedia = async () => {
  const bytes = Uint8Array.from(atob("%s"), (one) => one.charCodeAt(0));
  const context = new AudioContext({ sampleRate: 48000 });
  const source = context.createBufferSource();
  source.buffer = await context.decodeAudioData(bytes.buffer);
  source.loop = true;
  const out = context.createMediaStreamDestination();
  source.connect(out);
  source.start();
  return out.stream;
};"""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a static Space."""
    place = tmp_path_factory.mktemp("static")
    ran = command.there("space", "--static", "--out", place / "space", cwd=place)
    assert ran.code == 0, ran.err
    return place / "space"


@pytest.fixture(scope="session")
def site(folder: Path) -> Iterator[FolderServer]:
    with FolderServer(folder) as server:
        yield server


@pytest.fixture(scope="session")
def wavs(clips: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The clips as WAV, whose samples are the same for every decoder."""
    folder = tmp_path_factory.mktemp("wavs")
    return [as_wav(clip, folder / f"{clip.stem}.wav") for clip in clips]


@pytest.fixture(scope="session")
def voice(
    surest: tuple[Path, Prediction], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """A WAV for a microphone to play over and over, a clip and a pause, and the clip's label."""
    sound = soxr.resample(waveform.decode(surest[0]).samples, waveform.SAMPLE_RATE, MICROPHONE_RATE)
    pause = np.zeros(round(PAUSE_S * MICROPHONE_RATE), np.float32)
    path = tmp_path_factory.mktemp("microphone") / "voice.wav"
    clip = np.clip(np.concatenate([sound, pause]), -1, 1)
    soundfile.write(path, clip, MICROPHONE_RATE, subtype="PCM_16")
    return path, surest[1].label


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """The browser's name."""
    return str(request.param)


@pytest.fixture(scope="session")
def driven(
    kind: str,
    launch: Callable[..., Any],
    launch_firefox: Callable[..., Any],
    site: FolderServer,
    voice: tuple[Path, str],
) -> Any:
    """The browser. Chromium's microphone plays `voice`; Firefox has it by a script in each page."""
    if kind == "chromium":
        return launch(voice[0], proxy=site.url)
    return launch_firefox(site.url)


@pytest.fixture
def open_page(
    kind: str, driven: Any, site: FolderServer, voice: tuple[Path, str]
) -> Iterator[Callable[..., Any]]:
    """A function that opens the page as a new visitor and waits for its first answer, unless that is
    not `ready`.

    `script` runs before those of the page. No page may raise a script error, and none may ask for anything
    but its own files, which are all there, nor send anything.
    """
    contexts, errors = [], []
    before = len(site.requests)

    def go(
        path: str = "",
        width: int = 1280,
        height: int = 900,
        *,
        script: str = "",
        ready: bool = True,
        **options: Any,
    ) -> Any:
        context = driven.new_context(
            viewport={"width": width, "height": height}, accept_downloads=True, **options
        )
        contexts.append(context)
        if kind == "firefox":
            sound = base64.b64encode(voice[0].read_bytes()).decode()
            context.add_init_script(PLAYING % sound)
        if script:
            context.add_init_script(script)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{site.url}/{path}")
        if ready:
            page.locator("#recognise-result .sd-says").wait_for()
        return page

    yield go
    for context in contexts:
        context.close()
    assert errors == []
    asked = site.requests[before:]
    assert asked
    assert [one for one in asked if not one.url.startswith(f"{site.url}/")] == []
    assert [one for one in asked if one.status >= 400] == []
    assert [one for one in asked if one.method not in ("GET", "HEAD") or one.sent] == []


@pytest.fixture(scope="session")
def predictors() -> Callable[[str], Predictor]:
    """A function that gives the predictor of a shipped model."""
    loaded: dict[str, Predictor] = {}

    def load(name: str) -> Predictor:
        if name not in loaded:
            loaded[name] = Predictor(CHECKPOINTS / name, device="cpu")
        return loaded[name]

    return load
