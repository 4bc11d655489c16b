"""Speaker embeddings: verification by hand, and the recipe that no emotion is shown to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from support.command import here
from support.unbroken import Begin

from serdemo.audio.waveform import from_array
from serdemo.data import corpora
from serdemo.data.dataset import ClipDataset
from serdemo.data.splits import Split, by_speakers
from serdemo.inference.predictor import Embedder, Predictor
from serdemo.metrics import verification
from serdemo.nn import checkpoint, checkpoint_files
from serdemo.nn.checkpoint_files import REPORT
from serdemo.nn.description import read_description
from serdemo.runs import training_run
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.types import Utterance
from serdemo.training.events import EpochEnd, Event, Finished, Step
from serdemo.training.fit import fit
from serdemo.training.options import TrainOptions
from serdemo.training.recipes.speaker import Speaker, SpeakerStage
from serdemo.training.recipes.validation import embed

CALM = dict(noise=0.0, reverberation=0.0, bandlimit=0.0, gain=0.0)
RATE = 16_000


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> list[Utterance]:
    """Six speakers of a pitch each, `SPEAKER/EMOTION/N.wav`; emotions differ by their beat."""
    root = tmp_path_factory.mktemp("voices") / "voices"
    for number in range(6):
        for emotion, beats in (("angry", 8.0), ("sad", 2.0)):
            for take in range(2):
                rng = np.random.default_rng((number, take))
                time = np.arange(round(0.5 * RATE)) / RATE
                tone = sum(
                    np.sin(2 * np.pi * 90 * 1.35**number * h * time) / h ** (0.3 + 0.4 * number)
                    for h in range(1, 8)
                )
                wave = tone * (1.2 + np.sin(2 * np.pi * beats * time + take))
                wave += 0.05 * rng.standard_normal(len(time))
                place = root / f"v{number}" / emotion
                place.mkdir(parents=True, exist_ok=True)
                soundfile.write(place / f"{take}.wav", 0.3 * wave / np.abs(wave).max(), RATE)
    return corpora.load(str(root))


@pytest.fixture(scope="module")
def split(voices: list[Utterance]) -> Split:
    return by_speakers(voices, valid=["v1", "v4"], test=["v2", "v5"])


@pytest.fixture
def begin(tiny_values: dict[str, Any]) -> Begin:
    def begin(run: Path, of: Split, *, resume: bool = False, **more: Any) -> Iterator[Event]:
        stop = more.pop("stop", lambda: None)
        values = {**tiny_values, **more}
        own = {name: values.pop(name) for name in list(values) if name in TrainOptions().to_json()}
        return fit(Speaker.from_values(values), TrainOptions(**own), of, run, stop, resume=resume)

    return begin


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, tiny_values: dict[str, Any], split: Split
) -> Path:
    """A finished run of two epochs, with its report."""
    run = tmp_path_factory.mktemp("runs") / "voice"
    events = list(
        training_run.train("speaker", tiny_values, split, run, command="serdemo train speaker")
    )
    assert isinstance(events[-1], Finished)
    assert events[-1].note.endswith("use it with embed or --embeddings.")
    return run


@pytest.mark.slow
def test_speakers_are_learnt_by_heart(
    begin: Begin, voices: list[Utterance], tmp_path: Path
) -> None:
    eight = tuple(u for u in voices if u.speaker in ("v0", "v3"))
    assert len(eight) == 8
    quick = dict(batch_size=8, epochs=40, learning_rate=1e-2, ema_decay=0.5)
    events = list(begin(tmp_path / "run", Split(train=eight), **CALM, **quick))
    losses = [e.loss for e in events if isinstance(e, Step)]
    assert losses[-1] < 0.05 * losses[0]
    model, _ = checkpoint.load(tmp_path / "run" / "checkpoint")
    trials = verification.make_trials(
        embed(model, ClipDataset(eight, ()), 8), [u.speaker for u in eight]
    )
    assert trials is not None
    assert trials.eer == 0.0


def test_no_emotion_is_shown_to_it(begin: Begin, split: Split, tmp_path: Path) -> None:
    """Whatever emotions the clips carry, the weights are the same to the last bit."""
    other = Split(
        *(tuple(replace(u, emotion="fear") for u in part) for part in split.parts.values())
    )
    for name, of in (("one", split), ("other", other)):
        list(begin(tmp_path / name, of))
    weights = [
        tmp_path / name / "checkpoint" / checkpoint_files.WEIGHTS for name in ("one", "other")
    ]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_every_speaker_is_drawn_alike_unless_told_otherwise(
    tiny_values: dict[str, Any], voices: list[Utterance]
) -> None:
    uneven = [u for u in voices if u.speaker == "v0"] + [
        next(u for u in voices if u.speaker == "v3")
    ]
    own = {k: v for k, v in tiny_values.items() if k not in TrainOptions().to_json()}
    for balance, expected in ((1.0, 0.5), (0.0, 0.2), (0.5, 1 / 3)):
        recipe = Speaker.from_values({**own, "balance": balance})
        model = checkpoint.build(recipe.describe(Split(train=tuple(uneven))))
        stage = SpeakerStage(recipe, model, Split(train=tuple(uneven)), 0)
        assert stage.weights[-1] == pytest.approx(expected)
        assert stage.extra["prototypes"].shape == (2, 8)


def test_it_is_chosen_by_the_error_rate_of_unseen_speakers(
    begin: Begin, split: Split, tmp_path: Path
) -> None:
    events = list(begin(tmp_path / "run", split))
    ends = [e for e in events if isinstance(e, EpochEnd)]
    assert [set(e.metrics) for e in ends] == [{"eer", "eer_voices"}] * 2
    best = min(ends, key=lambda e: e.metrics["eer"])
    model, description = checkpoint.load(tmp_path / "run" / "checkpoint")
    assert description.metrics["validation"] == best.metrics
    trials = verification.make_trials(
        embed(model, ClipDataset(split.valid, ()), 8), [u.speaker for u in split.valid]
    )
    assert trials is not None
    assert trials.eer == pytest.approx(best.metrics["eer"], abs=0.1)  # weights are kept in half


def test_one_validation_speaker_makes_no_trials(
    begin: Begin, voices: list[Utterance], tmp_path: Path
) -> None:
    events = list(begin(tmp_path / "run", by_speakers(voices, valid=["v1"]), epochs=1))
    assert not any(isinstance(e, EpochEnd) for e in events)
    assert isinstance(events[-1], Finished)


def test_one_training_speaker_is_refused(begin: Begin, voices: list[Utterance], tmp_path: Path):
    alone = tuple(u for u in voices if u.speaker == "v0")
    with pytest.raises(UsageError, match="at least two to train on; found voices/v0"):
        list(begin(tmp_path / "run", Split(train=alone)))


def test_the_report_verifies_the_test_speakers(trained: Path, split: Split) -> None:
    folder = trained / "checkpoint"
    (row,) = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    # 8 clips of 2 speakers: 28 pairs, of which twice 6 of one speaker.
    assert (row["corpus"], row["n"], row["speakers"]) == ("voices", 8, 2)
    assert (row["same_trials"], row["different_trials"]) == (12, 16)
    assert row["unseen_speakers"] is True
    assert 0 <= row["eer"] <= 1
    assert row["eer_ci95"] is None
    description = read_description(folder)
    assert description.labels == ()
    assert description.metrics["test"]["voices"]["eer"] == row["eer"]
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"| voices | 2 | 8 | {row['eer']:.1%} | not known | 12 and 16 |" in card
    assert "no emotion label was ever shown to it" in card
    assert "not sure" not in card and "UAR" not in card
    assert split.fingerprint[:16] in card


def test_what_it_embeds_does_not_depend_on_company(trained: Path, split: Split) -> None:
    embedder = Embedder(trained / "checkpoint", device="cpu")
    paths = [u.path for u in split.test]
    together = [one.embedding for one in embedder.embed_many(paths)]  # type: ignore[union-attr]
    (alone,) = embedder.embed_many(paths[3:4])
    assert not isinstance(alone, SerdemoError)
    assert alone.probabilities.shape == (0,)
    np.testing.assert_allclose(alone.embedding, together[3], atol=1e-5)
    assert len({row.tobytes() for row in together}) == len(paths)


def test_an_embedding_and_its_answer_are_of_one_hearing(tiny_checkpoint: Path, voices) -> None:
    predictor = Predictor(tiny_checkpoint, device="cpu")
    path = voices[0].path
    (output,) = predictor.embed_many([path])
    assert not isinstance(output, SerdemoError)
    answer = predictor.predict(path).probabilities
    assert output.probabilities == pytest.approx(list(answer.values()), abs=1e-6)
    # A clip of one window: its probabilities are those of its embedding.
    row = predictor.classify(output.embedding[None])[0]
    assert row == pytest.approx(output.probabilities, abs=1e-6)


@pytest.mark.parametrize("seconds", [0.5, 4.0, 9.0])
def test_what_is_heard_is_what_is_answered_at_any_length(
    tiny_checkpoint: Path, voices: list[Utterance], seconds: float
) -> None:
    """One window, one that holds all of several, or several by their speech."""
    predictor = Predictor(tiny_checkpoint, device="cpu")
    sound = np.concatenate([soundfile.read(u.path, dtype="float32")[0] for u in voices[:18]])
    clip = from_array(sound[: round(seconds * RATE)], RATE)
    (output,) = predictor.embed_many([clip])
    assert not isinstance(output, SerdemoError)
    answer = predictor.predict(clip).probabilities
    assert output.probabilities == pytest.approx(list(answer.values()), abs=1e-5)


REFUSED = "voice embeds voices and has no emotion classifier"


@pytest.mark.slow
def test_it_refuses_to_answer(trained: Path, voices: list[Utterance], tmp_path: Path) -> None:
    folder, clip = trained / "checkpoint", voices[0].path
    for command in (
        ("predict", clip, "--checkpoint", folder),
        ("evaluate", folder, "--corpus", clip.parents[2], "--speakers", "all"),
        ("app", "--checkpoint", folder),
    ):
        ran = here(*command)
        assert (ran.code, ran.out) == (1, "")
        assert REFUSED in ran.err
        assert len(ran.err.splitlines()) == 1
    ran = here(
        "crossval", "speaker", "--by", "speaker", "--corpus", clip.parents[2], "--run", tmp_path
    )
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "answers no emotion" in ran.err


def test_its_card_is_measured_anew(trained: Path, voices: list[Utterance]) -> None:
    folder, root = trained / "checkpoint", voices[0].path.parents[3]
    command = ("bench", "quality", "--checkpoint", folder, "--root", root)
    (row,) = here(*command, "--json").json()["corpora"]
    (report,) = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    assert row["card"] == "as in its card"
    assert {name: row[name] for name in report if name != "checkpoint"} == {
        name: value for name, value in report.items() if name != "checkpoint"
    }
    ran = here(*command)
    assert f"EER {report['eer']:.1%} (as in its card), 2 speakers, 12 trials of one" in ran.out


def test_an_emotion_recipe_may_begin_from_it(
    trained: Path, tiny_values: dict[str, Any], split: Split, tmp_path: Path
) -> None:
    start = {**tiny_values, "init_from": str(trained / "checkpoint"), "learning_rate": 1e-7}
    list(training_run.train("supervised", start, split, tmp_path / "run"))
    model, description = checkpoint.load(tmp_path / "run" / "checkpoint")
    before, _ = checkpoint.load(trained / "checkpoint")
    assert len(description.labels) == 7
    torch.testing.assert_close(model.embedding.weight, before.embedding.weight, atol=1e-3, rtol=0)
