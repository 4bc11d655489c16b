"""Models pushed to and pulled from a hub: a local server that speaks its HTTP interface."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support import hub_server
from support.command import Ran, here, there
from support.hub_server import Hub, Repo
from support.transformers_models import save

from serdemo.nn import checkpoint
from serdemo.schema.files import read_json

REPO = "me/tiny"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hub_server.serving() as served:
        yield served


@pytest.fixture
def place(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_checkpoint, tmp_path / "models" / "tiny")
    (tmp_path / "models" / "tiny" / "README.md").write_text("---\nlicense: other\n---\n# tiny\n")
    return tmp_path


@pytest.fixture
def models(hub: Hub, place: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run `serdemo models` here, where the library has this hub for the only one."""
    monkeypatch.chdir(place)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(place / "none"))

    def run(*words: str, token: str | None = hub_server.TOKEN) -> Ran:
        for name, value in hub.environment(place / "home", token).items():
            monkeypatch.setenv(name, value)
        return here("models", *words)

    return run


def held(place: Path, name: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (place / "models" / name).iterdir()}


@pytest.mark.slow
def test_there_and_back(hub: Hub, place: Path, models: Callable[..., Ran]) -> None:
    environment = hub.environment(place / "home")
    done = there("models", "push", "tiny", REPO, cwd=place, **environment)
    assert done.code == 0, done.err
    assert "for you alone to see" in done.out
    repo = hub.repos[REPO]
    assert repo.private
    ((first, files),) = repo.commits
    assert files == held(place, "tiny")
    assert len(hub.large) == 1  # the weights went through LFS, the rest inside the commit

    files["notes.bin"] = b"not of the model"
    again = models("push", "tiny", REPO)
    assert again.code == 2 and "holds a model already: add --force" in again.err
    (place / "models" / "tiny" / "README.md").write_text("# changed\n")
    assert models("push", "tiny", REPO, "--force").code == 0
    assert repo.commits[-1][1]["README.md"] == b"# changed\n"

    hub.asked.clear()
    done = there("models", "pull", REPO, "--name", "back", cwd=place, **environment)
    assert done.code == 0, done.err
    assert repo.commits[-1][0] in done.err
    assert held(place, "back") == held(place, "tiny")
    assert not any("notes.bin" in path for _, path in hub.asked)
    pinned = models("pull", REPO, "--name", "first", "--revision", first)
    assert pinned.code == 0 and held(place, "first")["README.md"].endswith(b"# tiny\n")
    taken = models("pull", REPO)
    assert taken.code == 2 and "models/tiny already" in taken.err


def test_weights_in_several_files_replace_one_file_and_back(
    hub: Hub, place: Path, models: Callable[..., Ran]
) -> None:
    model, description = checkpoint.load(place / "models" / "tiny")
    checkpoint.save(place / "models" / "big", model, description, max_file_bytes=4000)
    for name in ("tiny", "big", "tiny"):
        done = models("push", name, REPO, "--force")
        assert done.code == 0, done.err
        files = hub.repos[REPO].commits[-1][1]
        assert {path for path in files if "safetensors" in path} == {
            path for path in held(place, name) if "safetensors" in path
        }
        assert models("pull", REPO, "--name", f"{name}-back", "--force").code == 0
        back, own = held(place, f"{name}-back"), held(place, name)
        assert {path: back[path] for path in own} == own


def test_who_may_see_it_is_never_wider_than_asked(hub: Hub, models: Callable[..., Ran]) -> None:
    hub.repos["me/open"] = Repo(private=False)
    done = models("push", "tiny", "me/open")
    assert done.code == 2 and "me/open is public: add --public" in done.err
    assert hub.repos["me/open"].commits == []
    assert models("push", "tiny", "me/open", "--public").code == 0
    hub.repos["me/shut"] = Repo(private=True)
    done = models("push", "tiny", "me/shut", "--public")
    assert done.code == 2 and "me/shut is private" in done.err
    assert models("push", "tiny", "me/new", "--public").code == 0
    assert not hub.repos["me/new"].private


@pytest.mark.parametrize(
    ("words", "token", "code", "sentence"),
    [
        (("push", "tiny", REPO), None, 2, "set HF_TOKEN"),
        (("push", "tiny", REPO), hub_server.READ_ONLY, 1, "the right to write"),
        (("push", "tiny", "a/b/c"), hub_server.TOKEN, 2, "give OWNER/NAME"),
        (("push", "nowhere", REPO), hub_server.TOKEN, 1, "no model 'nowhere'"),
        (("pull", "me/none"), hub_server.TOKEN, 1, "no model me/none on the hub"),
        (("pull", "me/secret"), None, 1, "no model me/secret on the hub that can be seen"),
        (("pull", "me/bare"), hub_server.TOKEN, 1, "it has no model.json"),
        (("pull", "me/bad", "--name", "x"), hub_server.TOKEN, 1, "not a safetensors file"),
        (("pull", "me/bare", "--revision", "v9"), hub_server.TOKEN, 1, "no such revision"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence(
    hub: Hub,
    place: Path,
    models: Callable[..., Ran],
    words: tuple[str, ...],
    token: str | None,
    code: int,
    sentence: str,
) -> None:
    hub.repos["me/secret"] = Repo(private=True)
    hub.repos["me/bare"] = Repo()
    hub.repos["me/bare"].add({"README.md": b"#", "pytorch_model.bin": b"pickle"})
    hub.repos["me/bad"] = Repo()
    hub.repos["me/bad"].add({**held(place, "tiny"), "model.safetensors": b"\x80\x04no"})
    done = models(*words, token=token)
    assert (done.code, sentence in done.err) == (code, True), done.err
    assert done.out == "" and done.err.count("\n") == 1
    assert not any(path.endswith(".bin") for _, path in hub.asked)
    assert [path.name for path in (place / "models").iterdir()] == ["tiny"]


def test_one_too_large_is_not_fetched(hub: Hub, place: Path, models: Callable[..., Ran]) -> None:
    hub.repos[REPO] = Repo()
    hub.repos[REPO].add(held(place, "tiny"))
    hub.claimed_size = 10**10
    done = models("pull", REPO, "--name", "x")
    assert done.code == 1 and "larger than 8000 MB" in done.err
    assert not any("resolve" in path for _, path in hub.asked)


def test_a_model_of_transformers_is_pulled_and_used_by_its_hub_id(
    hub: Hub, place: Path, models: Callable[..., Ran]
) -> None:
    folder = save("hubert", place / "theirs", ("LABEL_0", "LABEL_1"))
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub.repos["them/ser"] = Repo()
    hub.repos["them/ser"].add({**files, "training_args.bin": b"x", "README.md": b"# theirs"})
    refused = models("pull", "them/ser")
    assert refused.code == 1 and "ser does not say what its label LABEL_0 means" in refused.err
    (place / "map.json").write_text('{"LABEL_0": "ang", "LABEL_1": "contempt"}')
    done = models("pull", "them/ser", "--label-map", "map.json")
    assert done.code == 0, done.err
    assert {*held(place, "ser")} == {*files, "README.md", "label_map.json"}
    assert not any("training_args" in path for _, path in hub.asked)
    soundfile.write(place / "a.wav", np.zeros(16_000), 16_000)
    for name in ("them/ser", "models/ser"):
        answered = here(
            *("predict", "a.wav", "--json", "--checkpoint", name, "--label-map", "map.json")
        )
        assert answered.code == 0, answered.err
        assert '"contempt"' in answered.out and '"angry"' in answered.out
    assert (place / "models" / "them--ser" / "label_map.json").is_file()

    hub.repos["them/pickle"] = Repo()
    files["pytorch_model.bin"] = files.pop("model.safetensors")
    hub.repos["them/pickle"].add(files)
    pickled = models("pull", "them/pickle")
    assert pickled.code == 1 and "as a pickle, which may run code, and is not down" in pickled.err


@pytest.mark.slow
def test_a_hub_that_fails_or_is_not_there(
    hub: Hub, place: Path, models: Callable[..., Ran]
) -> None:
    hub.answer = 403
    done = models("pull", REPO, "--name", "x")
    assert done.code == 1 and "may not do that" in done.err
    environment = {**hub.environment(place / "home"), "HF_ENDPOINT": "http://127.0.0.1:9"}
    done = there("models", "pull", REPO, "--name", "x", cwd=place, **environment)
    assert done.code == 1 and "could not be reached" in done.err
    assert done.err.count("\n") == 1


@pytest.fixture
def train(
    models: Callable[..., Ran], tiny_values: dict[str, Any], corpus_root: Path, place: Path
) -> Callable[..., Ran]:
    """Train for one epoch from a model that is named."""
    values = {**tiny_values, "epochs": 1}
    flags = [word for k, v in values.items() for word in (f"--{k.replace('_', '-')}", str(v))]

    def run(start: str, name: str, *words: str) -> Ran:
        models("list")  # the environment of this hub
        asked = ("--corpus", corpus_root, "--run", place / "runs" / name, "--start", start)
        return here("train", "supervised", *asked, *flags, *words)

    return run


def test_a_run_begins_with_a_model_of_the_hub(
    hub: Hub, place: Path, train: Callable[..., Ran]
) -> None:
    hub.repos[REPO] = Repo(private=True)
    hub.repos[REPO].add(held(place, "tiny"))
    assert train(REPO, "one").code == 0
    kept = place / "models" / "me--tiny"
    assert held(place, "me--tiny") == held(place, "tiny")
    config = read_json(place / "runs" / "one" / "config.json")
    assert config["options"]["init_from"] == str(kept)
    fetched = len(hub.asked)
    assert train(REPO, "two").code == 0 and len(hub.asked) == fetched  # what is here is not fetched
    for start in ("models/me--tiny", "runs/one", str(kept)):
        done = train(start, f"from-{Path(start).name}-{len(start)}", "--stop-after", "0")
        assert done.code == 0, done.err
    assert len(hub.asked) == fetched


@pytest.mark.parametrize(
    ("start", "code", "sentence"),
    [
        ("me/none", 1, "no model me/none on the hub"),
        ("me/bad", 1, "not a safetensors file"),
        ("models/none", 1, "There is no checkpoint"),  # a folder's name misspelt
        ("a/b/c", 1, "There is no checkpoint"),
        ("none", 1, "There is no checkpoint"),
    ],
)
def test_a_model_to_begin_with_that_cannot_be_had_is_a_sentence(
    hub: Hub, place: Path, train: Callable[..., Ran], start: str, code: int, sentence: str
) -> None:
    hub.repos["me/bad"] = Repo()
    hub.repos["me/bad"].add({**held(place, "tiny"), "model.safetensors": b"\x80\x04no"})
    done = train(start, "run")
    assert (done.code, sentence in done.err) == (code, True), done.err
    assert done.err.count("\n") == 1 and not (place / "runs" / "run").exists()
    assert [path.name for path in (place / "models").iterdir()] == ["tiny"]
