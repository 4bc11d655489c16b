"""Claims of the three papers: train the models that are missing and compare their predictions."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click

from serdemo.cli.options import JSON, PATH, ROOT, STOP_AFTER, number_option, print_json
from serdemo.cli.views.console import show_training
from serdemo.data import corpora
from serdemo.data.held_out import shipped_split
from serdemo.data.splits import Split
from serdemo.evaluation import baselines
from serdemo.evaluation.model_card import strip_local_paths
from serdemo.evaluation.predictions import PredictionSet, mean_std, score
from serdemo.experiments import papers_page
from serdemo.experiments.paired import uar_difference
from serdemo.experiments.papers_plan import (
    NETWORKS,
    SPEAKER_ENCODER,
    SVM,
    Arm,
    Paper,
    Question,
    papers,
)
from serdemo.nn.checkpoint_files import bundled_checkpoint
from serdemo.runs import crossval
from serdemo.runs.crossval import PREDICTIONS, ShowFold
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import make_folder, read_json, write_json
from serdemo.schema.options import parsed
from serdemo.schema.settings import data_root
from serdemo.training.events import Event
from serdemo.training.options import TrainOptions, resolve_recipe
from serdemo.training.recipes.validation import ClassOptions


@dataclass(frozen=True, slots=True)
class QuestionResult:
    """Result of a question on one corpus: UAR of both arms over seeds, and their difference.

    Rates are fractions; `ci95` is the 95 % interval of the difference, over speakers and seeds.
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


def train_models(
    paper: Paper,
    folder: Path,
    root: Path | None,
    seeds: int,
    *,
    only: Sequence[str] = (),
    shared: Mapping[str, Any] = MappingProxyType({}),
    command: str = "",
    stop_after: float | None = None,
    show: ShowFold = lambda title, events: None,
) -> bool:
    """Train every arm of a paper for every seed without predictions; True when all are trained.

    Each is an ordinary run in `folder/ARM/seed-N`, with `command` on its card. `only` restricts the
    arms by name, `shared` are options of every run, `stop_after` (seconds) interrupts resumably.
    Raises UsageError for an unknown arm, and as `training_run.train` does.
    """
    if unknown := set(only) - {arm.name for arm in paper.arms}:
        names = ", ".join(arm.name for arm in paper.arms)
        raise UsageError(f"There is no model {min(unknown)!r} here; known are {names}.")
    began = time.monotonic()
    arms = [arm for arm in paper.arms if not only or arm.name in only]
    models = [(arm, seed) for seed in range(seeds) for arm in arms]
    splits: dict[str, Split] = {}
    for index, (arm, seed) in enumerate(models, start=1):
        run_dir = run_folder(folder, arm.name, seed)
        if (run_dir / PREDICTIONS).exists():
            continue
        left_s = None if stop_after is None else stop_after - (time.monotonic() - began)
        if left_s is not None and left_s <= 0:
            return False
        if arm.corpora not in splits:
            splits[arm.corpora] = shipped_split(corpora.load_many(arm.corpora, root))
        title = f"{index} of {len(models)}: {arm.name}, seed {seed}"
        options = {**arm_options(arm, seed, folder), **shared}
        if arm.recipe == SVM:
            if seed == 0:  # it is deterministic
                _predict_with_svm(splits[arm.corpora], run_dir)
        elif not _train_model(
            arm, options, splits[arm.corpora], run_dir, command, left_s, partial(show, title)
        ):
            return False
    return True


def _predict_with_svm(split: Split, run_dir: Path) -> None:
    make_folder(run_dir)
    predictions = baselines.svm_predictions(split, ClassOptions().labels(split.train))
    write_json(run_dir / PREDICTIONS, predictions.to_json())


def _train_model(
    arm: Arm,
    options: Mapping[str, Any],
    split: Split,
    run_dir: Path,
    command: str,
    stop_after: float | None,
    show: Any,
) -> bool:
    """Train a model and save its predictions; False when interrupted."""
    if not crossval.run_fold(
        arm.recipe, options, split, run_dir, command=command, stop_after=stop_after, show=show
    ):
        return False
    if resolve_recipe(arm.recipe, options)[0].no_classifier_note:  # a first stage alone
        write_json(run_dir / PREDICTIONS, PredictionSet(()).to_json())
    else:
        crossval.save_predictions(arm.recipe, options, split, run_dir)
    return True


def run_folder(folder: Path, arm: str, seed: int) -> Path:
    """Folder of an arm's run with a seed."""
    return folder / arm / f"seed-{seed}"


def arm_options(arm: Arm, seed: int, folder: Path) -> dict[str, Any]:
    """Options of an arm, with the checkpoints that they name as folders."""
    options = {
        key: str(bundled_checkpoint(SPEAKER_ENCODER)) if value == SPEAKER_ENCODER else value
        for key, value in arm.options.items()
    }
    if arm.init_from:
        options["init_from"] = str(run_folder(folder, arm.init_from, seed) / "checkpoint")
    return {**options, "seed": seed}


def load_predictions(folder: Path, arm: str, seeds: int) -> list[PredictionSet]:
    """Saved predictions of an arm, for the seeds that have any."""
    paths = [run_folder(folder, arm, seed) / PREDICTIONS for seed in range(seeds)]
    return [PredictionSet.from_json(read_json(path)) for path in paths if path.exists()]


def question_results(paper: Paper, folder: Path, seeds: int) -> list[QuestionResult]:
    """Results of a paper's questions on each of their corpora, where both arms have predictions.

    Raises SerdemoError for damaged predictions.
    """
    results = []
    for question in paper.questions:
        base, other = (
            load_predictions(folder, arm, seeds) for arm in (question.base, question.other)
        )
        for corpus in question.corpora if base and other else ():
            if result := compare_arms(question, corpus, base, other):
                results.append(result)
    return results


def compare_arms(
    question: Question, corpus: str, base: Sequence[PredictionSet], other: Sequence[PredictionSet]
) -> QuestionResult | None:
    """Both arms on the clips of a corpus that all of their models have predicted; None without any."""
    result = uar_difference(corpus, base, other)
    if result is None:
        return None
    return QuestionResult(
        asks=question.asks,
        corpus=corpus,
        base=question.base,
        other=question.other,
        clips=result.clips,
        speakers=result.speakers,
        uar_base=mean_std(result.uar_base),
        uar_other=mean_std(result.uar_other),
        difference=result.difference,
        ci95=result.ci95,
    )


def arm_scores(paper: Paper, folder: Path, seeds: int) -> list[dict[str, Any]]:
    """UAR of each arm that has predictions, on each test corpus."""
    rows = []
    for arm in paper.arms:
        predictions = [p for p in load_predictions(folder, arm.name, seeds) if p.files]
        for corpus in sorted({name for p in predictions for name in p.corpora}):
            scores = [known for p in predictions if (known := score(p.of(corpus))) is not None]
            uar = mean_std([seed.uar for seed in scores])
            rows.append({"arm": arm.name, "corpus": corpus, "n": scores[0].n, "uar": uar})
    return rows


def collect_results(run_dir: Path, seeds: int) -> list[dict[str, Any]]:
    """Results of every paper and network in a folder, ready for JSON.

    Raises SerdemoError when no model has been trained there yet.
    """
    results = []
    for network in NETWORKS:
        for paper in papers(network):
            folder = run_dir / network / paper.number
            if rows := arm_scores(paper, folder, seeds):
                answers = [result.to_json() for result in question_results(paper, folder, seeds)]
                results.append(
                    {
                        "paper": paper.number,
                        "title": paper.title,
                        "network": network,
                        "reported": [
                            {"what": what, "figure": figure} for what, figure in paper.reported
                        ],
                        "not_had": paper.unavailable,
                        "answers": answers,
                        "arms": rows,
                    }
                )
    if not results:
        raise SerdemoError(f"Nothing has been trained to the end in {run_dir} yet.")
    return results


@click.command("papers")
@click.option("--run", "run_dir", required=True, type=PATH, help="Folder of all runs.")
@ROOT
@click.option("--paper", "numbers", multiple=True, help="An arXiv number [default: all three].")
@click.option(
    "--network",
    default="compact",
    show_default=True,
    help="The network: compact, whisper or whisper-frozen.",
)
@click.option("--source", default="", help="Hub id, folder or .safetensors file of Whisper.")
@click.option("--model", "only", multiple=True, help="Name of a model [default: all].")
@click.option("--set", "--with", "texts", multiple=True, metavar="NAME=VALUE", help="An option.")
@number_option("--seeds", 3, 1, 100, "Seeds of each model.")
@STOP_AFTER
@JSON
@click.pass_obj
def command(
    line: str,
    run_dir: Path,
    root: Path | None,
    numbers: tuple[str, ...],
    network: str,
    source: str,
    only: tuple[str, ...],
    texts: tuple[str, ...],
    seeds: int,
    stop_after: float | None,
    as_json: bool,
) -> None:
    """Test the claims of the three papers: train missing models, compare, and write the page.

    A trained model is never trained again, so the same command resumes an interrupted one; with
    --stop-after 0 it writes the page of what there is.
    """
    if network not in NETWORKS:
        raise UsageError(f"There is no network {network!r} here; known are {', '.join(NETWORKS)}.")
    known = {paper.number: paper for paper in papers(network, source)}
    for number in numbers:
        if number not in known:
            raise UsageError(f"There is no paper {number!r} here; known are {', '.join(known)}.")

    def show(title: str, events: Iterator[Event]) -> None:
        click.echo(title, err=True)
        show_training(events)

    finished = all(
        train_models(
            known[number],
            run_dir / network / number,
            data_root(root),
            seeds,
            only=only,
            shared=parsed(TrainOptions, texts),
            command=line,
            stop_after=stop_after,
            show=show,
        )
        for number in numbers or known
    )
    results = collect_results(run_dir, seeds)
    make_folder(run_dir)
    papers_page.write(run_dir, results, strip_local_paths(line) if line else "")
    if as_json:
        print_json({"finished": finished, "papers": results})
        return
    for paper in results:
        for row in papers_page.question_rows(paper):
            click.echo("; ".join(row))
    state = "All is trained." if finished else "Stopped: the same command goes on."
    click.echo(f"{state} The page is {run_dir / papers_page.PAGE}.", err=True)
