from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support import bad_audio
from torch import nn

from serdemo.audio import waveform
from serdemo.inference.clip_outputs import ClipOutput
from serdemo.inference.predictor import Predictor
from serdemo.nn import checkpoint
from serdemo.nn.checkpoint_files import bundled_checkpoint
from serdemo.nn.description import Description
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.types import Prediction

LABELS = ("angry", "happy", "sad")


@pytest.fixture(scope="module")
def predictor(tiny_checkpoint: Path) -> Predictor:
    return Predictor(tiny_checkpoint, device="cpu")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twenty voices of different length and pitch: more than are answered at once."""
    folder = tmp_path_factory.mktemp("voices")
    made = []
    for number in range(20):
        voice = bad_audio.voice(0.4 + 0.25 * number)
        path = folder / f"voice-{number}.wav"
        path.write_bytes(bad_audio.wav(voice, 14_000 + 400 * number))
        made.append(path)
    return made


def answer(predictor: Predictor, samples: np.ndarray, name: str = "clip") -> Prediction:
    return predictor.predict(waveform.from_array(samples, 16_000, name))


def assert_same(one: Prediction, other: Prediction, within: float = 1e-5) -> None:
    assert one.label == other.label
    assert one.warnings == other.warnings
    assert len(one.segments) == len(other.segments)
    for mine, theirs in zip((one, *one.segments), (other, *other.segments), strict=True):
        assert mine.probabilities == pytest.approx(theirs.probabilities, abs=within)


def test_path_text_and_samples_give_one_answer(predictor: Predictor, files: list[Path]) -> None:
    clip = waveform.decode(files[7])
    by_path = predictor.predict(files[7])
    assert by_path.file == "voice-7.wav"
    assert by_path.duration_s == round(clip.duration_s, 3)
    assert predictor.predict(str(files[7])) == by_path
    assert predictor.predict(clip) == by_path
    from_samples = answer(predictor, clip.samples)
    # Sound that passed the high-pass filter once passes it again: hardly a difference.
    assert from_samples.probabilities == pytest.approx(by_path.probabilities, abs=0.01)
    assert predictor.predict(files[7], name="visitor.wav").file == "visitor.wav"


def test_what_an_answer_is(predictor: Predictor, files: list[Path]) -> None:
    for path in files[::6]:
        one = predictor.predict(path)
        assert tuple(one.probabilities) == LABELS
        assert sum(one.probabilities.values()) == pytest.approx(1.0)
        assert one.confidence == max(one.probabilities.values())
        assert one.probabilities[one.label] == one.confidence
        assert one.nearest(1) == [one.label]
        assert one.has_speech
        for segment in one.segments:
            assert sum(segment.probabilities.values()) == pytest.approx(1.0)
            assert segment.confidence == segment.probabilities[segment.label]
            assert 0 < segment.speech_ratio <= 1
    # The answers differ, so that agreeing elsewhere says something.
    rows = [list(predictor.predict(path).probabilities.values()) for path in files[::4]]
    assert np.ptp(rows, axis=0).max() > 0.05


def test_many_at_once_answer_as_one_by_one(predictor: Predictor, files: list[Path]) -> None:
    together = list(predictor.predict_many(files))
    assert [one.file for one in together if isinstance(one, Prediction)] == [p.name for p in files]
    for path, one in zip(files, together, strict=True):
        assert isinstance(one, Prediction)
        assert_same(one, predictor.predict(path))


def test_a_long_recording_is_answered_as_its_pieces_come(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence = np.zeros(56_000, np.float32)
    sound = np.concatenate([bad_audio.voice(30.0), silence, bad_audio.sine(1.2)])
    path = tmp_path / "long.wav"
    path.write_bytes(bad_audio.wav(sound))
    at_once = predictor.predict(path)
    steps: list[tuple[float, float | None]] = []
    monkeypatch.setattr("serdemo.inference.predictor.LONG_S", 20.0)
    monkeypatch.setattr("serdemo.audio.decoding.BLOCK_VALUES", 40_000)
    in_pieces = predictor.predict(path, progress=lambda *step: steps.append(step))
    assert_same(in_pieces, at_once)
    assert (in_pieces.duration_s, len(in_pieces.segments)) == (34.7, len(at_once.segments))
    assert [total for _, total in steps[:-1]] == [pytest.approx(34.7)] * (len(steps) - 1)
    assert steps[0][0] == pytest.approx(2.5) and steps[-1] == (pytest.approx(34.7),) * 2
    (many,) = predictor.predict_many([path])
    assert isinstance(many, Prediction)
    assert_same(many, at_once)


def test_what_is_scored_is_what_a_user_is_told(
    predictor: Predictor, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    silence = np.zeros(56_000, np.float32)
    long = np.concatenate([bad_audio.voice(3.9), silence, bad_audio.sine(1.2)])
    hum = bad_audio.sine(5.0)
    sources = [*files, *(waveform.from_array(wave, 16_000, "") for wave in (hum, long))]
    told = [predictor.predict(source) for source in sources]
    scored = []
    embeddings = predictor.embeddings
    monkeypatch.setattr(
        predictor, "embeddings", lambda waves: scored.append(len(waves)) or embeddings(waves)
    )
    for one, output in zip(told, predictor.embed_many(sources), strict=True):
        assert isinstance(output, ClipOutput)
        assert list(one.probabilities.values()) == pytest.approx(output.probabilities, abs=1e-5)
    n_scored = sum(scored)
    # A sound that one window holds is scored once, not by the windows in it besides; of the long one
    # four windows hold speech.
    clips = [waveform.decode(path) for path in files]
    due = [len(output.windows) for output in predictor.score_clips(clips, segments=True)]
    assert n_scored == len(files) + 1 + 4 < sum(due)
    assert not told[-2].has_speech


@pytest.mark.slow
def test_a_bad_file_among_good_ones(
    predictor: Predictor, files: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "bad.wav").write_bytes(b"nothing like sound")
    missing = tmp_path / "gone.wav"
    mixed = [files[0], tmp_path / "bad.wav", files[1], missing, *files[2:17], missing]
    found = list(predictor.predict_many(mixed))
    assert len(found) == 20
    errors = {place for place, one in enumerate(found) if isinstance(one, SerdemoError)}
    assert errors == {1, 3, 19}
    assert str(found[1]).startswith("bad.wav ")
    assert str(found[3]) == "gone.wav was not found: check its name and folder."
    for place in {*range(20)} - errors:
        one = found[place]
        assert isinstance(one, Prediction)
        assert one.file == mixed[place].name
    with pytest.raises(SerdemoError, match=r"gone\.wav was not found"):
        predictor.predict(missing)


def test_sources_are_taken_as_they_are_needed(predictor: Predictor, files: list[Path]) -> None:
    taken = []

    def sources() -> Iterator[Path]:
        for _ in range(1000):
            taken.append(files[0])
            yield files[0]

    next(iter(predictor.predict_many(sources())))
    assert len(taken) <= 32
    assert list(predictor.predict_many([])) == []


def test_a_long_clip_is_the_mean_of_its_windows_by_their_speech(predictor: Predictor) -> None:
    silence = np.zeros(56_000, np.float32)
    long = np.concatenate([bad_audio.voice(3.9), silence, bad_audio.sine(1.2)])
    one = answer(predictor, long)
    spans = [(segment.start_s, segment.end_s) for segment in one.segments]
    assert spans == [(0, 3), (1, 4), (2, 5), (3, 6), (4, 7), (5, 8), (5.6, 8.6)]
    speech = np.array([segment.speech_ratio for segment in one.segments])
    assert speech[0] > 0.5 > speech[3] > 0
    assert speech[-1] == 0
    filtered = waveform.from_array(long, 16_000).samples
    pieces = [filtered[round(start * 16_000) : round(stop * 16_000)] for start, stop in spans]
    rows = np.array([predictor.probabilities([piece])[0] for piece in pieces])
    whole = np.array([one.probabilities[label] for label in LABELS])
    np.testing.assert_allclose(whole, speech @ rows / speech.sum(), atol=1e-3)
    assert np.abs(whole - rows.mean(0)).max() > 0.01  # and not the plain mean
    # What a window alone says, and what a shuffled batch says of it, is the same.
    order = [3, 0, 6, 2, 5, 1, 4]
    shuffled = predictor.probabilities([pieces[place] for place in order])
    np.testing.assert_allclose(shuffled, rows[order], atol=1e-5)


@pytest.fixture(scope="module")
def of_images(tmp_path_factory: pytest.TempPathFactory) -> Callable[[float], Predictor]:
    """A model that sees so many seconds as an image."""

    def made(seconds: float) -> Predictor:
        heads = {"pooling": "cnn", "image_seconds": seconds, "image_side": 32, "cnn_layers": 3}
        description = Description(LABELS, "mfcc", {}, heads)
        torch.manual_seed(0)
        model = checkpoint.build(description)
        nn.init.normal_(model.classifier.weight, std=2.0)  # or all answers are much alike
        folder = tmp_path_factory.mktemp("images") / f"of-{seconds:g}"
        checkpoint.save(folder, model.eval(), description)
        return Predictor(folder, device="cpu")

    return made


@pytest.mark.parametrize("seconds", [2.5, 4.0, 6.5, 7.0])
def test_a_model_of_images_answers_the_clip_that_fills_one_as_it_learns_it(
    of_images: Callable[[float], Predictor], seconds: float
) -> None:
    predictor = of_images(7.0)
    clip = np.concatenate([bad_audio.voice(seconds - 1.5), bad_audio.sine(1.5)])
    with torch.inference_mode():
        passed = torch.from_numpy(waveform.from_array(clip, 16_000).samples.copy())
        logits = predictor.model.logits(passed[None], torch.tensor([len(clip)]))
    one = answer(predictor, clip)
    expected = logits[0].double().softmax(0).tolist()
    assert list(one.probabilities.values()) == pytest.approx(expected, abs=1e-5)
    assert [(s.start_s, s.end_s) for s in one.segments] == [(0, seconds)]
    live = predictor.stream(16_000)  # and so it does live, once the clip has come to its end
    live.push(clip)
    live.finish()
    due = live.ready_windows()
    for window, row in zip(due, predictor.probabilities([w.wave for w in due]), strict=True):
        live.add_scores(window, row)
    assert list(live.result("clip").probabilities.values()) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("seconds", [0.5, 2.0, 7.0])
def test_a_model_of_images_hears_a_longer_clip_to_its_end(
    of_images: Callable[[float], Predictor], seconds: float
) -> None:
    predictor = of_images(seconds)
    clip = np.concatenate([bad_audio.voice(seconds + 0.25), bad_audio.sine(0.75)])
    one = answer(predictor, clip)
    spans = [(s.start_s, s.end_s) for s in one.segments]
    assert spans[0] == (0, seconds)
    assert spans[-1] == (1.0, seconds + 1)
    pieces = [clip[round(16_000 * start) : round(16_000 * stop)] for start, stop in spans]
    speech = np.array([s.speech_ratio for s in one.segments])
    expected = speech @ predictor.probabilities(pieces) / speech.sum()
    np.testing.assert_allclose(list(one.probabilities.values()), expected, atol=1e-3)


@pytest.mark.parametrize("seconds", [1.0, 8.0])
def test_silence_has_no_answer(predictor: Predictor, seconds: float) -> None:
    one = answer(predictor, np.zeros(round(16_000 * seconds), np.float32))
    assert not one.has_speech
    assert one.unsure
    assert one.warnings[0].startswith("The recording is silent: check")
    assert sum(one.probabilities.values()) == pytest.approx(1.0)


def test_a_tone_is_no_speech(predictor: Predictor) -> None:
    one = answer(predictor, bad_audio.sine(4.0))
    assert not one.has_speech
    assert one.unsure
    assert all(segment.speech_ratio == 0 for segment in one.segments)


def test_one_sample_is_answered(predictor: Predictor) -> None:
    one = answer(predictor, np.full(1, 0.3, np.float32))
    assert one.unsure
    assert len(one.segments) == 1
    assert all(math.isfinite(value) for value in one.probabilities.values())


def test_temperature_and_threshold_come_from_the_checkpoint(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    model, description = checkpoint.load(tiny_checkpoint)
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "changed"))
    checkpoint.save(folder, model, replace(description, temperature=4.0, unsure_below=1.0))
    changed = Predictor(folder, device="cpu")
    wave = bad_audio.voice(2.0)
    with torch.inference_mode():
        logits = model.logits(torch.from_numpy(wave)[None], torch.tensor([len(wave)]))[0]
    expected = (logits.double() / 4.0).softmax(0).numpy()
    np.testing.assert_allclose(changed.probabilities([wave])[0], expected, atol=1e-6)
    assert answer(changed, wave).unsure
    checkpoint.save(folder, model, replace(description, unsure_below=0.0))
    assert not answer(Predictor(folder, device="cpu"), wave).unsure


def test_threads_share_a_predictor(
    predictor: Predictor, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = [predictor.predict(path) for path in files[:12]]
    embed, inside, most = predictor.model.embed, [], []

    def watched(wave: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.005)
        result = embed(wave, lengths)
        inside.pop()
        return result

    monkeypatch.setattr(predictor.model, "embed", watched)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(2):
            together = list(pool.map(predictor.predict, files[:12]))
            for one, other in zip(alone, together, strict=True):
                assert_same(one, other, within=1e-6)
    assert max(most) == 1  # the network itself is entered by one at a time


def test_no_windows_no_rows(predictor: Predictor) -> None:
    assert predictor.probabilities([]).shape == (0, 3)


def test_the_answer_as_json(predictor: Predictor, files: list[Path]) -> None:
    values = predictor.predict(files[0]).to_json()
    assert list(values) == [
        *("file", "duration_s", "label", "confidence", "unsure", "probabilities"),
        *("segments", "warnings"),
    ]
    assert list(values["segments"][0])[:5] == [
        *("start_s", "end_s", "label", "confidence", "probabilities")
    ]


def test_what_is_not_there_is_one_sentence(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(SerdemoError, match="holds no checkpoint 'colossal'; name one by its"):
        bundled_checkpoint("colossal")
    with pytest.raises(SerdemoError, match="There is no checkpoint nowhere"):
        Predictor(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="no device 'abacus' on this machine; try --device cpu"):
        Predictor(tiny_checkpoint, device="abacus")
