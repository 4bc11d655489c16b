"""The page as programs use it: gradio_client, curl, an MCP client, and the live client of the README."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from gradio_client import Client, handle_file
from support.app_server import ROOT, App
from support.asynchronous import run_async
from support.command import here

from serdemo.audio import waveform

pytestmark = pytest.mark.slow

EXAMPLES = ROOT / "serdemo" / "audio" / "examples"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("api")
    uploads = folder / "uploads"
    uploads.mkdir()
    app = App(folder, {"GRADIO_TEMP_DIR": str(uploads), "GRADIO_MCP_SERVER": "true"})
    app.wait()
    yield app
    app.end()


@pytest.fixture
def uploads(app: App) -> Iterator[Path]:
    """The folder of uploads, which a test leaves without a file."""
    folder = app.log.parent / "uploads"
    yield folder
    deadline = time.monotonic() + 10
    while left(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left(folder) == []
    log = app.log.read_text()
    assert "Traceback" not in log and "polish" not in log


def left(folder: Path) -> list[Path]:
    """What lies among the files that the app serves."""
    served = folder.glob("serdemo-uploads-*/files/**/*")
    return [path for path in served if path.name not in ("files", "vibe_edit_history")]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twenty clips of the example voices: as they are, cut, quiet, repeated, at another rate."""
    folder = tmp_path_factory.mktemp("clips")
    for voice in sorted(EXAMPLES.glob("*.flac")):
        samples = waveform.decode(voice).samples
        for kind, (sound, rate) in {
            "plain": (samples, 16_000),
            "cut": (samples[:24_000], 16_000),
            "quiet": (0.1 * samples, 16_000),
            "long": (np.tile(samples, 3), 16_000),
            "fast": (samples, 18_000),
        }.items():
            soundfile.write(folder / f"{voice.stem}-{kind}.wav", sound, rate)
    return sorted(folder.glob("*.wav"))


@pytest.fixture(scope="module")
def expected(clips: list[Path]) -> list[dict[str, Any]]:
    """What `serdemo predict --json` gives, with the files' names in place of their paths."""
    return command_line(*clips)


def command_line(*clips: Path) -> list[dict[str, Any]]:
    entries = json.loads(here("predict", *map(str, clips), "--json").out)
    return [{**entry, "file": Path(entry["file"]).name} for entry in entries]


def assert_same(found: Any, wanted: Any) -> None:
    """Equal, numbers to 1e-5: the page answers by the graphs of the shipped models."""
    if isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for key, value in wanted.items():
            assert_same(found[key], value)
    elif isinstance(wanted, list):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_same(one, other)
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, abs=1e-5)
    else:
        assert found == wanted


def call(app: App, name: str, data: Any) -> tuple[str, Any]:
    """The kind of the last event, and its data, of a call as curl makes it."""
    at = f"{app.address}/gradio_api/call/{name}"
    begun = httpx.post(at, json={"data": data}, timeout=60)
    if begun.status_code != 200:
        return str(begun.status_code), begun.json()
    with httpx.stream("GET", f"{at}/{begun.json()['event_id']}", timeout=120) as response:
        text = response.read().decode()
    kind, sent = re.findall(r"event: (complete|error)\ndata: (.*)\n", text)[-1]
    return kind, json.loads(sent)


def upload(app: App, path: Path) -> str:
    with path.open("rb") as file:
        sent = httpx.post(f"{app.address}/gradio_api/upload", files={"files": (path.name, file)})
    return str(sent.json()[0])


def test_gradio_client_gets_what_the_command_line_gives(
    app: App, uploads: Path, clips: list[Path], expected: list[dict[str, Any]]
) -> None:
    client = Client(app.address, verbose=False)
    found = client.predict(files=[handle_file(clip) for clip in clips], api_name="/predict")
    assert len(found) == 20
    assert_same(found, expected)


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is missing")
def test_the_curl_commands_of_the_readme_get_it_too(
    app: App, uploads: Path, clips: list[Path]
) -> None:
    (script,) = readme_blocks("sh")
    script = script.replace("http://127.0.0.1:7860", app.address)
    assert script.count("@a.wav") == 1
    for clip in clips:
        done = subprocess.run(
            ["bash", "-ec", script.replace("@a.wav", f"@{clip}")],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.stdout.startswith("event: complete\ndata: "), done
        ((entry,),) = json.loads(done.stdout.partition("data: ")[2])
        assert_same(entry, command_line(clip)[0])


def readme_blocks(mark: str) -> list[str]:
    text = (ROOT / "serdemo/ui/README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{mark}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_live_client_of_the_readme_ends_with_the_label_of_the_file(
    app: App, uploads: Path, clips: list[Path], expected: list[dict[str, Any]], tmp_path: Path
) -> None:
    (code,) = readme_blocks("py live")
    assert len(code.splitlines()) <= 40
    script = tmp_path / "live.py"
    script.write_text(code, encoding="utf-8")
    for name in ("english-quick-high-plain.wav", "polish-even-fast.wav"):
        (place,) = (number for number, clip in enumerate(clips) if clip.name == name)
        done = subprocess.run(
            [sys.executable, script, clips[place], app.address],
            capture_output=True,
            text=True,
            timeout=200,
        )
        *states, label = done.stdout.splitlines()
        assert label == expected[place]["label"], done
        seconds = [float(state.split()[0]) for state in states]
        assert seconds == sorted(seconds) and len(states) == np.ceil(
            2 * expected[place]["duration_s"]
        )
        assert seconds[-1] == pytest.approx(expected[place]["duration_s"], abs=0.02)


def test_an_agent_lists_the_tools_and_calls_them(
    app: App, uploads: Path, clips: list[Path]
) -> None:
    mcp = pytest.importorskip("mcp")
    from mcp.client.streamable_http import streamablehttp_client

    data = base64.b64encode(clips[1].read_bytes()).decode()
    inline = f"data:audio/wav;base64,{data}"
    address = f"{app.address}/gradio_api/file={upload(app, clips[0])}"

    async def use() -> tuple[Any, ...]:
        async with (
            streamablehttp_client(f"{app.address}/gradio_api/mcp/") as (read, write, _),
            mcp.ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = (await session.list_tools()).tools
            called = [
                await session.call_tool("predict", {"files": files})
                for files in ([address], [inline], ["/etc/passwd"], [])
            ]
            return tools, called, await session.call_tool("models", {})

    tools, called, models = run_async(use())
    assert [tool.name for tool in tools] == ["predict", "embed", "compare", "models"]
    described = {tool.name: tool for tool in tools}
    assert "does not say what the person feels" in described["predict"].description
    assert described["predict"].inputSchema["required"] == ["files"]
    entries = [json.loads(result.content[0].text)[0] for result in called[:3]]
    assert_same(entries[0], command_line(clips[0])[0])
    assert_same(entries[1], {**command_line(clips[1])[0], "file": "sound.wav"})
    assert set(entries[2]) == {"file", "error"}
    assert called[3].isError and "files" in called[3].content[0].text
    assert json.loads(models.content[0].text)[0]["default"] is True


FILE = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}


@pytest.mark.parametrize(
    ("name", "data", "kind", "words"),
    [
        ("predict", [[FILE]], "complete", "no file that was uploaded"),
        ("predict", [[{**FILE, "path": "http://127.0.0.1:1/a.wav"}]], "complete", "no file"),
        ("predict", [[{**FILE, "url": "file:///etc/passwd"}]], "complete", "no file"),
        ("predict", [[{"a": {"b": [[[]]]}}, 5, None]], "complete", "no file"),
        ("predict", [[FILE] * 200_000], "error", "at most 50"),
        ("predict", [None], "error", "at least one"),
        ("predict", [], "error", "arguments"),
        ("predict", [[FILE], 1], "error", "same_speaker"),
        ("predict", [[FILE], False, ["compact"]], "error", "model"),
        ("embed", [[FILE], "../../etc"], "error", "no model"),
        ("compare", [[FILE], {}, []], "error", "model"),
        ("live_open", ["44100"], "error", "rate"),
        ("live_push", ["none", 0, ""], "error", "closed"),
        ("no_such", [], "404", "no endpoint"),
    ],
)
def test_hostile_calls_end_in_a_sentence(
    app: App, uploads: Path, name: str, data: Any, kind: str, words: str
) -> None:
    found, sent = call(app, name, data)
    text = json.dumps(sent)
    assert found == kind and words in text and "Traceback" not in text and ".py" not in text


def test_no_call_skips_the_queue(app: App, uploads: Path) -> None:
    direct = httpx.post(f"{app.address}/gradio_api/run/predict", json={"data": [[FILE]]})
    assert direct.status_code == 404


@pytest.mark.parametrize("route", ["queue/join", "run/predict"])
def test_a_call_by_a_number_that_no_function_has(app: App, uploads: Path, route: str) -> None:
    """As a closed page's last call comes, or that of a page older than the server."""
    sent = {"data": [], "fn_index": 99_999, "session_hash": "elsewhere"}
    response = httpx.post(f"{app.address}/gradio_api/{route}", json=sent)
    words = "load the page again" if route == "queue/join" else "no endpoint"
    assert response.status_code == 404 and words in response.json()["detail"]


def test_large_files_and_those_that_are_no_sound(app: App, uploads: Path, tmp_path: Path) -> None:
    large, text = tmp_path / "large.wav", tmp_path / "text.wav"
    large.write_bytes(bytes(21 * MIB))
    text.write_text("no sound at all")
    sent = [{**FILE, "path": upload(app, path)} for path in (large, text)]
    # As a visitor does: a proxy names whom it calls for.
    at = f"{app.address}/gradio_api/call/predict"
    visitor = {"x-forwarded-for": "192.0.2.1"}
    begun = httpx.post(at, json={"data": [sent]}, headers=visitor, timeout=60).json()
    with httpx.stream("GET", f"{at}/{begun['event_id']}", timeout=120) as response:
        body = response.read().decode()
    ((large_entry, text_entry),) = json.loads(re.findall(r"event: complete\ndata: (.*)\n", body)[0])
    assert "20 MB" in large_entry["error"] and text_entry["file"] == "text.wav"
    assert text_entry["error"].startswith("text.wav")


def test_a_program_that_leaves_leaves_no_file(app: App, uploads: Path, clips: list[Path]) -> None:
    sent = [{**FILE, "path": upload(app, clip)} for clip in clips[:5]]
    at = f"{app.address}/gradio_api/call/predict"
    begun = httpx.post(at, json={"data": [sent]}, timeout=60).json()
    with httpx.stream("GET", f"{at}/{begun['event_id']}", timeout=5):
        pass  # and gone
