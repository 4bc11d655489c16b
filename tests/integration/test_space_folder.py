"""The folders for hosts in an environment of their own: a Gradio Space, and what a Dockerfile makes.

The environment has the distributions that the Space's `requirements.txt` pins, linked from those beside
the tests, so that nothing is downloaded: an installation takes minutes and gigabytes.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file
from support import distributions, dockerfile
from support.app_server import ROOT, App
from support.command import here

from serdemo.inference.predictor import Predictor
from serdemo.ui.shell.permissions import NO_IMPORT, NO_TRAINING

pytestmark = pytest.mark.slow

EXAMPLE = Path("serdemo", "audio", "examples", "polish-even.flac")
VISITOR = {"X-Forwarded-For": "203.0.113.7"}


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("host") / "space"
    assert here("space", "--out", folder).code == 0
    return folder


@pytest.fixture(scope="module")
def python(space: Path) -> str:
    """The Python of an environment with the Space's requirements alone."""
    return str(distributions.environment(space.parent / "venv", space / "requirements.txt"))


def surroundings(folder: Path) -> dict[str, str]:
    """Nothing of the owner's own: a home without files, the defaults of every setting."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    return {"HOME": str(home), "SERDEMO_TRAINING": "", "SERDEMO_IMPORT": "", "SERDEMO_DATA": ""}


@pytest.fixture(scope="module")
def app(space: Path, python: str) -> Iterator[App]:
    started = App(space.parent, surroundings(space.parent), [python, "app.py"], space)
    started.wait()
    yield started
    started.end()


def test_the_environment_is_that_of_the_requirements(space: Path, python: str) -> None:
    code = (
        "import importlib.metadata as m, json;"
        "print(json.dumps({d.metadata['Name']: d.version for d in m.distributions()}))"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, cwd=space)
    installed = {distributions.normal(name) for name in json.loads(done.stdout)}
    assert "pytest" not in installed and "serdemo" not in installed
    assert {"gradio", "torch", "transformers"} <= installed


def test_the_page_answers_from_its_folder_alone(app: App, space: Path) -> None:
    patient = {"timeout": 60}
    client = Client(app.address, verbose=False, headers=VISITOR, httpx_kwargs=patient)
    (entry,) = client.predict(files=[handle_file(ROOT / EXAMPLE)], api_name="/predict")
    expected = Predictor(device="cpu").predict(ROOT / EXAMPLE)
    assert entry["label"] == expected.label
    assert entry["confidence"] == pytest.approx(expected.confidence, abs=1e-3)
    listed = json.loads((space / "files.json").read_text())
    found = {
        path.relative_to(space).as_posix()
        for path in space.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert found == {*listed, "files.json"}  # it writes nothing beside itself
    assert "Traceback" not in app.log.read_text()


def pressed(address: str, button: str, **filled: Any) -> str:
    """What a visitor's press of a button is answered, with these values of widgets by their elem_id."""
    with httpx.Client(base_url=address, headers=VISITOR, timeout=60) as page:
        config = page.get("/config").json()
        widgets = {one["id"]: one["props"] for one in config["components"]}
        (call,) = (
            one
            for one in config["dependencies"]
            if any(widgets.get(at, {}).get("elem_id") == button for at, _ in one["targets"])
            and one["backend_fn"]
        )
        data = [
            filled.get(str(widgets[at].get("elem_id")).replace("-", "_"), widgets[at].get("value"))
            for at in call["inputs"]
        ]
        session = {"session_hash": button}
        page.post("/gradio_api/queue/join", json={"fn_index": call["id"], "data": data, **session})
        with page.stream("GET", "/gradio_api/queue/data", params=session) as events:
            return "\n".join(line for line in events.iter_lines() if "process_" in line)


def test_a_visitor_may_not_train_or_import(app: App) -> None:
    assert NO_IMPORT in pressed(app.address, "models-pull", models_repo="me/model")
    for button in ("finetune-start", "finetune-check"):
        assert NO_TRAINING in pressed(app.address, button)


def test_a_run_finds_its_command_there(space: Path, python: str) -> None:
    """A run is `python -m serdemo train from-request` in the folder of the page."""
    words = [python, "-m", "serdemo", "train", "from-request", "no-request.json"]
    environment = {**os.environ, **surroundings(space.parent)}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(words, capture_output=True, text=True, cwd=space, env=environment)
    assert done.returncode in (1, 2) and done.stderr.count("\n") == 1, done.stderr
    assert "no-request.json" in done.stderr


def test_a_wrong_setting_ends_in_one_sentence(space: Path, python: str) -> None:
    environment = {**os.environ, **surroundings(space.parent), "SERDEMO_TRAINING": "maybe"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [python, "app.py"], capture_output=True, text=True, cwd=space, env=environment, timeout=300
    )
    assert done.returncode == 2
    assert done.stderr == "serdemo: SERDEMO_TRAINING is 'maybe': set it to on or off.\n"


def test_what_the_dockerfile_copies_serves_the_page(tmp_path: Path, python: str) -> None:
    """Its steps without Docker: the environment above in place of the RUN instructions, which install the
    same lock's versions."""
    recipe, place = ROOT / "Dockerfile", tmp_path / "app"
    dockerfile.copy(recipe, place)
    names = {path.name for path in place.iterdir()}
    assert names == {"app.py", "LICENSE", "checkpoints", "serdemo", "pyproject.toml", "uv.lock"}
    assert not list(place.rglob("events.jsonl")) and not (place / "serdemo/experiments").exists()
    (tmp_path / "runs").mkdir()
    environment = dockerfile.variables(recipe)
    assert environment.pop("SERDEMO_RUNS") == "/runs"
    assert environment["GRADIO_SERVER_NAME"] == "0.0.0.0"
    environment |= {"PATH": os.environ["PATH"], "SERDEMO_RUNS": str(tmp_path / "runs")}
    del environment["GRADIO_SERVER_PORT"]
    program, *words = dockerfile.command(recipe, "CMD")
    assert program == "python"
    app = App(tmp_path, {**surroundings(tmp_path), **environment}, [python, *words], place)
    try:
        app.wait()
        program, *words = dockerfile.command(recipe, "HEALTHCHECK")
        port = {"GRADIO_SERVER_PORT": app.address.rpartition(":")[2]}
        until = time.monotonic() + 60  # while the model is loaded the page is not healthy yet
        while subprocess.run([python, *words], env={**os.environ, **port}, timeout=60).returncode:
            assert time.monotonic() < until, "the page does not become healthy"
            time.sleep(0.5)
        assert not list(place.rglob("__pycache__"))  # it needs to write nothing there
    finally:
        app.end()


def test_the_dockerfile_installs_the_lock_without_cuda_for_a_user_who_is_not_root() -> None:
    recipe = ROOT / "Dockerfile"
    instructions = list(dockerfile.steps(recipe))
    assert instructions[0] == ("FROM", "python:3.12-slim")
    assert ("USER", "serdemo") in instructions and ("VOLUME", "/runs") in instructions
    run = next(text for kind, text in instructions if kind == "RUN" and "uv sync" in text)
    options = run.partition("uv sync")[2].partition("&&")[0].split()
    shared = [
        one for one in options if one in ("--frozen", "--extra", "cpu", "--no-default-groups")
    ]
    assert shared == ["--frozen", "--extra", "cpu", "--no-default-groups"]
    done = subprocess.run(
        ["uv", "export", *shared, "--no-emit-project", "--no-hashes", "--offline"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    assert any(line.startswith("torch==2.11.0+cpu") for line in lines), done.stderr
    assert not [line for line in lines if line.startswith(("nvidia-", "cuda-", "triton"))]
