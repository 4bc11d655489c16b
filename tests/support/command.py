"""Ways to run `serdemo` in a test: here in this process, or as its user does in one of its own."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from serdemo.cli import main

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = ROOT / "serdemo" / "audio" / "examples"


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The one document on stdout, of a command that went well."""
        assert self.code == 0, self.err
        return json.loads(self.out, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


def here(*arguments: object) -> Ran:
    """Run `serdemo` in this process: fast, and a traceback is pytest's own."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main.main([str(argument) for argument in arguments])
    code = ended.value.code
    return Ran(code if isinstance(code, int) else 0, out.getvalue(), err.getvalue())


def there(*arguments: object, cwd: Path, **environment: str) -> Ran:
    """Run `python -m serdemo` in a process of its own, in `cwd`."""
    done = subprocess.run(
        [sys.executable, "-m", "serdemo", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def clips(folder: Path, speakers: int = 6, emotions: tuple[str, ...] = ("angry", "sad")) -> Path:
    """A small corpus as plain folders, `speaker/emotion/*.wav`: an emotion is a pitch."""
    import numpy as np
    import soundfile

    random = np.random.default_rng(0)
    time = np.arange(16_000) / 16_000
    for speaker in range(speakers):
        for number, emotion in enumerate(emotions):
            place = folder / f"s{speaker}" / emotion
            place.mkdir(parents=True)
            for take in range(3):
                pitch = 120 * 2**number * random.uniform(0.95, 1.05)
                wave = np.sin(2 * np.pi * pitch * time) + 0.05 * random.standard_normal(len(time))
                soundfile.write(place / f"{take}.wav", 0.3 * wave, 16_000)
    return folder


def furnish(folder: Path) -> None:
    """The example voices where the repository has them, and clips of four speakers."""
    shutil.copytree(EXAMPLES, folder / "serdemo" / "audio" / "examples")
    voices = clips(folder / "my-voices", speakers=4)
    for number, name in enumerate(("anna", "ben", "carla", "dan")):
        (voices / f"s{number}").rename(voices / name)
    rows = ["path,speaker,emotion"]
    for path in sorted(voices.rglob("*.wav")):
        speaker, emotion = path.relative_to(voices).parts[:2]
        rows.append(f"{path.relative_to(folder).as_posix()},{speaker},{emotion}")
    (folder / "my-voices.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
