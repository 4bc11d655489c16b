"""Kill a page at a random moment of a visit, and list what the next one leaves of the visitors.

Two visitors from elsewhere upload recordings and have them recognised, speak live, record takes, import a
model, send a zip of clips and train on it. The page is killed with SIGKILL, and started again: nothing of
theirs may be left then, neither files nor a run.
"""

from __future__ import annotations

import base64
import io
import random
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import soundfile

from serdemo.audio.waveform import SAMPLE_RATE, to_int16
from serdemo.experiments.page_client import Page, served
from serdemo.inference.speed import speech_samples
from serdemo.nn.checkpoint_files import SMALLEST, bundled_checkpoint
from serdemo.runs import process as runs_process
from serdemo.runs.queue import JobQueue
from serdemo.schema.errors import SerdemoError

VISITORS = 2
SECRET = "visitor-told-nobody"  # in the names of all that they send
MAX_VISIT_S = 12.0  # until the kill
CLEANED_S = 60.0  # for the next page to delete what is left
PLACES = ("runs", "tmp", "models")  # where only visitors' files may lie
PIECE_S = 0.5

Act = Callable[[Page], object]


def kill_visits(times: int, seed: int = 0) -> dict[str, Any]:
    """Kill a page `times` times; gives the number of visitors' files at the kills and after the next start,
    the runs that were under way, and violations in sentences as `faults`."""
    rng = random.Random(seed)
    acts = list(visitor_acts().values())
    at_kill, after, runs, faults = [], [], 0, []
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        root = Path(folder)
        environment = _environment(root)
        jobs = JobQueue(root / "runs")
        for number in range(times):
            with served(None, None, **environment) as (address, pid):
                if number:
                    after.append(_cleaned(root, jobs))
                    faults += [f"After kill {number} there is {path}." for path in after[-1]]
                ended = threading.Event()
                for _ in range(VISITORS):
                    order = rng.sample(acts, len(acts))
                    threading.Thread(
                        target=_visit, args=(address, order, ended), daemon=True
                    ).start()
                time.sleep(rng.uniform(0, MAX_VISIT_S))
                assert pid is not None
                psutil.Process(pid).kill()
                ended.set()
            at_kill.append(len(visitors_files(root)))
            runs += sum(runs_process.alive(job.pid, job.born) for job in jobs.all())
        with served(None, None, **environment):
            after.append(_cleaned(root, jobs))
            faults += [f"After kill {times} there is {path}." for path in after[-1]]
    return {
        "kills": times,
        "files_at_kill": {"mean": round(mean(at_kill), 1), "most": max(at_kill)},
        "runs_at_kill": runs,
        "files_after_start": sum(map(len, after)),
        "faults": faults,
    }


def _environment(root: Path) -> dict[str, str]:
    """Variables of a page whose every file lies below `root`."""
    folders = {"TMPDIR": "tmp", "HOME": "home", "XDG_CACHE_HOME": "cache", "SERDEMO_RUNS": "runs"}
    paths = {name: root / path for name, path in folders.items()}
    for path in paths.values():
        path.mkdir()
    allowed = {
        "SERDEMO_TRAINING": "on",
        "SERDEMO_IMPORT": "on",
    }  # so that visitors leave all there is
    return {**{name: str(path) for name, path in paths.items()}, "GRADIO_TEMP_DIR": "", **allowed}


def visitors_files(root: Path) -> list[Path]:
    """Files of visitors below `root`, where all of a page lies, if not empty: all in the folders of runs and temporary
    files, and elsewhere those that have their name in theirs or within."""
    found = []
    for path in root.rglob("*"):
        inside = path.relative_to(root)
        with suppress(OSError):  # gone meanwhile
            # Locks are empty, and so is what gradio makes beside an upload.
            if not path.is_file() or not path.stat().st_size:
                continue
            if inside.parts[0] in PLACES or SECRET in str(inside) or _has_secret(path):
                found.append(inside)
    return sorted(found)


def _has_secret(path: Path) -> bool:
    return SECRET.encode() in path.read_bytes()


def _cleaned(root: Path, jobs: JobQueue) -> list[str]:
    """What is left of visitors once the page had time to delete it: their files and runs."""
    until = time.monotonic() + CLEANED_S
    while True:
        left = [str(path) for path in visitors_files(root)]
        left += [f"the run {job.name}" for job in jobs.all()]
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.2)


def _visit(address: str, acts: list[Act], ended: threading.Event) -> None:
    """Do all there is to do, again and again, until the page is killed."""
    with suppress(SerdemoError, OSError):
        page = Page(address, visitor=True)
        page.happen("load", "finetune-run")
        while not ended.is_set():
            for act in acts:
                with suppress(SerdemoError):
                    act(page)
                if ended.is_set():
                    break


def visitor_acts() -> dict[str, Act]:
    """What a visitor does, by name, with sounds and files made once."""
    clips = iter(speech_samples(40))
    samples = next(clips).samples[: 3 * SAMPLE_RATE]
    recording, piece = _wav(samples), to_int16(samples[: round(PIECE_S * SAMPLE_RATE)])
    sound = piece.astype("<i2").tobytes()
    take = base64.b64encode(to_int16(samples).astype("<i2").tobytes()).decode()
    corpus = _zip(_corpus(clips))
    checkpoint = bundled_checkpoint(SMALLEST)
    model = _zip((path.name, path.read_bytes()) for path in sorted(checkpoint.iterdir()))

    def recognise(page: Page) -> None:
        file = page.upload(f"{SECRET}.wav", recording)
        sent = {"name": f"{SECRET}.wav", "path": file["path"]}
        page.happen("upload", "recognise-result", at="recognise-drop", data={"files": [sent]})

    def speak(page: Page) -> None:
        stream = page.call("open", rate=SAMPLE_RATE)["stream"]
        for number in range(6):
            page.push(stream, sound, number, 0.0)

    def record(page: Page) -> None:
        data = {"act": "take", "emotion": "sad", "rate": SAMPLE_RATE, "samples": take}
        page.happen("submit", "voice-panel", at="voice-panel", data={**data, "anyway": True})

    def import_model(page: Page) -> None:
        file = page.upload(f"{SECRET}.zip", model)
        page.happen("upload", "models-told", at="models-zip", models_zip=file)

    def train(page: Page) -> None:
        file = page.upload(f"{SECRET}.zip", corpus)
        page.happen("upload", "finetune-told", at="finetune-zip", finetune_zip=file)
        chosen = {"finetune_zip": file, "finetune_recipe": "supervised"}
        page.happen("click", "finetune-told", at="finetune-start", **chosen)

    acts = (recognise, speak, record, import_model, train)
    return {act.__name__: act for act in acts}


def _corpus(clips: Iterator[Any]) -> Iterator[tuple[str, bytes]]:
    for speaker in range(4):
        for emotion in ("angry", "happy", "sad"):
            for take in range(2):
                content = _wav(next(clips).samples[:SAMPLE_RATE])
                yield f"speaker{speaker}/{emotion}/{SECRET}-{take}.wav", content


def _wav(samples: Any) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, SAMPLE_RATE, format="WAV")
    return buffer.getvalue()


def _zip(files: Any) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()
