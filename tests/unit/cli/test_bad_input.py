"""One table of what can be wrong: each ends in one sentence on stderr and its exit code.

A row is a name, the arguments, the exit code and what the sentence must match. `{}` in an argument
names a file or folder of the workshop below.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save_file
from support.bad_audio import make_refused, wav
from support.command import EXAMPLES, Ran, clips, here, there

from serdemo.nn import checkpoint_files
from serdemo.schema import files

VOICE = str(sorted(EXAMPLES.glob("*.flac"))[0])

Row = tuple[str, str, int, str]

# How a checkpoint may be broken: the sentence, and what is done to its folder.
BAD_CHECKPOINTS: dict[str, str] = {
    "nowhere": "holds no checkpoint '.*nowhere'; name one by its folder",
    "empty": "empty is not a checkpoint: it needs model.safetensors and model.json",
    "no-weights": "no-weights is not a checkpoint: it needs model.safetensors",
    "weights-cut": "model.safetensors is not a safetensors file or is damaged",
    "weights-pickled": "model.safetensors is not a safetensors file or is damaged",
    "not-json": "model.json cannot be read as JSON",
    "json-list": "json-list is not a checkpoint: its model.json is no JSON table",
    "later-format": "checkpoint format 99; this version reads 1 and 2, so update",
    "no-labels": "model.json has no 'labels'",
    "doubled-labels": "its labels must be different words",
    "strange-entry": "model.json has an unknown entry 'surprise_me'",
    "text-for-number": "'temperature' in model.json is malformed",
    "frozen": "frozen cannot be read: its temperature must be",
    "other-rate": "was made for 8000 Hz; serdemo works at 16000 Hz",
    "unknown-encoder": "unknown-encoder cannot be built: .*'psychic'",
    "unknown-option": "unknown-option cannot be built: .*'magic'",
    "option-out-of-range": "option-out-of-range cannot be built: --layers must lie between",
    "other-shape": r"other-shape does not fit its description: .* is \(",
    "tensor-missing": "tensor-missing does not fit its description: it lacks tensor",
    "tensor-extra": "tensor-extra does not fit its description: it has an unexpected tensor more",
    "not-finite": "not-finite is damaged: .* holds values that are not finite",
}

# A CSV's text, and the sentence. `a.wav` and `b.wav` lie beside it.
HEADER = "path,speaker,emotion\n"
BAD_TABLES: dict[str, tuple[str | bytes, str]] = {
    "empty.csv": ("", "empty.csv is empty: it needs a header"),
    "bare.csv": (HEADER, "bare.csv lists no clips: add rows"),
    "no-emotion.csv": ("path,speaker\na.wav,1\n", "no-emotion.csv has no column emotion"),
    "twice.csv": ("path,speaker,emotion,emotion\na.wav,1,sad,sad\n", "column emotion twice"),
    "number.csv": (
        HEADER + "a.wav,1,0\n",
        "number.csv, line 2: '0' is .* number; map it by --label",
    ),
    "cut.csv": (b"\xff\xfea", "cut.csv is no text in utf-16: save it as UTF-8 CSV"),
    "binary.csv": (HEADER.encode() + b"\0\0", "binary.csv holds NUL bytes"),
    "gone.csv": (HEADER + "gone.wav,1,sad\n", "gone.csv, line 2: there is no file 'gone.wav'"),
    "outside.csv": (
        HEADER + "../a.wav,1,sad\n",
        "outside.csv, line 2: there is no file '../a.wav'",
    ),
    "strange.csv": (HEADER + "a.wav,1,hungry\n", "strange.csv, line 2: 'hungry' is no emotion"),
    "sleepy.csv": (HEADER + "a.wav,,sleepy\n", "sleepy.csv lists no clip with an emotion of ours"),
    "short.csv": (HEADER + "a.wav,1\n", "short.csv, line 2: 2 fields where the header has 3"),
    "again.csv": (HEADER + "a.wav,1,sad\n./a.wav,1,fear\n", "line 3: .* in line 2, and the labels"),
    "quotes.csv": (HEADER + '"a.wav,1,sad\n', "quotes.csv, line 2: not valid CSV"),
}

TRAIN = "train supervised --corpus {data} --run {new} --device cpu --workers 0"
BAD_ARGUMENTS: tuple[Row, ...] = (
    ("unknown command", "listne", 2, "No such command 'listne'"),
    ("unknown option", "predict {voice} --jsn", 2, "No such option.* '?--jsn"),
    ("no file", "predict", 2, "Name a recording or a folder"),
    ("no corpus", "train supervised --run {new}", 2, "Missing option '--corpus'"),
    ("no run", "train supervised --corpus {data}", 2, "Missing option '--run'"),
    ("unknown recipe", "train superb --corpus {data} --run {new}", 2, "no recipe 'superb'; known"),
    ("unknown corpus", "evaluate compact --corpus iemocap2", 2, "called 'iemocap2'; the known"),
    ("empty corpus", "evaluate compact --corpus ,", 2, "No corpus is named: give one or more of"),
    ("no data root", "evaluate compact --corpus ravdess", 2, "give --root or set SERDEMO_DATA"),
    ("root away", "corpora --root {nowhere}", 2, "nowhere does not exist: check --root"),
    ("root a file", "corpora --root {voice}", 2, "does not exist: check --root or SERDEMO_DATA"),
    (
        "nothing at root",
        "evaluate compact --corpus emodb --root {hollow}",
        1,
        "No clip of .* found",
    ),
    (
        "no class folders",
        "evaluate compact --corpus {unsorted}",
        1,
        "No clip under .* emotion: sort",
    ),
    ("unknown speaker", "evaluate compact --corpus {data} --speakers 99", 2, "no speaker '99' in"),
    (
        "unknown device",
        "predict {voice} --device quantum",
        2,
        "no device 'quantum' on this machine",
    ),
    ("no such GPU", "predict {voice} --device cuda:77", 2, "no device 'cuda:77' on this machine"),
    ("port 0", "app --port 0", 2, "Invalid value for '--port': 0 is not in the range"),
    ("port too high", "app --port 65536", 2, "65536 is not in the range 1<=x<=65535"),
    ("port in words", "app --port http", 2, "'http' is not a valid integer"),
    ("page without model", "app --checkpoint {hollow}", 1, "hollow is not a checkpoint: it needs"),
    ("port taken", "app --port {port}", 1, r"Port \d+ is in use: choose another with --port"),
    ("not a number", f"{TRAIN} --epochs many", 2, "'many' is not a valid integer"),
    ("out of range", f"{TRAIN} --epochs 0", 2, "--epochs must lie between 1 and 10000, not 0"),
    ("rate nan", f"{TRAIN} --learning-rate nan", 2, "--learning-rate must lie between"),
    ("no such choice", f"{TRAIN} --precision fp8", 2, "--precision must be one of auto, fp32"),
    ("time below 0", f"{TRAIN} --stop-after -1", 2, "-1.0 is not in the range x>=0"),
    ("time not a number", f"{TRAIN} --stop-after nan", 2, "--stop-after must be a number"),
    ("share above 1", f"{TRAIN} --valid 2.0", 2, "The share held out is 2.0: it must lie between"),
    (
        "held out twice",
        f"{TRAIN} --valid s1 --test s1",
        2,
        "speaker data/s1 is named for two parts",
    ),
    ("two splits", f"{TRAIN} --shipped-split --test s1", 2, "not both"),
    ("one emotion", "train supervised --corpus {angry} --run {new}", 2, "at least two emotions"),
    ("run is there", "train supervised --corpus {data} --run {run}", 2, "already holds a run; add"),
    ("run is a file", "train supervised --corpus {data} --run {voice}", 2, "file; --run needs a"),
    ("run in a file", "train supervised --corpus {data} --run {voice}/x", 1, "could not be made"),
    ("other recipe's run", "train supervised --corpus {data} --run {run} --resume", 2, "was begun"),
    ("no rounds", "bench predict --rounds 0", 2, "0 is not in the range 1<=x<=1000"),
    ("no sound in folder", "predict {hollow}", 1, "There is no sound file in the folder"),
)


def break_checkpoint(good: Path, name: str, folder: Path) -> None:
    """Copy a good checkpoint to `folder` and break it the way its name says."""
    if name in ("nowhere", "empty"):
        folder.parent.joinpath("empty").mkdir(exist_ok=True)
        return
    shutil.copytree(good, folder)
    weights, description = folder / checkpoint_files.WEIGHTS, folder / checkpoint_files.DESCRIPTION
    values = json.loads(description.read_text(encoding="utf-8"))
    tensors = load(weights.read_bytes())  # no memory map: the file is to be overwritten
    first = next(key for key, tensor in tensors.items() if tensor.ndim)
    changes: dict[str, dict[str, Any]] = {
        "later-format": {"format": 99},
        "doubled-labels": {"labels": ["sad", "sad"]},
        "strange-entry": {"surprise_me": 1},
        "text-for-number": {"temperature": "warm"},
        "frozen": {"temperature": 0},
        "other-rate": {"sample_rate": 8000},
        "unknown-encoder": {"encoder": "psychic"},
        "unknown-option": {"encoder_options": {"magic": 1}},
        "option-out-of-range": {"encoder_options": {"layers": -3}},
        "other-shape": {"labels": ["angry", "sad"]},
    }
    if name in changes:
        description.write_text(json.dumps(values | changes[name]), encoding="utf-8")
    elif name == "no-labels":
        del values["labels"]
        description.write_text(json.dumps(values), encoding="utf-8")
    elif name == "not-json":
        description.write_text("{'labels': ", encoding="utf-8")
    elif name == "json-list":
        description.write_text("[]", encoding="utf-8")
    elif name == "no-weights":
        weights.unlink()
    elif name == "weights-cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif name == "weights-pickled":
        torch.save(tensors, weights)
    else:
        if name == "tensor-missing":
            del tensors[first]
        elif name == "tensor-extra":
            tensors["more"] = torch.zeros(1)
        elif name == "not-finite":
            tensors[first].view(-1)[0] = torch.nan
        else:
            raise ValueError(name)
        save_file(tensors, weights)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Path:
    """A folder with everything that the rows name."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "audio").mkdir()
    make_refused(folder / "audio")
    shutil.copytree(tiny_checkpoint, folder / "good")
    for name in BAD_CHECKPOINTS:
        break_checkpoint(folder / "good", name, folder / name)
    (folder / "tables").mkdir()
    for name in ("a.wav", "b.wav"):
        (folder / "tables" / name).write_bytes(wav(np.full(16_000, 0.1)))
    for name, (text, _) in BAD_TABLES.items():
        (folder / "tables" / name).write_bytes(text.encode() if isinstance(text, str) else text)
    clips(folder / "data", speakers=4)
    clips(folder / "anger", speakers=4, emotions=("angry",))
    (folder / "hollow").mkdir()
    (folder / "unsorted").mkdir()
    (folder / "unsorted" / "a.wav").write_bytes(wav(np.full(16_000, 0.1)))
    (folder / "run").mkdir()
    (folder / "run" / "events.jsonl").touch()
    config = {"recipe": "distill", "command": "", "options": {}}
    files.write_json(folder / "run" / "config.json", config)
    return folder


def arguments(line: str, folder: Path, port: int = 0) -> list[str]:
    """The arguments of a row; each `{}` becomes one argument, whatever the path holds."""
    named = {name: folder / name for name in ("data", "new", "nowhere", "run", "hollow")}
    named |= {"unsorted": folder / "unsorted", "angry": folder / "anger", "voice": Path(VOICE)}
    return [word.format(port=port, **named) for word in line.split()]


def check_refusal(ran: Ran, code: int, pattern: str) -> None:
    """One sentence on stderr that matches, that exit code, and nothing like an answer."""
    assert ran.code == code, ran.err
    assert ran.err.startswith("serdemo: ")
    assert ran.err.count("\n") == 1 and ran.err.endswith((".\n", "?\n")), ran.err
    assert "Traceback" not in ran.err
    assert re.search(pattern, ran.err), ran.err
    assert ran.out in ("", "[]\n")


@pytest.mark.slow
def test_bad_audio(workshop: Path) -> None:
    cases = make_refused(workshop / "audio")
    assert len(cases) >= 20
    for name, (path, pattern) in cases.items():
        if name == "folder.wav":  # a folder is searched, and this one is empty
            pattern = "There is no sound file in the folder"
        for more in ((), ("--json",)):
            check_refusal(
                here("predict", path, "--checkpoint", workshop / "good", *more), 1, pattern
            )


@pytest.mark.parametrize("name", list(BAD_CHECKPOINTS))
def test_bad_checkpoint(workshop: Path, name: str) -> None:
    check_refusal(here("predict", VOICE, "--checkpoint", workshop / name), 1, BAD_CHECKPOINTS[name])


@pytest.mark.parametrize("name", list(BAD_TABLES))
def test_bad_table(workshop: Path, name: str) -> None:
    path = workshop / "tables" / name
    check_refusal(here("evaluate", workshop / "good", "--corpus", path), 1, BAD_TABLES[name][1])


@pytest.mark.slow
@pytest.mark.parametrize("row", BAD_ARGUMENTS, ids=lambda row: row[0])
def test_bad_arguments(workshop: Path, row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    _, line, code, pattern = row
    monkeypatch.delenv("SERDEMO_DATA", raising=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        check_refusal(here(*arguments(line, workshop, port)), code, pattern)
    assert not (workshop / "new" / "checkpoint").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "code", "pattern"),
    [
        ("predict {nowhere}.wav", 1, "was not found: check"),
        ("predict {voice} --checkpoint {nowhere}", 1, "name one by its folder"),
        ("train supervised --corpus {data} --run {voice}", 2, "is a file; --run needs a folder"),
    ],
)
def test_a_process_of_its_own_tells_the_same(
    workshop: Path, line: str, code: int, pattern: str
) -> None:
    check_refusal(there(*arguments(line, workshop), cwd=workshop), code, pattern)


def test_the_table_is_as_long_as_it_should_be() -> None:
    assert len(BAD_CHECKPOINTS) + len(BAD_TABLES) >= 10
    assert len(BAD_ARGUMENTS) >= 10
