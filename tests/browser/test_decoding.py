"""Files decoded in browsers, beside the same files decoded by the package."""

from __future__ import annotations

import base64
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from support import bad_audio, firefox, sound_files
from support.folder_server import FolderServer
from support.node import copy_scripts, run_module

from serdemo.audio import waveform
from serdemo.audio.decoding import open_audio

FORMATS = {name: arguments for name, arguments, _ in sound_files.FFMPEG}
# Decoded by ourselves: the same to the bit.
PLAIN = (
    "a.aiff",
    "rf64.wav",
    "u8.wav",
    "24-bit.wav",
    "32-bit.wav",
    "float.wav",
    "double.wav",
    "8-khz.wav",
    "96-khz.wav",
    "stereo.wav",
    "5.1.wav",
)
TWO_TRACKS = ("two-tracks.m4a", "two-tracks.mkv")  # the first of them silent
BY_BROWSER = (
    "a.mp3",
    "with-tags.mp3",
    "mpeg2.mp3",
    "stereo.mp3",
    "mp3-inside.wav",
    "a.m4a",
    "film.mp4",
    "fragments.mp4",
    "a.3gp",
    "5.1.m4a",
    "a.aac",
    "film.mov",
    "a.ogg",
    "native-vorbis.ogg",
    "film.ogv",
    "film.mkv",
    "a.opus",
    "a.weba",
    "film.webm",
    "a.flac",
    "24-bit.flac",
    "flac.oga",
    "a.mka",
    "a-law.wav",
    "mu-law.wav",
)
# How many frames a browser leaves out, before and behind. Encoders of AAC fill the last block, which
# browsers cut off as the file says; Chromium rounds the delay of Opus in Matroska to milliseconds.
LEFT_OUT = {
    "chromium": dict.fromkeys(["a.m4a", "film.mp4", "fragments.mp4", "a.3gp", "5.1.m4a"], (0, 616))
    | dict.fromkeys(["a.weba", "film.webm"], (24, 0)),
    "firefox": dict.fromkeys(["a.m4a", "film.mp4", "a.3gp", "5.1.m4a"], (0, 616))
    | {"a.aac": (1024, 0)},
}
# Firefox decodes MP3 to 16 bits, Chromium takes the positive half of 16 bits for a step shorter.
TOLERANCE = 5e-5
UNREAD = (
    "a.mp2",
    "a.wma",
    "a.caf",
    "a.wv",
    "a.ac3",
    "film.avi",
    "film.flv",
    "a.spx",
    "adpcm-ms.wav",
    "gsm.wav",
    "alac.m4a",
)
UNREAD_BY = {"chromium": (), "firefox": ("film.mov", "a.mka")}
UNSUPPORTED = "is in a format that this browser cannot read: convert it to WAV or MP3, or try another browser."
CUT = ("a.flac", "a.opus", "24-bit.wav", "a.m4a", "a.mp3")  # to three fifths

DECODE = """
async ([name, path]) => {
  const { decodeFile } = await import("./ui/browser/decoding.js");
  const file = new File([await (await fetch(path)).blob()], name);
  try {
    const { rate, channels, notes } = await decodeFile(file);
    const texts = channels.map(({ buffer }) => {
      const bytes = new Uint8Array(buffer);
      let text = "";
      for (let at = 0; at < bytes.length; at += 8192) {
        text += String.fromCharCode(...bytes.subarray(at, at + 8192));
      }
      return btoa(text);
    });
    return { rate, texts, notes };
  } catch (error) {
    return { refusal: error.message, kind: error.constructor.name };
  }
}
"""
# A file in the place of one too large to make: its `size`, and its bytes.
REFUSE = """
async (cases) => {
  const { MAX_MB, decodeFile } = await import("./ui/browser/decoding.js");
  const sentences = [];
  for (const { name, bytes, size } of cases) {
    const content = Uint8Array.from(bytes);
    const file = { name, size: size * MAX_MB * 2 ** 20 || content.length, arrayBuffer: async () => {
      if (name === "a folder") throw new DOMException("", "NotFoundError");
      return content.buffer;
    } };
    sentences.push(await decodeFile(file).then(() => "", (error) => error.message));
  }
  return sentences;
}
"""
INSPECT = """
import { inspect } from "./ui/browser/containers.js";
const counts = {};
let seed = 1;
const random = (n) => {
  seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
  return seed % n;
};
for (const name of given) {
  const bytes = new Uint8Array(readFileSync(name));
  counts[name] = 0;
  for (let i = 0; i < 300; i += 1) {
    const damaged = bytes.slice(0, 1 + random(i % 2 ? 400 : bytes.length));
    for (let k = 0; k < 8; k += 1) damaged[random(Math.min(damaged.length, 400))] = random(256);
    inspect(damaged);
    counts[name] += 1;
  }
}
done(counts);
"""


@dataclass(frozen=True)
class Decoded:
    """What a browser made of a file: frames (n, C) at `rate`, or the sentence why not."""

    rate: int
    frames: NDArray[np.float32]
    notes: list[str]
    refusal: str


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FolderServer]:
    """A bare page with the scripts of the package; the folder `files` is for the tests."""
    folder = tmp_path_factory.mktemp("site")
    copy_scripts(folder)
    (folder / "index.html").write_text("<!doctype html><title>test</title>", encoding="utf-8")
    (folder / "files").mkdir()
    with FolderServer(folder) as server:
        server.folder = folder  # type: ignore[attr-defined]
        yield server


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one clip in every format."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs ffmpeg: install it")
    folder = tmp_path_factory.mktemp("sounds")
    clip = folder / "clip.wav"
    soundfile.write(clip, bad_audio.voice(6.0, rate=sound_files.RATE), sound_files.RATE)
    for name in {*PLAIN, *BY_BROWSER, *UNREAD, *TWO_TRACKS, "film-without-sound.mp4"}:
        sound_files.by_ffmpeg(clip, folder / name, FORMATS[name])
    return folder


@pytest.fixture(scope="module", params=["chromium", "firefox"])
def page(
    request: pytest.FixtureRequest, site: FolderServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A page of one of the browsers, and its name."""
    if request.param == "chromium":
        browser = request.getfixturevalue("browser")
    else:
        playwright = request.getfixturevalue("playwright")
        browser = firefox.launch(playwright, tmp_path_factory.mktemp("firefox"))
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{site.url}/index.html")
    page.browser_name = request.param
    yield page
    context.close()
    if request.param == "firefox":
        browser.close()


@pytest.fixture(scope="module")
def decode(page: Any, site: FolderServer) -> Callable[[Path], Decoded]:
    """A function that decodes a file in the browser."""

    def run(path: Path) -> Decoded:
        served = site.folder / "files" / path.name  # type: ignore[attr-defined]
        shutil.copy(path, served)
        answer = page.evaluate(DECODE, [path.name, f"files/{path.name}"])
        served.unlink()
        if "refusal" in answer:
            assert answer["kind"] == "AudioError", answer
            return Decoded(0, np.zeros((0, 1), np.float32), [], answer["refusal"])
        columns = [np.frombuffer(base64.b64decode(text), "<f4") for text in answer["texts"]]
        return Decoded(answer["rate"], np.stack(columns, 1), answer["notes"], "")

    return run


def frames_of(path: Path) -> NDArray[np.float32]:
    """What the package decodes."""
    with open_audio(path) as audio:
        return np.concatenate([block for sound in audio.sounds for block in sound.blocks])


@pytest.mark.parametrize("name", PLAIN)
def test_plain_samples_are_the_same_to_the_bit(
    decode: Callable[[Path], Decoded], sounds: Path, name: str
) -> None:
    found = decode(sounds / name)
    assert not found.refusal
    assert found.rate == waveform.decode(sounds / name).source_rate
    assert np.array_equal(found.frames, frames_of(sounds / name))
    assert found.notes == []


@pytest.mark.parametrize("name", BY_BROWSER)
def test_what_browsers_decode_is_what_the_package_decodes(
    page: Any, decode: Callable[[Path], Decoded], sounds: Path, name: str
) -> None:
    """At the file's own rate, in every channel, without a shift but for `LEFT_OUT`."""
    found, wanted = decode(sounds / name), frames_of(sounds / name)
    if name in UNREAD_BY[page.browser_name]:
        assert found.refusal == f"{name} {UNSUPPORTED}"
        return
    assert not found.refusal
    assert found.rate == waveform.decode(sounds / name).source_rate
    before, behind = LEFT_OUT[page.browser_name].get(name, (0, 0))
    wanted = wanted[before : len(wanted) - behind]
    assert found.frames.shape == wanted.shape
    assert np.abs(found.frames - wanted).max() < TOLERANCE
    assert found.notes == []


@pytest.mark.parametrize("name", UNREAD)
def test_what_no_browser_reads_is_a_sentence(
    decode: Callable[[Path], Decoded], sounds: Path, name: str
) -> None:
    assert decode(sounds / name).refusal == f"{name} {UNSUPPORTED}"


def test_a_film_without_sound_is_a_sentence(
    decode: Callable[[Path], Decoded], sounds: Path
) -> None:
    name = "film-without-sound.mp4"
    with pytest.raises(waveform.AudioError) as raised:
        waveform.decode(sounds / name)
    assert decode(sounds / name).refusal == str(raised.value)


@pytest.mark.parametrize("name", TWO_TRACKS)
def test_of_several_tracks_one_is_read_and_the_reader_is_warned(
    page: Any, decode: Callable[[Path], Decoded], sounds: Path, name: str
) -> None:
    found = decode(sounds / name)
    if (name, page.browser_name) == ("two-tracks.mkv", "firefox"):
        assert found.refusal == f"{name} {UNSUPPORTED}"
        return
    (note,) = found.notes
    assert note.startswith("Of the 2 tracks the first is used: if it does not hold the voice")
    assert np.abs(found.frames).max() == 0
    assert "the second is used" in waveform.decode(sounds / name).notes[0]


@pytest.mark.parametrize("name", CUT)
def test_a_cut_file_says_so_as_in_the_package(
    page: Any, decode: Callable[[Path], Decoded], sounds: Path, tmp_path: Path, name: str
) -> None:
    content = (sounds / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(content[: len(content) * 3 // 5])
    found = decode(path)
    if name == "a.m4a":
        assert "is cut off before its index" in found.refusal
    elif (name, page.browser_name) == ("a.flac", "firefox"):
        assert found.refusal == f"{name} is damaged or cut off: save it or copy it again."
    else:
        (note,) = found.notes
        (wanted,) = waveform.decode(path).notes
        seconds = len(found.frames) / found.rate
        assert abs(seconds - waveform.decode(path).duration_s) < 0.05
        assert re.sub(r"\d\.\d s (of|that)", r"\1", note) == re.sub(
            r"\d\.\d s (of|that)", r"\1", wanted
        )


def test_files_without_sound_have_the_package_s_sentences(
    decode: Callable[[Path], Decoded], tmp_path: Path
) -> None:
    n_refused = 0
    for path, pattern in bad_audio.make_refused(tmp_path).values():
        if (
            len(path.name) > 200
            or not path.is_file()
            or "samples" in pattern
            or "not numbers" in pattern
        ):
            continue  # the samples of a file are checked when it is read
        found = decode(path)
        if path.name != "cut.ogg":
            assert re.search(pattern, found.refusal), (path.name, found)
        assert found.refusal.startswith(f"{path.name} ") and found.refusal.endswith(".")
        n_refused += 1
    assert n_refused >= 20


def test_what_is_too_much_for_a_browser_is_refused_by_its_header(page: Any) -> None:
    tone = bad_audio.encode(bad_audio.sine(1.0), "FLAC")

    def flac(seconds: int) -> bytes:
        """A file that names so many seconds at 16 kHz."""
        return tone[:22] + (16_000 * seconds).to_bytes(4, "big") + tone[26:]

    many = bad_audio.wav(np.zeros((100, 33)), 48_000)
    cases = {
        "large.mp4": (
            b"",
            2,
            r"large.mp4 is larger than 200 MB: cut it, or save it as MP3 or OGG\.",
        ),
        "hours.flac": (
            flac(7200),
            0,
            r"hours.flac is 120 minutes long, and a browser holds at most 60",
        ),
        "many.wav": (many, 0, r"many.wav has 33 channels: save it with at most 32\."),
        "a folder": (b"", 0, r"a folder cannot be opened: check the file\."),
    }
    given = [
        {"name": name, "bytes": list(content), "size": size}
        for name, (content, size, _) in cases.items()
    ]
    for sentence, (_, _, pattern) in zip(page.evaluate(REFUSE, given), cases.values(), strict=True):
        assert re.fullmatch(pattern + ".*", sentence)


def test_damaged_headers_are_looked_at_without_a_fault(tmp_path: Path, sounds: Path) -> None:
    names = [str(path) for path in sorted(sounds.iterdir())]
    counts = run_module(tmp_path, INSPECT, names)
    assert set(counts.values()) == {300} and len(counts) >= 45
