"""`serdemo predict`: emotions of recordings, in the terminal or as files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from serdemo.cli.exits import tell
from serdemo.cli.options import CHECKPOINT, DEVICE, JSON, PATH, print_json
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import Prediction


@click.command()
@click.argument("files", nargs=-1, required=True, type=PATH)
@click.option(
    "--same-speaker",
    is_flag=True,
    help="All recordings are of one person, to whose voice the model gets used.",
)
@CHECKPOINT
@DEVICE
@JSON
def predict(
    files: Sequence[Path],
    same_speaker: bool,
    checkpoint: Path | None,
    device: str,
    as_json: bool,
) -> None:
    """Recognise the emotion of the voice in each FILE, or in each sound file of a folder."""
    from serdemo.cli.views.console import show_prediction
    from serdemo.data.corpora.class_folders import audio_files
    from serdemo.inference.predictor import Predictor
    from serdemo.inference.same_speaker import predict_same_speaker

    paths: list[Path] = []
    for path in files:
        matches = list(audio_files(path)) if os.path.isdir(path) else [path]
        if not matches:
            raise SerdemoError(f"There is no sound file in the folder {path}.")
        paths += matches
    predictor = Predictor(checkpoint, device=device)
    predictions: Iterable[Prediction | SerdemoError] = predictor.predict_many(paths)
    if same_speaker:
        found = predict_same_speaker(predictor, paths)
        predictions = found.predictions
        tell(f"Used to this voice by {found.speech_s:.0f} s of its speech.")
    answers, failures = [], 0
    for path, answer in zip(paths, predictions, strict=True):
        if isinstance(answer, SerdemoError):
            failures += 1
            tell(str(answer))
        elif as_json:
            answers.append({**answer.to_json(), "file": str(path)})
        else:
            show_prediction(answer, str(path))
    if as_json:
        print_json(answers)
    if failures:
        sys.exit(1)
