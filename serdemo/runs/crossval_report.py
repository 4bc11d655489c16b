"""The report of a cross-validation as one JSON document; rates are fractions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serdemo.data.protocols import LEAVE_ONE_CORPUS_OUT, Fold, seeds, speaker_overlap
from serdemo.evaluation.model_card import strip_local_paths
from serdemo.evaluation.predictions import PredictionSet, concat, mean_of_corpora, scores_over_seeds
from serdemo.evaluation.report import SCORING_METHOD
from serdemo.schema.errors import SerdemoError

Document = dict[str, Any]
TestedFold = tuple[Fold, Sequence[PredictionSet]]  # a fold with its predictions, one set per seed


def document(
    protocol: Mapping[str, Any],
    folds: Sequence[Fold],
    predictions: Sequence[Sequence[PredictionSet]],
) -> Document:
    """The report of a finished protocol and its `crossval.load_predictions`, ready for JSON.

    Raises SerdemoError when no fold has a clip to score.
    """
    by_kind: dict[str, list[TestedFold]] = {}
    for fold, of_seeds in zip(folds, predictions, strict=True):
        by_kind.setdefault(fold.kind, []).append((fold, of_seeds))
    shared = _shared(by_kind) if "shared" in by_kind else None
    results = _matrix(by_kind) if protocol["by"] == "corpus" else _folds(by_kind["unseen"])
    return {
        "recipe": protocol["recipe"],
        "by": protocol["by"],
        "corpora": sorted({u.corpus for f in folds for u in (*f.split.train, *f.split.test)}),
        "folds_asked": protocol["folds"],
        "seeds": seeds(protocol),
        "options": protocol["options"],
        "command": strip_local_paths(protocol["command"]) if protocol["command"] else "",
        "code_version": protocol["code"],
        "protocol": sentence(protocol),
        "counted": SCORING_METHOD,
        **results,
        "speakers_shared": shared,
    }


def sentence(protocol: Mapping[str, Any]) -> str:
    """The protocol in words: which clips train, select the epoch, and test."""
    selection = (
        " The epoch is chosen by about 15 % of the training speakers (where a corpus has one"
        " training speaker, none of it), never by the test speakers."
    )
    if protocol["by"] == "corpus":
        return (
            "Trained on each corpus alone and tested on each: on its own by a fifth of its speakers,"
            " kept out of training, on the others by all their speakers. Then trained on all corpora"
            " but the tested one." + selection
        )
    if protocol["by"] == LEAVE_ONE_CORPUS_OUT:
        return "Each corpus left out once, and trained on all the others." + selection
    unit = protocol["by"] if protocol["folds"] is None else f"group of {protocol['by']}s"
    count = "" if protocol["folds"] is None else f" ({protocol['folds']} folds)"
    return f"Each {unit} left out once{count}; every clip is tested exactly once." + selection


def _facts(fold: Fold) -> Document:
    split = fold.split
    return {
        "name": fold.name,
        "folder": fold.folder,
        "train_clips": len(split.train),
        "valid_clips": len(split.valid),
        "valid_speakers": list(split.speakers("valid")),
        "test_speakers": list(split.speakers("test")),
    }


def _pooled(tested: Sequence[TestedFold]) -> list[PredictionSet]:
    """One set of predictions per seed, over all folds."""
    return [concat(parts) for parts in zip(*(of_seeds for _, of_seeds in tested), strict=True)]


def _folds(tested: Sequence[TestedFold]) -> Document:
    pooled = _pooled(tested)
    if (scores := scores_over_seeds(pooled)) is None:
        raise SerdemoError("No test clip is of a class that was trained on: check the corpora.")
    corpora = sorted(set(pooled[0].corpora))
    return {
        "folds": [
            {**_facts(fold), "scores": scores_over_seeds(of_seeds)} for fold, of_seeds in tested
        ],
        "pooled": scores,
        "by_corpus": {
            name: scores_over_seeds([part.of(name) for part in pooled]) for name in corpora
        },
        "mean_of_corpora": mean_of_corpora(pooled) if len(corpora) > 1 else None,
    }


def _shared(by_kind: Mapping[str, Sequence[TestedFold]]) -> Document | None:
    """The score with shared speakers beside the speaker-independent one on as many clips per class."""
    twins = by_kind["shared"]
    dependent = scores_over_seeds(_pooled(twins))
    # Without unseen speakers the diagonal of the matrix, where a corpus has speakers to test.
    diagonal = [
        (fold, [part.of(fold.name) for part in of_seeds])
        for fold, of_seeds in by_kind.get("one corpus", ())
    ]
    diagonal = [(fold, parts) for fold, parts in diagonal if parts[0].files]
    independent = scores_over_seeds(_pooled(by_kind.get("unseen", diagonal)))
    if dependent is None or independent is None:
        return None
    n_clips = sum(len(fold.split.test) for fold, _ in twins)
    n_shared = sum(speaker_overlap(fold.split) * len(fold.split.test) for fold, _ in twins)
    return {
        "scores": dependent,
        "uar_independent": independent["uar"],
        "uar_difference": dependent["uar"] - independent["uar"],
        "test_clips_with_speaker_in_training": n_shared / n_clips,
    }


def _matrix(by_kind: Mapping[str, Sequence[TestedFold]]) -> Document:
    trained = {fold.name: (fold, of_seeds) for fold, of_seeds in by_kind["one corpus"]}
    names = sorted(trained)

    def cell(train: str, test: str) -> Document:
        scores = scores_over_seeds([part.of(test) for part in trained[train][1]])
        return {"train": train, "test": test, "scores": scores}

    cells = [cell(train, test) for train in names for test in names]
    uar = [cell["scores"] and cell["scores"]["uar"] for cell in cells]
    return {
        "matrix": {
            "corpora": names,
            "uar": [uar[at : at + len(names)] for at in range(0, len(uar), len(names))],
            "cells": cells,
            "models": [_facts(trained[name][0]) for name in names],
        },
        "leave_one_out": [
            {"test": fold.name, **_facts(fold), "scores": scores_over_seeds(of_seeds)}
            for fold, of_seeds in sorted(by_kind["other corpora"], key=lambda pair: pair[0].name)
        ],
    }
