"""Scores of a checkpoint beside those of its card, on whole clips and on short ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from serdemo.audio import waveform
from serdemo.cli.options import CHECKPOINT, JSON, ROOT, number_option, print_json
from serdemo.data import corpora
from serdemo.evaluation import speaker_verification
from serdemo.evaluation.predictions import PredictionSet, concat, predict_dataset, score
from serdemo.evaluation.scoring import select_test_clips
from serdemo.inference.predictor import Embedder, Predictor
from serdemo.metrics.verification import MAX_TRIALS
from serdemo.nn import checkpoint_files
from serdemo.nn.description import read_description
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import read_json
from serdemo.schema.settings import data_root
from serdemo.schema.types import Utterance


def measure(folder: Path, root: Path | None, names: str | None, cut: float) -> dict[str, Any]:
    """Scores (fractions) of a checkpoint on speakers it was neither trained nor selected on.

    For each corpus, and for all together: UAR with its interval, calibration error, UAR of the middle
    `cut` seconds, and accuracy by confidence; for a speaker encoder the equal error rate. `card` tells
    whether the rate equals that of the checkpoint's report. `names` are the corpora, None for those of
    the report.

    Raises UsageError when there is no report and no corpus is named, SerdemoError when a corpus
    cannot be read.
    """
    description = read_description(folder)
    predictor = Predictor(folder) if description.labels else Embedder(folder)
    reported = _reported(folder, "uar" if description.labels else "eer")
    corpus_names = names or ",".join(reported)
    if not corpus_names:
        raise UsageError(f"{folder.name} has no report.json: name the corpora with --corpus.")
    utterances, rows, predictions = corpora.load_many(corpus_names, root), [], []
    for name in dict.fromkeys(clip.corpus for clip in utterances):
        clips = select_test_clips(
            [clip for clip in utterances if clip.corpus == name], "unseen", description
        )
        if isinstance(predictor, Predictor):
            whole = predict_dataset(predictor, clips)
            rows.append(_row(predictor, name, clips, whole, cut, reported))
            predictions.append(whole)
        else:
            rows.append(_verification_row(predictor, name, clips, reported))
    return {
        "checkpoint": description.name,
        "parameters": description.metrics.get("parameters", 0),
        "megabytes": checkpoint_files.weights_bytes(folder) / 1e6,
        "cut_s": cut,
        "corpora": rows,
        "together": _overall(rows, predictions),
    }


def _overall(
    rows: list[dict[str, Any]], predictions: list[PredictionSet]
) -> dict[str, float] | None:
    """Mean UAR over corpora and calibration error over all clips; None without predictions."""
    scores = score(concat(predictions)) if predictions else None
    if scores is None:
        return None
    means = {name: float(np.mean([row[name] for row in rows])) for name in ("uar", "uar_cut")}
    return {"n": scores.n, **means, "ece": scores.ece}


def _reported(folder: Path, rate: str) -> dict[str, float]:
    path = folder / checkpoint_files.REPORT
    if not path.exists():
        return {}
    try:
        return {row["corpus"]: float(row[rate]) for row in read_json(path)}
    except (KeyError, TypeError, ValueError) as problem:
        raise SerdemoError(f"report.json of {folder.name} is damaged.") from problem


def _row(
    predictor: Predictor,
    name: str,
    clips: tuple[Utterance, ...],
    whole: PredictionSet,
    cut: float,
    reported: dict[str, float],
) -> dict[str, Any]:
    short = predict_dataset(predictor, clips, source_of=lambda clip: middle(clip, cut))
    scores, scores_cut = score(whole), score(short)
    if scores is None or scores_cut is None:
        raise UsageError(f"No clip of {name} carries an emotion that {predictor.name} knows.")
    return {
        "corpus": name,
        "n": scores.n,
        "speakers": scores.speakers,
        "uar": scores.uar,
        "uar_ci95": list(scores.uar_ci95),
        "ece": scores.ece,
        "card": _card_note(reported, name, scores.uar),
        "uar_cut": scores_cut.uar,
        "uar_lost": scores.uar - scores_cut.uar,
        **_confidence(whole, predictor.description.unsure_below),
    }


def _verification_row(
    embedder: Embedder, name: str, clips: tuple[Utterance, ...], reported: dict[str, float]
) -> dict[str, Any]:
    limit = embedder.description.options.get("trials", MAX_TRIALS)
    result = speaker_verification.verify(embedder, name, clips, limit)
    if result is None:
        raise UsageError(f"The unseen speakers of {name} make no trials: two are needed.")
    return {**result.to_json(), "card": _card_note(reported, name, result.eer)}


def _card_note(reported: dict[str, float], name: str, rate: float) -> str:
    if name not in reported:
        return "not in its report"
    same = abs(reported[name] - rate) < 5e-4
    return "as in its card" if same else f"its card says {reported[name]:.1%}"


def middle(clip: Utterance, seconds: float) -> waveform.Clip:
    """The middle `seconds` of a clip."""
    whole = waveform.decode(clip.path)
    size = round(seconds * waveform.SAMPLE_RATE)
    start = max(0, (len(whole.samples) - size) // 2)
    return replace(whole, samples=whole.samples[start : start + size])


def _confidence(answers: PredictionSet, below: float) -> dict[str, float | None]:
    """Share of confident predictions, and the accuracy of these and of the others."""
    rows = np.array(answers.probabilities)
    right = np.array(answers.labels)[rows.argmax(1)] == np.array(answers.truth)
    sure = rows.max(1) >= below
    return {
        "sure": float(sure.mean()),
        "right_when_sure": float(right[sure].mean()) if sure.any() else 0.0,
        "right_when_unsure": float(right[~sure].mean()) if (~sure).any() else 0.0,
    }


@click.command("quality")
@CHECKPOINT
@ROOT
@click.option("--corpus", help="Names, folders or CSV files [default: those of its report].")
@number_option("--cut", 1.5, 0.1, 60, "Duration of the short clips, in seconds.")
@JSON
def command(
    checkpoint: Path | None, root: Path | None, corpus: str | None, cut: float, as_json: bool
) -> None:
    """Score a checkpoint's test speakers anew, beside its card; whole clips and short ones."""
    folder = checkpoint or checkpoint_files.bundled_checkpoint()
    figures = measure(folder, data_root(root), corpus, cut)
    if as_json:
        print_json(figures)
        return
    click.echo(
        f"{figures['checkpoint']}: {figures['parameters'] / 1e6:.2f} M parameters,"
        f" {figures['megabytes']:.2f} MB"
    )
    for row in figures["corpora"]:
        if "eer" in row:
            click.echo(
                f"{row['corpus']}: EER {row['eer']:.1%} ({row['card']}), {row['speakers']} speakers,"
                f" {row['same_trials']} trials of one and {row['different_trials']} of two"
            )
            continue
        click.echo(
            f"{row['corpus']}: UAR {row['uar']:.1%} ({row['card']}), ECE {row['ece']:.3f}; of"
            f" {cut:g} s {row['uar_cut']:.1%}; sure of {row['sure']:.1%}, of which"
            f" {row['right_when_sure']:.1%} are right, else {row['right_when_unsure']:.1%}"
        )
    if whole := figures["together"]:
        click.echo(
            f"together: mean UAR {whole['uar']:.1%}, ECE of all {whole['n']} clips"
            f" {whole['ece']:.3f}; mean UAR of {cut:g} s {whole['uar_cut']:.1%}"
        )
