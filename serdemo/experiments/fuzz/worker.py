"""A process that reads one input after another: `python -m serdemo.experiments.fuzz.worker`.

It writes the input that it is about to read to `current`, so that its parent knows which one ended or
held it, and its figures to `report.json`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from serdemo.experiments.fuzz import target as targets
from serdemo.experiments.fuzz.guard import Guard, TrespassError
from serdemo.schema.errors import SerdemoError

CURRENT, REPORT, FINDINGS = "current", "report.json", "findings"
MAX_S = 5.0  # of computing, for an input
MAX_BYTES = 100_000  # of an input
SOURCE = Path(__file__).parents[2]
PACKAGE = SOURCE.name  # whose code guides the engine that is guided by coverage


class Trial:
    """Reads inputs by a target and keeps count."""

    def __init__(self, target: targets.Target, folder: Path, inputs: int, done: int) -> None:
        self._target, self._folder, self._inputs = target, folder, inputs
        self._scratch = folder / "scratch"
        self._guard = Guard(folder)
        self._seen: set[str] = set()
        self.n_inputs, self.slowest_s = done, 0.0
        for seed in target.seeds():  # what is imported by the first inputs takes none of their time
            self._fresh()
            with suppress(Exception):
                target.read(seed, self._scratch)

    def __call__(self, data: bytes) -> None:
        """Read an input; the last one ends the process."""
        (self._folder / CURRENT).write_bytes(data)
        self._fresh()
        began = _computed_s()
        try:
            with self._guard.within():
                self._target.read(data, self._scratch)
        except SerdemoError:
            pass
        except (Exception, TrespassError) as problem:
            self._keep(data, _place(problem), "".join(traceback.format_exception(problem)))
        seconds = _computed_s() - began
        if seconds > MAX_S:
            self._keep(data, f"took {seconds:.1f} s", "")
        self.slowest_s = max(self.slowest_s, seconds)
        self.n_inputs += 1
        figures = {"inputs": self.n_inputs, "slowest_s": self.slowest_s}
        (self._folder / REPORT).write_text(json.dumps(figures))
        if self.n_inputs >= self._inputs:
            sys.stdout.flush()
            os._exit(0)  # the engine would go on

    def _keep(self, data: bytes, what: str, text: str) -> None:
        """Save an input that was not read as it should be, one for each place in the code."""
        if what not in self._seen:
            self._seen.add(what)
            keep(self._folder / FINDINGS, data, what, text)

    def _fresh(self) -> None:
        """Empty the folder of an input."""
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir()


def _computed_s() -> float:
    """Seconds that the processors worked for this process and those that it waited for."""
    return sum(os.times()[:4])


def keep(folder: Path, data: bytes, what: str, text: str = "") -> None:
    """Save an input and what happened to it."""
    folder.mkdir(exist_ok=True)
    name = hashlib.sha256(data).hexdigest()[:12]
    (folder / name).write_bytes(data)
    (folder / f"{name}.json").write_text(json.dumps({"what": what, "trace": text}))


def _place(problem: BaseException) -> str:
    """Kind of an exception, and the last place of this project that it came through."""
    frames = traceback.extract_tb(problem.__traceback__)
    own = [frame for frame in frames if SOURCE in Path(frame.filename).parents] or frames
    return f"{type(problem).__name__} at {Path(own[-1].filename).name}:{own[-1].lineno}"


def _by_coverage(make: Callable[[], Trial], seeds: Path, seed: int) -> None:
    """Let libFuzzer, by atheris, look for inputs that reach new code."""
    import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]

    with atheris.instrument_imports(include=[PACKAGE], enable_loader_override=False):
        trial = make()
    limits = [f"-max_len={MAX_BYTES}", "-rss_limit_mb=0", "-timeout=600", f"-seed={seed + 1}"]
    atheris.Setup(["fuzz", *limits, "-verbosity=0", str(seeds)], trial, internal_libfuzzer=True)
    atheris.Fuzz()


def _by_mutation(trial: Trial, seeds: Sequence[bytes], seed: int) -> None:
    """Let hypothesis change the seeds, without looking at the code."""
    import hypothesis
    from hypothesis import HealthCheck, Phase

    from serdemo.experiments.fuzz.mutation import mutated

    while True:
        test = hypothesis.given(mutated(seeds))(trial.__call__)
        settings = hypothesis.settings(
            max_examples=10_000,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        hypothesis.seed(seed)(settings(test))()
        seed += 1


def main(arguments: dict[str, Any]) -> None:
    """Read inputs until there were enough of them, or those of one file."""
    folder = Path(arguments["folder"])

    def make() -> Trial:
        target = targets.load(arguments["target"])
        return Trial(target, folder, arguments["inputs"], arguments["done"])

    if arguments["engine"] == "file":
        make()(Path(arguments["file"]).read_bytes())
    elif arguments["engine"] == "atheris":
        _by_coverage(make, folder / "seeds", arguments["seed"])
    else:
        trial = make()
        files = sorted((folder / "seeds").iterdir())
        _by_mutation(trial, [path.read_bytes() for path in files], arguments["seed"])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
