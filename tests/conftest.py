"""Fixtures that several test files share: a tiny model, a corpus of simple sounds, real corpora."""

from __future__ import annotations

import multiprocessing.process
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support.skips import forbid_skip
from support.unbroken import Begin

from serdemo.data.splits import Split, by_speakers
from serdemo.schema.types import Utterance
from serdemo.training.events import Event

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for what is started as a process of its own
RATE = 16_000
LONGEST_WAIT_S = 0.05  # of a fast test, such as for a thread of its own
# (pitch in Hz, fall of the harmonics, beats a second): far apart, so that they are soon learnt.
SOUNDS = {"angry": (320.0, 0.2, 9.0), "happy": (210.0, 1.0, 5.0), "sad": (110.0, 2.5, 1.5)}
SPEAKERS = ("anna", "bert", "cleo", "dora")
# The files with tests that have the machine to themselves, begun together: nobody else waits for them to end.
# Then those that take longest: at the end no process waits long for another.
FIRST = [
    "integration/test_live_load",
    "unit/experiments/test_page_start",
    "browser/static/test_real_time",
    "browser/test_live",
    "browser/test_explore",
    "browser/test_accessibility",
    "browser/static/test_files",
    "browser/test_finetune",
    "integration/test_kill",
    "browser/test_adapt",
    "browser/test_recognise",
    "browser/static/test_page",
    "browser/static/test_voice",
    "integration/test_distributed",
    "integration/test_several_hosts",
    "browser/test_models",
    "integration/test_queue",
    "unit/nn/test_onnx_export",
    "unit/cli/test_main",
    "project/test_readme",
    "unit/experiments/test_estimate",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(FIRST)}
    here = Path(__file__).parent
    named = lambda item: item.path.relative_to(here).with_suffix("").as_posix()  # noqa: E731
    items.sort(key=lambda item: places.get(named(item), len(places)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[Any]:
    return forbid_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[Any]:
    return forbid_skip((yield))


@pytest.fixture(scope="session")
def tiny_values() -> dict[str, Any]:
    """Options of a `supervised` run that takes a second: a tiny encoder, no worker processes."""
    encoder = dict(width=16, layers=1, heads=2, expansion=1, kernel=3)
    heads = dict(attention=8, embedding=8, projection=8)
    batches = dict(batch_size=4, min_crop=0.3, max_crop=0.6, workers=0, memory_gb=0.1)
    return {**encoder, **heads, **batches, "epochs": 2, "device": "cpu", "precision": "fp32"}


@pytest.fixture(scope="session")
def corpus_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus `simple/SPEAKER/EMOTION/N.wav`: four speakers, three emotions, two clips of each."""
    root = tmp_path_factory.mktemp("corpora") / "simple"
    for number, speaker in enumerate(SPEAKERS):
        for emotion, (pitch, fall, beats) in SOUNDS.items():
            for take in range(2):
                rng = np.random.default_rng((number, take))
                time = np.arange(round((0.5 + 0.1 * take) * RATE)) / RATE
                tone = sum(
                    np.sin(2 * np.pi * pitch * (1 + 0.03 * number) * h * time) / h**fall
                    for h in range(1, 12)
                )
                wave = tone * (1 + np.sin(2 * np.pi * beats * time + take))
                wave += 0.02 * rng.standard_normal(len(time))
                folder = root / speaker / emotion
                folder.mkdir(parents=True, exist_ok=True)
                name = folder / f"{speaker}-{emotion}-{take}.wav"
                soundfile.write(name, 0.3 * wave / np.abs(wave).max(), RATE)
    return root


@pytest.fixture(scope="session")
def clips(corpus_root: Path) -> list[Utterance]:
    """All of the simple corpus."""
    from serdemo.data import corpora

    return corpora.load(str(corpus_root))


@pytest.fixture(scope="session")
def split(clips: list[Utterance]) -> Split:
    """anna and bert to train on, cleo to choose by, dora to test on."""
    return by_speakers(clips, valid=["cleo"], test=["dora"])


@pytest.fixture(scope="session")
def two(corpus_root: Path) -> list[Utterance]:
    """The simple corpus as two: anna and cleo's language is one, bert and dora's another."""
    from serdemo.data import corpora

    names = {"anna": "left", "cleo": "left", "bert": "right", "dora": "right"}
    return [replace(u, corpus=names[u.speaker]) for u in corpora.load(str(corpus_root))]


@pytest.fixture(scope="session")
def two_split(two: list[Utterance]) -> Split:
    return by_speakers(two, valid=["left/cleo", "right/dora"])


@pytest.fixture
def begin_two(tiny_values: dict[str, Any], two_split: Split) -> Begin:
    """Begins a run of `cross_corpus` on the two, in a folder, with options by name."""
    from serdemo.training.fit import fit
    from serdemo.training.options import TrainOptions
    from serdemo.training.recipes.cross_corpus import CrossCorpus

    def begin(
        run: Path, *, of: Split = two_split, resume: bool = False, **more: Any
    ) -> Iterator[Event]:
        stop = more.pop("stop", lambda: None)
        values = {**tiny_values, "contrast_epochs": 2, "classifier_width": 8, **more}
        own = {name: values.pop(name) for name in list(values) if name in TrainOptions().to_json()}
        return fit(
            CrossCorpus.from_values(values), TrainOptions(**own), of, run, stop, resume=resume
        )

    return begin


@pytest.fixture(scope="session")
def tiny_checkpoint(
    tmp_path_factory: pytest.TempPathFactory, tiny_values: dict[str, Any], corpus_root: Path
) -> Path:
    """A checkpoint folder of random weights whose answers differ clearly; copy it to change it."""
    import torch

    from serdemo.nn import checkpoint
    from serdemo.nn.description import Description

    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    encoder = ("width", "layers", "heads", "expansion", "kernel")
    heads = ("attention", "embedding", "projection")
    description = Description(
        labels=tuple(SOUNDS),
        encoder="compact",
        encoder_options={name: tiny_values[name] for name in encoder},
        head_options={name: tiny_values[name] for name in heads},
        name="tiny",
        recipe="supervised",
        temperature=1.5,
        unsure_below=0.2,
        trained_on={"simple": ["anna", "bert"]},
        selected_on={"simple": ["cleo"]},
    )
    state = torch.get_rng_state()
    torch.manual_seed(0)
    model = checkpoint.build(description)
    torch.set_rng_state(state)
    with torch.no_grad():
        # Far apart and none the favourite: random weights would give one answer to everything.
        waves = [
            soundfile.read(path, 8_000, dtype="float32")[0] for path in corpus_root.rglob("*.wav")
        ]
        batch = torch.from_numpy(np.stack(waves))
        logits = model.eval().logits(batch, torch.full((len(batch),), batch.shape[1]))
        spread = float(logits.std(dim=0).mean())
        model.classifier.bias.sub_(logits.mean(dim=0)).div_(spread)
        model.classifier.weight.div_(spread)
    checkpoint.save(folder, model, description)
    return folder


@pytest.fixture
def image_values(tiny_checkpoint: Path, tmp_path: Path) -> dict[str, Any]:
    """Options of a run of `ssl_cnn` of a second, on the frozen encoder of the tiny checkpoint."""
    encoder = dict(encoder="compact", source=str(tiny_checkpoint), cache=str(tmp_path / "cache"))
    heads = dict(image_side=32, image_seconds=0.6, cnn_layers=3, embedding=8, projection=8)
    run = dict(epochs=2, device="cpu", precision="fp32", memory_gb=0.1)
    return {**encoder, **heads, **run}


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each kind of pretrained encoder: small, of random weights. Not to be changed."""
    from support.small_encoders import save_all

    return save_all(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real corpora; the test is skipped where SERDEMO_DATA names none."""
    root = os.environ.get("SERDEMO_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("SERDEMO_DATA names no folder with corpora")
    return Path(root)


@pytest.fixture(autouse=True)
def nothing_but_python(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that is not marked `slow` starts no process, and does not wait for time to pass."""
    if "slow" in request.keywords:
        return

    def start(*given: Any, **named: Any) -> None:
        pytest.fail("this test starts a process: mark it slow")

    def sleep(seconds: float, wait: Callable[[float], None] = time.sleep) -> None:
        if seconds > LONGEST_WAIT_S and threading.current_thread() is threading.main_thread():
            pytest.fail("this test waits: mark it slow")
        wait(seconds)

    monkeypatch.setattr(subprocess.Popen, "__init__", start)
    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", start)
    monkeypatch.setattr(time, "sleep", sleep)


@pytest.fixture
def generous_owner() -> Iterator[None]:
    """The owner of the page lets visitors train and import."""
    with pytest.MonkeyPatch.context() as patch:  # one that no test undoes
        patch.setenv("SERDEMO_TRAINING", "on")
        patch.setenv("SERDEMO_IMPORT", "on")
        yield


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Tiny tensors are computed soonest by one thread, most of all on a busy machine.

    Set anew for every test: a command that is given `--threads` leaves its own behind.
    """
    import torch

    torch.set_num_threads(1)


@contextmanager
def held(folder: Path, alone: bool) -> Iterator[None]:
    """A lock among the processes of pytest-xdist: held by many tests at once, or by one alone.

    Whoever wants it passes a gate first, so that who waits to be alone is not overtaken for ever. A
    single process waits for nobody, nor does one on a system without such locks.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with (folder / "gate.lock").open("a") as gate, (folder / "room.lock").open("a") as room:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield  # a closed file has given it back


@pytest.fixture(scope="session")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """The folder that the processes of these tests share; None for a single one."""
    shared = "PYTEST_XDIST_WORKER" in os.environ
    return tmp_path_factory.getbasetemp().parent if shared else None


@pytest.fixture(scope="session")
def alone(together: Path | None) -> Callable[[], AbstractContextManager[None]]:
    """For fixtures that measure in real time: a context in which nothing else is tested."""
    return lambda: held(together, alone=True) if together else nullcontext()


@pytest.fixture(autouse=True)
def beside_others(request: pytest.FixtureRequest, together: Path | None) -> Iterator[None]:
    """A test runs beside others; one that is marked `real_time` has the machine to itself."""
    if together is None:
        yield
        return
    with held(together, alone="real_time" in request.keywords):
        yield
