from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.small_encoders import KINDS

from serdemo.nn import checkpoint, encoders
from serdemo.nn.checkpoint_files import DESCRIPTION, MAX_HEADER, WEIGHTS
from serdemo.nn.description import FORMAT, Description, read_description
from serdemo.nn.encoders.options import SPECTRAL, PretrainedOptions
from serdemo.schema import files
from serdemo.schema.errors import SerdemoError


@pytest.fixture
def folder(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint of the test's own, called `mine`."""
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "mine"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_round_trip_in_half_precision(tiny_checkpoint: Path, tmp_path: Path) -> None:
    model, description = checkpoint.load(tiny_checkpoint)
    assert not model.training
    assert model.labels == description.labels == ("angry", "happy", "sad")
    assert (description.temperature, description.unsure_below) == (1.5, 0.2)
    assert description.trained_on == {"simple": ["anna", "bert"]}
    for name, value in load_file(tiny_checkpoint / WEIGHTS).items():
        assert value.dtype == torch.float16, name
    for name, value in model.state_dict().items():
        assert value.dtype == torch.float32, name
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    checkpoint.save(tmp_path / "half", model, description)
    checkpoint.save(tmp_path / "full", model, description, bits=32)
    for name, value in checkpoint.load(tmp_path / "half")[0].state_dict().items():
        assert torch.equal(value, model.state_dict()[name].half().float()), name
    again, said = checkpoint.load(tmp_path / "full")
    for name, value in again.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name
    assert said == description


def test_the_description_is_read_without_the_weights(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"later")
    assert read_description(folder).name == "tiny"


def test_a_folder_may_be_given_as_a_dot(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    model, description = checkpoint.load(".")
    checkpoint.save(Path(), model, replace(description, name="renamed"))
    assert read_description(folder).name == "renamed"


def test_other_files_of_the_folder_are_kept(folder: Path) -> None:
    (folder / "README.md").write_text("card", encoding="utf-8")
    model, description = checkpoint.load(folder)
    checkpoint.save(folder, model, replace(description, name="second"))
    assert set(contents(folder)) == {WEIGHTS, DESCRIPTION, "README.md"}
    assert (folder / "README.md").read_text(encoding="utf-8") == "card"
    assert read_description(folder).name == "second"


# What can be wrong with a checkpoint folder, each with the sentence that must say so.
Damage = Callable[[Path], Any]
GONE = object()


def edit(**changes: Any) -> Damage:
    def change(folder: Path) -> None:
        values = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8")) | changes
        left = {name: value for name, value in values.items() if value is not GONE}
        (folder / DESCRIPTION).write_text(json.dumps(left), encoding="utf-8")

    return change


def text(content: str) -> Damage:
    return lambda folder: (folder / DESCRIPTION).write_text(content, encoding="utf-8")


def encoder(**changes: Any) -> Damage:
    size = dict(width=16, layers=1, heads=2, expansion=1, kernel=3)
    return edit(encoder_options={**size, **changes})


def tensors(change: Callable[[dict[str, torch.Tensor]], Any]) -> Damage:
    def apply(folder: Path) -> None:
        state = load_file(folder / WEIGHTS)
        # On Windows a file that is mapped cannot be written.
        state = {name: value.clone() for name, value in state.items()}
        change(state)
        save_file(state, folder / WEIGHTS)

    return apply


def cut(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])


def weights(data: bytes) -> Damage:
    return lambda folder: (folder / WEIGHTS).write_bytes(data)


BIAS = "classifier.bias"
DAMAGED = r"model\.safetensors is not a safetensors file or is damaged"
BAD: dict[str, tuple[Damage, str]] = {
    "no-folder": (shutil.rmtree, "There is no checkpoint mine: the folder does not exist"),
    "no-weights": (lambda f: (f / WEIGHTS).unlink(), "mine is not a checkpoint: it needs"),
    "no-description": (lambda f: (f / DESCRIPTION).unlink(), "mine is not a checkpoint: it needs"),
    "weights-cut-off": (cut, DAMAGED),
    "weights-empty": (weights(b""), DAMAGED),
    "weights-of-noise": (weights(b"\x93" * 4000), DAMAGED),
    "weights-of-huge-header": (weights(b"\xff" * 7 + b"\x7f{}"), DAMAGED),
    "weights-of-a-long-list": (
        weights((MAX_HEADER + 10).to_bytes(8, "little") + b'{"a":' + b"[" * MAX_HEADER + b"]" * 9),
        "its list of tensors is too long",
    ),
    "weights-pickled": (weights(pickle.dumps({"a": 1})), DAMAGED),
    "lost-tensor": (tensors(lambda s: s.pop(BIAS)), f"does not fit .* lacks tensor {BIAS}"),
    "extra-tensor": (
        tensors(lambda s: s.update(backdoor=torch.zeros(1))),
        "does not fit .* has an unexpected tensor backdoor",
    ),
    "wrong-shape": (
        tensors(lambda s: s.update({BIAS: torch.zeros(5)})),
        rf"does not fit .* {BIAS} is \(5,\), not \(3,\)",
    ),
    "nan": (tensors(lambda s: s[BIAS].fill_(torch.nan)), f"damaged: {BIAS} .* not finite"),
    "infinite": (tensors(lambda s: s[BIAS].fill_(torch.inf)), f"damaged: {BIAS} .* not finite"),
    "beyond-float32": (
        tensors(lambda s: s.update({BIAS: torch.full((3,), 1e300, dtype=torch.float64)})),
        f"damaged: {BIAS} .* not finite",
    ),
    "integers": (
        tensors(lambda s: s.update({BIAS: torch.ones(3, dtype=torch.int64)})),
        f"damaged: {BIAS} is of type torch.int64",
    ),
    "eight-bits": (
        tensors(lambda s: s.update({BIAS: torch.ones(3).to(torch.float8_e4m3fn)})),
        f"damaged: {BIAS} is of type torch.float8",
    ),
    "complex": (
        tensors(lambda s: s.update({BIAS: torch.ones(3, dtype=torch.complex64)})),
        f"damaged: {BIAS} is of type torch.complex64",
    ),
    "not-json": (text("{'labels'"), r"model\.json cannot be read as JSON"),
    "empty-json": (text(""), r"model\.json cannot be read as JSON"),
    "deep-json": (text("[" * 100_000), r"model\.json cannot be read as JSON"),
    "huge-json": (text(" " * 20_000_001), r"model\.json cannot be read as JSON: too large"),
    "binary-json": (
        lambda f: (f / DESCRIPTION).write_bytes(b"\xff\xfe\x00"),
        r"model\.json cannot be read as JSON",
    ),
    "json-list": (text("[1, 2]"), "is no JSON table"),
    "no-format": (edit(format=GONE), "checkpoint format None; this version reads 1 and 2"),
    "later-format": (edit(format=3), "format 3; this version reads 1 and 2, so update serdemo"),
    "unknown-entry": (edit(magic=1), "has an unknown entry 'magic'"),
    "no-labels-entry": (edit(labels=GONE), "has no 'labels'"),
    "no-encoder-entry": (edit(encoder=GONE), "has no 'encoder'"),
    "labels-text": (edit(labels="angry"), "'labels' in model.json is malformed"),
    "labels-empty": (edit(labels=[]), "has an unexpected tensor classifier"),
    "labels-twice": (edit(labels=["sad", "sad", "angry"]), "its labels must be different words"),
    "labels-numbers": (edit(labels=[1, 2, 3]), "its labels must be different words"),
    "labels-lists": (edit(labels=[["a"], ["b"], ["c"]]), "its labels must be different words"),
    "labels-nameless": (edit(labels=["", "a", "b"]), "its labels must be different words"),
    "labels-one-more": (
        edit(labels=["a", "b", "c", "d"]),
        r"classifier\.bias is \(3,\), not \(4,\)",
    ),
    "unknown-encoder": (edit(encoder="giant"), "cannot be built: There is no encoder 'giant'"),
    "encoder-number": (edit(encoder=7), "'encoder' in model.json is malformed"),
    "encoder-too-narrow": (encoder(width=2), "cannot be built: --width must lie between 16"),
    "encoder-too-deep": (encoder(layers=10**9), "cannot be built: --layers must lie between"),
    "encoder-of-text": (encoder(width="16"), "cannot be built: --width must be a whole number"),
    "encoder-huge-number": (encoder(dropout=10**400), "cannot be built: --dropout must lie"),
    "encoder-odd-heads": (encoder(heads=3), "cannot be built: --heads must divide --width"),
    "encoder-even-kernel": (encoder(kernel=4), "cannot be built: --kernel must be odd"),
    "encoder-other-size": (encoder(width=32), "does not fit its description"),
    "encoder-unknown-option": (encoder(wings=2), "cannot be built: There is no option 'wings'"),
    "heads-unknown-option": (edit(head_options={"eyes": 2}), "There is no option 'eyes'"),
    "options-list": (edit(encoder_options=[1]), "'encoder_options' in model.json is malformed"),
    "temperature-zero": (edit(temperature=0), "its temperature must be 0.001 to 1000"),
    "temperature-nan": (edit(temperature=float("nan")), "its temperature must be"),
    "temperature-huge": (edit(temperature=10**400), "its temperature must be"),
    "temperature-text": (edit(temperature="warm"), "'temperature' in model.json is malformed"),
    "temperature-true": (edit(temperature=True), "'temperature' in model.json is malformed"),
    "unsure-nan": (edit(unsure_below=float("nan")), "its unsure_below must be 0 to 1"),
    "unsure-above-one": (edit(unsure_below=1.5), "its unsure_below must be 0 to 1"),
    "other-rate": (edit(sample_rate=8000), "made for 8000 Hz; serdemo works at 16000 Hz"),
    "speakers-number": (edit(trained_on={"x": 5}), "'trained_on' must map a corpus to its"),
    "speakers-numbers": (edit(selected_on={"x": [5]}), "'selected_on' must map a corpus to its"),
    "name-null": (edit(name=None), "'name' in model.json is malformed"),
}


@pytest.mark.parametrize(("damage", "sentence"), BAD.values(), ids=BAD)
def test_a_bad_checkpoint_is_one_sentence(folder: Path, damage: Damage, sentence: str) -> None:
    damage(folder)
    with pytest.raises(SerdemoError, match=sentence) as caught:
        checkpoint.load(folder)
    assert "\n" not in str(caught.value)


class Trap:
    """Unpickling this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("writer", ["pickle", "torch"])
def test_a_pickle_is_never_run(folder: Path, tmp_path: Path, writer: str) -> None:
    sprung = tmp_path / "sprung"
    if writer == "pickle":
        (folder / WEIGHTS).write_bytes(pickle.dumps(Trap(sprung)))
    else:
        torch.save({"classifier.bias": Trap(sprung)}, folder / WEIGHTS)
    with pytest.raises(SerdemoError, match=DAMAGED):
        checkpoint.load(folder)
    assert not sprung.exists()
    pickle.loads(pickle.dumps(Trap(sprung)))
    assert sprung.exists()  # the trap does work


def full_disk(*args: Any, **more: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def half_written(state: dict[str, torch.Tensor], path: Path) -> None:
    path.write_bytes(b"half")
    full_disk()


@pytest.mark.parametrize("broken", ["weights", "description"])
def test_a_full_disk_leaves_what_was_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    before = contents(folder)
    model, description = checkpoint.load(folder)
    if broken == "weights":
        monkeypatch.setattr("serdemo.nn.weights.save_file", half_written)
    else:
        monkeypatch.setattr(checkpoint.Path, "write_text", full_disk)
    with pytest.raises(SerdemoError, match=r"could not be written.*No space left on device"):
        checkpoint.save(folder, model, replace(description, name="new"))
    monkeypatch.undo()
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["mine"]


def test_an_interrupt_leaves_what_was_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(folder)
    model, description = checkpoint.load(folder)

    def interrupted(state: dict[str, torch.Tensor], path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("serdemo.nn.weights.save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(folder, model, description)
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["mine"]


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_failed_renaming_leaves_what_was_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    before = contents(folder)
    model, description = checkpoint.load(folder)
    rename, calls = os.replace, []

    def replace_some(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == failing:
            raise PermissionError(errno.EACCES, "Permission denied")
        rename(source, target)

    monkeypatch.setattr(os, "replace", replace_some)
    with pytest.raises(SerdemoError, match=r"could not be written.*Permission denied"):
        checkpoint.save(folder, model, replace(description, name="new"))
    monkeypatch.undo()
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["mine"]


def test_what_a_kill_left_aside_is_put_back(folder: Path) -> None:
    aside = folder.with_name(".mine.old")
    folder.rename(aside)
    (folder.with_name(".mine.part")).mkdir()
    model, description = checkpoint.load(folder)
    assert description.name == "tiny"
    assert aside.exists()  # reading moves nothing: the one who writes may be at work
    checkpoint.save(folder, model, replace(description, name="new"))
    assert [path.name for path in folder.parent.iterdir()] == ["mine"]
    # Killed a moment later, both are there, and the new one counts.
    shutil.copytree(folder, aside)
    assert read_description(folder).name == "new"
    checkpoint.save(folder, model, replace(description, name="newer"))
    assert read_description(folder).name == "newer"
    assert [path.name for path in folder.parent.iterdir()] == ["mine"]


def test_a_file_in_the_place_of_the_folder(tmp_path: Path, tiny_checkpoint: Path) -> None:
    model, description = checkpoint.load(tiny_checkpoint)
    (tmp_path / "taken").write_text("mine", encoding="utf-8")
    with pytest.raises(SerdemoError, match="taken could not be written"):
        checkpoint.save(tmp_path / "taken", model, description)
    assert (tmp_path / "taken").read_text(encoding="utf-8") == "mine"


def test_a_state_is_kept_bit_for_bit(tmp_path: Path) -> None:
    assert checkpoint.load_state(tmp_path / "run" / "resume") is None
    base = torch.randn(4, 6)
    tensors = {
        "shared": base[:2],
        "turned": base.T,
        "whole": torch.arange(5),
        "step": torch.tensor(3.0),
        "random": torch.get_rng_state(),
    }
    values = {"at": {"epoch": 2, "best": None}, "split": "abc"}
    checkpoint.save_state(tmp_path / "run" / "resume", tensors, values)
    found = checkpoint.load_state(tmp_path / "run" / "resume")
    assert found is not None
    assert found[1] == values
    assert set(found[0]) == set(tensors)
    for name, value in tensors.items():
        assert found[0][name].dtype == value.dtype
        assert torch.equal(found[0][name], value)
    # Tensors that still map their file would keep Windows from replacing it.
    maps = Path("/proc/self/maps")
    assert not maps.exists() or "state.safetensors" not in maps.read_text(encoding="utf-8")
    shutil.rmtree(tmp_path / "run")
    assert torch.equal(found[0]["turned"], tensors["turned"])


@pytest.mark.parametrize("name", ["state.safetensors", "state.json"])
def test_a_damaged_state_is_one_sentence(tmp_path: Path, name: str) -> None:
    checkpoint.save_state(tmp_path / "resume", {"a": torch.zeros(3)}, {})
    (tmp_path / "resume" / name).write_bytes(b"{")
    with pytest.raises(SerdemoError, match=f"{name} (is not a safetensors|cannot be read as JSON)"):
        checkpoint.load_state(tmp_path / "resume")
    (tmp_path / "resume" / name).unlink()
    with pytest.raises(SerdemoError, match=f"{name} (is not a safetensors|cannot be read as JSON)"):
        checkpoint.load_state(tmp_path / "resume")


def test_json_is_written_at_once_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.json"
    files.write_json(path, {"a": [1, 2.5, "ü"]})
    assert files.read_json(path) == {"a": [1, 2.5, "ü"]}
    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(SerdemoError, match=r"report\.json could not be written: No space left"):
        files.write_json(path, {"b": 1})
    assert files.read_json(path) == {"a": [1, 2.5, "ü"]}
    assert [one.name for one in tmp_path.iterdir()] == ["report.json"]


FORMER_HEADS = {"attention": 8, "embedding": 8, "projection": 8, "hidden": 16}
FORMER_OPTIONS = {"start": "", "crop_low": 1.0, "average": 0.9, "mixup": 0.4, "seed": 3}


@pytest.mark.parametrize("kind", [*SPECTRAL, "compact", *KINDS])
def test_a_description_of_format_1_is_read(sources: dict[str, Path], kind: str) -> None:
    options: dict[str, Any] = {}
    encoder, config = kind, {}
    if kind in KINDS:
        options = {"mix": "last", "reduce": 8, "freeze": "lower", "source": str(sources[kind])}
        encoder = KINDS[kind][0]
        config = encoders.ENCODERS[encoder].configure(PretrainedOptions.from_json(options))
    elif kind == "compact":
        options = {"width": 16, "layers": 1, "heads": 2}
    described = Description.from_json(
        {
            "format": 1,
            "labels": ["angry", "sad"],
            "encoder": encoder,
            "encoder_options": options,
            "encoder_config": config,
            "head_options": FORMER_HEADS,
            "options": FORMER_OPTIONS,
        },
        "old",
    )
    assert described.format == FORMAT == 2
    assert described.options == {"init_from": "", "min_crop": 1.0, "ema_decay": 0.9, "seed": 3}
    model = checkpoint.build(described)
    assert model.options.classifier_width == 16
    if kind in KINDS:
        assert model.encoder.width == described.encoder_options["bottleneck"] == 8
        assert described.encoder_options["freeze"] == "lower-half"
    again = json.loads(json.dumps(described.to_json()))
    assert Description.from_json(again, "new") == described
