"""What a protocol found, as one JSON document: rates are fractions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serdemo.data.protocols import LEAVE_ONE_CORPUS_OUT, Fold, seeds, speaker_overlap
from serdemo.evaluation.model_card import strip_local_paths
from serdemo.evaluation.predictions import PredictionSet, concat, mean_of_corpora, result
from serdemo.evaluation.report import SCORING_METHOD
from serdemo.schema.errors import SerdemoError

Found = dict[str, Any]


def document(
    protocol: Mapping[str, Any], tasks: Sequence[Fold], answers: Sequence[Sequence[PredictionSet]]
) -> Found:
    """All that a finished protocol found, ready for JSON; `answers` as `crossval.read` gives them.

    Raises SerdemoError when no fold has a clip to score.
    """
    kinds: dict[str, list[tuple[Fold, Sequence[PredictionSet]]]] = {}
    for task, found in zip(tasks, answers, strict=True):
        kinds.setdefault(task.kind, []).append((task, found))
    shared = _shared(kinds) if "shared" in kinds else None
    parts = _matrix(kinds) if protocol["by"] == "corpus" else _folds(kinds["unseen"])
    return {
        "recipe": protocol["recipe"],
        "by": protocol["by"],
        "corpora": sorted({u.corpus for t in tasks for u in (*t.split.train, *t.split.test)}),
        "folds_asked": protocol["folds"],
        "seeds": seeds(protocol),
        "options": protocol["options"],
        "command": strip_local_paths(protocol["command"]) if protocol["command"] else "",
        "code_version": protocol["code"],
        "protocol": sentence(protocol),
        "counted": SCORING_METHOD,
        **parts,
        "speakers_shared": shared,
    }


def sentence(protocol: Mapping[str, Any]) -> str:
    """Who trains, who chooses and who is tested, in words."""
    chosen = (
        " The epoch is chosen by about 15 % of the training speakers (where a corpus has one"
        " training speaker, none of it), never by the test speakers."
    )
    if protocol["by"] == "corpus":
        return (
            "Trained on each corpus alone and tested on each: on its own by a fifth of its speakers,"
            " kept out of training, on the others by all their speakers. Then trained on all corpora"
            " but the tested one." + chosen
        )
    if protocol["by"] == LEAVE_ONE_CORPUS_OUT:
        return "Each corpus left out once, and trained on all the others." + chosen
    what = protocol["by"] if protocol["folds"] is None else f"group of {protocol['by']}s"
    grouped = "" if protocol["folds"] is None else f" ({protocol['folds']} folds)"
    return f"Each {what} left out once{grouped}; every clip is tested exactly once." + chosen


def _facts(task: Fold) -> Found:
    split = task.split
    return {
        "name": task.name,
        "folder": task.folder,
        "train_clips": len(split.train),
        "valid_clips": len(split.valid),
        "valid_speakers": list(split.speakers("valid")),
        "test_speakers": list(split.speakers("test")),
    }


def _pooled(done: Sequence[tuple[Fold, Sequence[PredictionSet]]]) -> list[PredictionSet]:
    """One set of answers a seed, over all folds."""
    return [concat(fold) for fold in zip(*(found for _, found in done), strict=True)]


def _folds(done: Sequence[tuple[Fold, Sequence[PredictionSet]]]) -> Found:
    pooled = _pooled(done)
    if (whole := result(pooled)) is None:
        raise SerdemoError("No test clip is of a class that was trained on: check the corpora.")
    corpora = sorted(set(pooled[0].corpora))
    return {
        "folds": [{**_facts(task), "scores": result(found)} for task, found in done],
        "pooled": whole,
        "by_corpus": {name: result([one.of(name) for one in pooled]) for name in corpora},
        "mean_of_corpora": mean_of_corpora(pooled) if len(corpora) > 1 else None,
    }


def _shared(kinds: Mapping[str, Sequence[tuple[Fold, Sequence[PredictionSet]]]]) -> Found | None:
    """The score with speakers shared, beside the independent one on as many clips of each class."""
    twins = kinds["shared"]
    flattered = result(_pooled(twins))
    if "unseen" in kinds:
        honest = result(_pooled(kinds["unseen"]))
    else:  # of a matrix, the diagonal
        alone = [(t, [a.of(t.name) for a in found]) for t, found in kinds["one corpus"]]
        honest = result(_pooled([(t, found) for t, found in alone if found[0].files]))
    if flattered is None or honest is None:
        return None
    clips = sum(len(task.split.test) for task, _ in twins)
    shared = sum(speaker_overlap(task.split) * len(task.split.test) for task, _ in twins)
    return {
        "scores": flattered,
        "uar_independent": honest["uar"],
        "uar_difference": flattered["uar"] - honest["uar"],
        "test_clips_with_speaker_in_training": shared / clips,
    }


def _matrix(kinds: Mapping[str, Sequence[tuple[Fold, Sequence[PredictionSet]]]]) -> Found:
    rows = {task.name: (task, found) for task, found in kinds["one corpus"]}
    names = sorted(rows)

    def cell(train: str, test: str) -> Found:
        scores = result([one.of(test) for one in rows[train][1]])
        return {"train": train, "test": test, "scores": scores}

    cells = [cell(train, test) for train in names for test in names]
    uar = [one["scores"] and one["scores"]["uar"] for one in cells]
    return {
        "matrix": {
            "corpora": names,
            "uar": [uar[at : at + len(names)] for at in range(0, len(uar), len(names))],
            "cells": cells,
            "models": [_facts(rows[name][0]) for name in names],
        },
        "leave_one_out": [
            {"test": task.name, **_facts(task), "scores": result(found)}
            for task, found in sorted(kinds["other corpora"], key=lambda one: one[0].name)
        ],
    }
