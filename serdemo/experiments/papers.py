"""The papers' claims put to the test: models trained where they are missing, answers compared."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from serdemo.cli.options import JSON, PATH, ROOT, STOP_AFTER, print_json
from serdemo.data import corpora
from serdemo.data.held_out import shipped_split
from serdemo.data.splits import Split
from serdemo.evaluation import baselines
from serdemo.evaluation.predictions import PredictionSet, mean_std, score
from serdemo.experiments.paired import pair
from serdemo.experiments.papers_plan import MACHINE, NETWORKS, VOICES, Arm, Paper, Question, papers
from serdemo.nn.checkpoint_files import bundled_checkpoint as shipped_folder
from serdemo.runs import crossval
from serdemo.runs.crossval import PREDICTIONS, ShowFold
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import read_json, write_json
from serdemo.schema.settings import data_root
from serdemo.training.options import resolve_recipe
from serdemo.training.recipes.validation import ClassOptions


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a question on one corpus: UAR of every seed, and the other's less the base's.

    Rates are fractions; `ci95` is the 95 % interval of the difference, speakers and seeds drawn anew.
    """

    asks: str
    corpus: str
    base: str
    other: str
    clips: int
    speakers: int
    uar_base: dict[str, Any]
    uar_other: dict[str, Any]
    difference: float
    ci95: tuple[float, float]

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary, ready for JSON."""
        return asdict(self)


def train(
    paper: Paper,
    folder: Path,
    root: Path | None,
    seeds: int,
    *,
    only: Sequence[str] = (),
    shared: Mapping[str, Any] = MappingProxyType({}),
    command: str = "",
    stop_after: float | None = None,
    follow: ShowFold = lambda title, happening: None,
) -> bool:
    """Train every arm of a paper for every seed that has not answered yet; True when all have.

    Each is an ordinary run in `folder/ARM/seed-N`, its card naming `command`. `only` names the arms
    wanted, all without it; `shared` are options of every run. `stop_after` (seconds) ends it
    resumable. Raises as `runs.train` does, UsageError for an arm that the paper has not.
    """
    if unknown := set(only) - {arm.name for arm in paper.arms}:
        names = ", ".join(arm.name for arm in paper.arms)
        raise UsageError(f"There is no model {min(unknown)!r} here; known are {names}.")
    began = time.monotonic()
    wanted = [arm for arm in paper.arms if not only or arm.name in only]
    jobs = [(arm, seed) for seed in range(seeds) for arm in wanted]
    splits: dict[str, Split] = {}
    for number, (arm, seed) in enumerate(jobs, start=1):
        if (place(folder, arm.name, seed) / PREDICTIONS).exists():
            continue
        left = None if stop_after is None else stop_after - (time.monotonic() - began)
        if left is not None and left <= 0:
            return False
        if arm.corpora not in splits:
            splits[arm.corpora] = shipped_split(corpora.load_many(arm.corpora, root))
        own, split = place(folder, arm.name, seed), splits[arm.corpora]
        if arm.recipe == MACHINE:
            if seed == 0:  # nothing in it is drawn, so one is enough
                labels = ClassOptions().labels(split.train)
                own.mkdir(parents=True, exist_ok=True)
                write_json(own / PREDICTIONS, baselines.svm_predictions(split, labels).to_json())
            continue
        options = {**options_of(arm, seed, folder), **shared}
        finished = crossval.run_fold(
            arm.recipe,
            options,
            split,
            own,
            command=command,
            stop_after=left,
            show=partial(follow, f"{number} of {len(jobs)}: {arm.name}, seed {seed}"),
        )
        if not finished:
            return False
        if (
            resolve_recipe(arm.recipe, options)[0].output == "embedding"
        ):  # a first stage alone answers nothing
            write_json(own / PREDICTIONS, PredictionSet(()).to_json())
        else:
            crossval.save_predictions(arm.recipe, options, split, own)
    return True


def place(folder: Path, name: str, seed: int) -> Path:
    """Where an arm's run of a seed lies."""
    return folder / name / f"seed-{seed}"


def options_of(arm: Arm, seed: int, folder: Path) -> dict[str, Any]:
    """An arm's options with every checkpoint that they name as a folder."""
    given = {key: _voices(value) for key, value in arm.options.items()}
    begun = {"init_from": str(place(folder, arm.begun, seed) / "checkpoint")} if arm.begun else {}
    return {**given, **begun, "seed": seed}


def _voices(value: Any) -> Any:
    return str(shipped_folder(VOICES)) if value == VOICES else value


def answered(folder: Path, name: str, seeds: int) -> list[PredictionSet]:
    """The answers of an arm, one for each seed that has any."""
    paths = [place(folder, name, seed) / PREDICTIONS for seed in range(seeds)]
    return [PredictionSet.from_json(read_json(path)) for path in paths if path.exists()]


def results(paper: Paper, folder: Path, seeds: int) -> list[Found]:
    """What is known so far of a paper's questions, each on each of its corpora.

    A question is left out while either of its arms has not answered. Raises SerdemoError for
    answers that are damaged.
    """
    found = []
    for question in paper.questions:
        base, other = (answered(folder, n, seeds) for n in (question.base, question.other))
        found += [
            one
            for corpus in question.corpora
            if base and other and (one := compared(question, corpus, base, other)) is not None
        ]
    return found


def compared(
    question: Question, corpus: str, base: Sequence[PredictionSet], other: Sequence[PredictionSet]
) -> Found | None:
    """Both arms on the clips of a corpus that all of their models answered; None without any."""
    found = pair(corpus, base, other)
    if found is None:
        return None
    return Found(
        asks=question.asks,
        corpus=corpus,
        base=question.base,
        other=question.other,
        clips=found.clips,
        speakers=found.speakers,
        uar_base=mean_std(found.base),
        uar_other=mean_std(found.other),
        difference=found.difference,
        ci95=found.ci95,
    )


def alone(paper: Paper, folder: Path, seeds: int) -> list[dict[str, Any]]:
    """What each arm that answers is worth on each test corpus, by itself."""
    rows = []
    for arm in paper.arms:
        found = [one for one in answered(folder, arm.name, seeds) if one.files]
        for corpus in sorted({name for one in found for name in one.corpora}):
            scores = [known for one in found if (known := score(one.of(corpus))) is not None]
            uar = mean_std([one.uar for one in scores])
            rows.append({"arm": arm.name, "corpus": corpus, "n": scores[0].n, "uar": uar})
    return rows


def collected(run_dir: Path, seeds: int) -> list[dict[str, Any]]:
    """All that is known of every paper and network in a folder, ready for JSON.

    Raises SerdemoError when nothing has been trained there yet.
    """
    found = []
    for network in NETWORKS:
        for paper in papers(network):
            folder = run_dir / network / paper.number
            if rows := alone(paper, folder, seeds):
                found.append(
                    {
                        "paper": paper.number,
                        "title": paper.title,
                        "network": network,
                        "reported": [{"what": w, "figure": figure} for w, figure in paper.reported],
                        "not_had": paper.not_had,
                        "answers": [one.to_json() for one in results(paper, folder, seeds)],
                        "arms": rows,
                    }
                )
    if not found:
        raise SerdemoError(f"Nothing has been trained to the end in {run_dir} yet.")
    return found


if TYPE_CHECKING:
    from serdemo.training.events import Event


@click.command("papers")
@click.option("--run", "run_dir", required=True, type=PATH, help="Folder of it all.")
@ROOT
@click.option("--paper", "numbers", multiple=True, help="An arXiv number [default: all three].")
@click.option(
    "--network",
    default="compact",
    show_default=True,
    help="The network: compact, whisper or whisper-frozen.",
)
@click.option("--source", default="", help="Whisper's hub id, folder or .safetensors file.")
@click.option("--model", "only", multiple=True, help="A model by its name there [default: all].")
@click.option(
    "--set",
    "--with",
    "given",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of train for each.",
)
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1, 100))
@STOP_AFTER
@JSON
@click.pass_obj
def command(
    command: str,
    run_dir: Path,
    root: Path | None,
    numbers: tuple[str, ...],
    network: str,
    source: str,
    only: tuple[str, ...],
    given: tuple[str, ...],
    seeds: int,
    stop_after: float | None,
    as_json: bool,
) -> None:
    """Put the three papers' claims to the test: train what is missing, compare, write the page.

    What has been trained is never trained again, so that the same command goes on where it was
    stopped; with --stop-after 0 it writes the page of what there is.
    """
    from serdemo.cli.views.console import show_training
    from serdemo.evaluation.model_card import strip_local_paths
    from serdemo.experiments import papers_page
    from serdemo.experiments.papers_plan import NETWORKS
    from serdemo.experiments.papers_plan import papers as planned
    from serdemo.schema.options import parsed
    from serdemo.training.options import TrainOptions

    if network not in NETWORKS:
        raise UsageError(f"There is no network {network!r} here; known are {', '.join(NETWORKS)}.")
    known = {paper.number: paper for paper in planned(network, source)}
    for number in numbers:
        if number not in known:
            raise UsageError(f"There is no paper {number!r} here; known are {', '.join(known)}.")

    def follow(title: str, happening: Iterator[Event]) -> None:
        click.echo(title, err=True)
        show_training(happening)

    finished = True
    for number in numbers or known:
        folder = run_dir / network / number
        finished = train(
            known[number],
            folder,
            data_root(root),
            seeds,
            only=only,
            shared=parsed(TrainOptions, given),
            command=command,
            stop_after=stop_after,
            follow=follow,
        )
        if not finished:
            break
    found = collected(run_dir, seeds)
    run_dir.mkdir(parents=True, exist_ok=True)
    papers_page.write(run_dir, found, strip_local_paths(command) if command else "")
    if as_json:
        print_json({"finished": finished, "papers": found})
        return
    for one in found:
        for row in papers_page.answers(one):
            click.echo("; ".join(row))
    state = "All is trained." if finished else "Stopped: the same command goes on."
    click.echo(f"{state} The page is {run_dir / papers_page.PAGE}.", err=True)
