"""The recipe `ssl_cnn`: its images made once, stops and kills, and what comes out of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.unbroken import Begin, end_of, the_same

from serdemo.data import corpora
from serdemo.data.dataset import ClipDataset
from serdemo.data.splits import Split, by_speakers
from serdemo.evaluation.predictions import PredictionSet
from serdemo.inference.predictor import Predictor
from serdemo.nn import checkpoint, checkpoint_files
from serdemo.nn.description import Description, read_description
from serdemo.nn.encoders.options import PretrainedOptions
from serdemo.runs import crossval, estimate, training_run
from serdemo.runs.estimate import time_dry_run
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import read_json
from serdemo.schema.options import pick
from serdemo.schema.types import Utterance
from serdemo.training.events import EpochEnd, Event, Finished, Step
from serdemo.training.fit import fit
from serdemo.training.options import TrainOptions
from serdemo.training.recipes.cached_clips import CachedClips
from serdemo.training.recipes.frozen_features import ImageCache
from serdemo.training.recipes.ssl_cnn import XLSR, ImageStage, SslCnn


@pytest.fixture
def begin(image_values: dict[str, Any], split: Split) -> Begin:
    def begin(
        run: Path, *, of: Split = split, resume: bool = False, **more: Any
    ) -> Iterator[Event]:
        stop = more.pop("stop", lambda: None)
        groups = (*SslCnn.groups, TrainOptions)
        *groups_of_options, options = pick(groups, {**SslCnn.defaults, **image_values, **more})
        assert isinstance(options, TrainOptions)
        recipe = SslCnn({type(group): group for group in groups_of_options})
        return fit(recipe, options, of, run, stop, resume=resume)

    return begin


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every image that the encoder is asked for."""
    lengths: list[int] = []
    compute = ImageCache.compute

    def counted(images: ImageCache, samples: Any) -> Any:
        lengths.append(len(samples))
        return compute(images, samples)

    monkeypatch.setattr(ImageCache, "compute", counted)
    return lengths


@pytest.mark.slow
def test_eight_clips_are_learnt_by_heart(
    begin: Begin, clips: list[Utterance], tmp_path: Path
) -> None:
    eight = tuple(u for u in clips if u.emotion != "happy" and u.speaker in ("cleo", "dora"))
    assert len(eight) == 8
    events = list(begin(tmp_path / "run", of=Split(train=eight), epochs=150, image_dropout=0.0))
    losses = [e.loss for e in events if isinstance(e, Step)]
    assert losses[-1] < 0.05 < losses[0]
    model, _ = checkpoint.load(tmp_path / "run" / "checkpoint")
    known = ClipDataset(eight, model.labels)
    for index in range(8):
        wave = torch.from_numpy(known.wave(index))[None]
        answer = model.logits(wave, torch.tensor([wave.shape[1]])).argmax(1)
        assert int(answer) == int(known.emotion[index])


def test_only_what_stands_on_the_encoder_is_trained(
    begin: Begin, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    list(begin(tmp_path / "run"))
    initial = checkpoint.load(tiny_checkpoint)[0].encoder.state_dict()
    model, description = checkpoint.load(tmp_path / "run" / "checkpoint")
    weights = model.encoder.state_dict()
    assert all(torch.equal(weights[name], initial[name]) for name in initial)
    assert description.trained_on == {"simple": ["anna", "bert"]}
    assert description.selected_on == {"simple": ["cleo"]}
    assert description.options["weight_decay"] == description.options["ema_decay"] == 0.0
    assert description.options["batch_size"] == 4


def test_an_image_is_made_once(begin: Begin, split: Split, made: list[int], tmp_path: Path) -> None:
    events = list(begin(tmp_path / "one", epochs=1, balance=0.0))
    # Every training clip is drawn once an epoch, and the six to validate are made along the way.
    assert len(made) == len(split.train) + len(split.valid) == 18
    assert sum(isinstance(e, Step) for e in events) == 3
    # In half precision: at 300 x 300 the images of 3,000 clips take 0.54 GB.
    arrays = [np.load(path) for path in (tmp_path / "cache").rglob("*.npy")]
    assert len(arrays) == 18 and {array.dtype for array in arrays} == {np.dtype("float16")}
    assert sum(array.nbytes for array in arrays) == 18 * 32 * 32 * 2
    list(begin(tmp_path / "two", epochs=3, balance=0.0))
    assert len(made) == 18
    list(begin(tmp_path / "three", epochs=1, balance=0.0, image_side=16))
    assert len(made) == 36
    other = dict(cache=str(tmp_path / "other"), cache_gb=0.0)
    list(begin(tmp_path / "four", epochs=2, balance=0.0, **other))
    assert len(made) == 36 + 2 * 18 + 1  # one more shows that there is no room


def test_validation_finds_its_images_made(
    begin: Begin, made: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before: list[int] = []
    validate = ImageStage.validate

    def watched(stage: ImageStage, model: Any) -> Any:
        before.append(len(made))
        validation = validate(stage, model)
        assert len(made) == before[-1]
        return validation

    monkeypatch.setattr(ImageStage, "validate", watched)
    list(begin(tmp_path / "run"))
    assert len(before) == 2


def test_another_encoder_has_images_of_its_own(
    split: Split, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    model, _ = checkpoint.load(tiny_checkpoint)
    first, again = (ImageCache(model, None).identity for _ in range(2))  # type: ignore[arg-type]
    assert first == again
    with torch.no_grad():
        next(model.encoder.parameters()).view(-1)[0] += 1e-3
    assert ImageCache(model, None).identity != first  # type: ignore[arg-type]


@pytest.mark.parametrize("images", [0, 2, 5, 11])
def test_killed_while_images_are_made_it_goes_on_as_if_unbroken(
    begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: int
) -> None:
    list(begin(tmp_path / "whole", cache=str(tmp_path / "other")))
    left, compute = iter(range(images)), ImageCache.compute

    def killed(*given: Any) -> Any:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return compute(*given)

    monkeypatch.setattr(ImageCache, "compute", killed)
    with pytest.raises(KeyboardInterrupt):
        list(begin(tmp_path / "broken"))
    monkeypatch.undo()
    for half in (tmp_path / "cache").rglob("*.jsonl"):  # the last line is cut short
        text = half.read_text(encoding="utf-8")
        half.write_text(text[: len(text) - 9], encoding="utf-8")
    list(begin(tmp_path / "broken", resume=True))
    the_same(tmp_path / "whole", tmp_path / "broken")


def test_what_is_frozen_is_saved_once(begin: Begin, tmp_path: Path) -> None:
    list(begin(tmp_path / "run"))
    state, _ = end_of(tmp_path / "run")
    assert not any(name.startswith("average.module.encoder.") for name in state)
    assert any(name.startswith("model.encoder.") for name in state)
    assert any(name.startswith("average.module.pooling.") for name in state)


@pytest.mark.parametrize("encoder", ["mfcc", "mel"])
def test_features_that_nobody_trained(
    begin: Begin, split: Split, tmp_path: Path, encoder: str
) -> None:
    events = list(begin(tmp_path / "run", encoder=encoder, source=""))
    assert isinstance(events[-1], Finished)
    description = read_description(tmp_path / "run" / "checkpoint")
    assert description.encoder == encoder
    answer = Predictor(tmp_path / "run" / "checkpoint").predict(split.test[0].path)
    assert sum(answer.probabilities.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["whisper", "xlsr", "wavlm"])
def test_pretrained_encoders(
    begin: Begin, split: Split, sources: dict[str, Path], made: list[int], tmp_path: Path, kind: str
) -> None:
    named = {"xlsr": "wav2vec2"}.get(kind, kind)
    events = list(begin(tmp_path / "run", encoder=named, source=str(sources[kind]), epochs=1))
    assert isinstance(events[-1], Finished)
    (end,) = (e for e in events if isinstance(e, EpochEnd))
    model, description = checkpoint.load(tmp_path / "run" / "checkpoint")
    assert description.encoder_options["layer_pooling"] == "last"
    assert description.encoder_options["freeze"] == "all"
    wave = torch.from_numpy(ClipDataset(split.test, model.labels).wave(0))[None]
    # What the cache held in half precision is what the checkpoint hears anew.
    images = ImageCache(model, None)  # type: ignore[arg-type]
    assert images.compute(wave[0].numpy()).shape == (32, 32)
    assert set(end.metrics) == {"uar", "uar_simple"}


def test_the_checkpoint_answers_as_training_saw_it(
    begin: Begin, split: Split, image_values: dict[str, Any], tmp_path: Path
) -> None:
    """From the cache in half precision, and from the sound in full."""
    list(begin(tmp_path / "run"))
    model, _ = checkpoint.load(tmp_path / "run" / "checkpoint")
    recipe = SslCnn.from_values({k: v for k, v in image_values.items() if k not in TRAINED})
    stage = ImageStage(recipe, model, split, 0)
    assert isinstance(stage.valid, CachedClips)
    batch = stage.valid.starts(range(len(stage.valid)))
    assert stage.valid.cache.n_computed == 0
    cached = model.classify(model.embed_batch(batch))
    for row, index in zip(cached, range(len(stage.valid)), strict=True):
        wave = torch.from_numpy(stage.valid.wave(index))[None]
        output = model.logits(wave, torch.tensor([wave.shape[1]]))[0]
        torch.testing.assert_close(row, output, atol=2e-2, rtol=2e-2)


TRAINED = frozenset(TrainOptions().to_json())


def test_a_run_is_scored_and_described(
    image_values: dict[str, Any], split: Split, tmp_path: Path
) -> None:
    events = list(
        training_run.train(
            "ssl_cnn", image_values, split, tmp_path / "run", command="serdemo train"
        )
    )
    assert isinstance(events[-1], Finished)
    card = (tmp_path / "run" / "checkpoint" / "README.md").read_text(encoding="utf-8")
    assert "recipe `ssl_cnn`" in card
    assert "Encoder `compact`" in card


def test_what_was_seen_is_scored_without_hearing_it_again(
    image_values: dict[str, Any], split: Split, made: list[int], tmp_path: Path
) -> None:
    for _ in training_run.train("ssl_cnn", image_values, split, tmp_path / "run"):
        pass
    assert len(split.test) > 0
    assert len(made) == len(split.train) + len(split.valid) + len(split.test)
    crossval.save_predictions("ssl_cnn", image_values, split, tmp_path / "run")
    assert len(made) == len(split.train) + len(split.valid) + len(split.test)
    predictions = PredictionSet.from_json(read_json(tmp_path / "run" / crossval.PREDICTIONS))
    plain = Predictor(tmp_path / "run" / "checkpoint", device="cpu")
    for file, row in zip(predictions.files, predictions.probabilities, strict=True):
        answer = plain.predict(file).probabilities
        assert [answer[label] for label in predictions.labels] == pytest.approx(row, abs=1e-3)


@pytest.mark.slow
def test_an_estimate_counts_the_encoder_once_and_keeps_nothing(
    image_values: dict[str, Any], split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = ImageCache.compute

    def slow(images: ImageCache, samples: Any) -> Any:
        time.sleep(0.2)
        return compute(images, samples)

    monkeypatch.setattr(ImageCache, "compute", slow)
    duration = estimate.estimate_duration(
        "ssl_cnn", {**image_values, "epochs": 100}, split, time_dry_run
    )
    # 18 images at 0.2 s; made anew in every epoch they would take 360 s.
    assert 3 < duration.training < 120
    assert not (tmp_path / "cache").exists()


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "freeze": ({"freeze": "features"}, "trains nothing of its encoder"),
    "reduce": ({"bottleneck": 8}, "trains nothing of its encoder"),
    "lora": ({"lora_rank": 2}, "trains nothing of its encoder"),
    "pooling": ({"pooling": "attention"}, "--pooling must be cnn or efficientnet"),
    "crop": ({"max_crop": 2.0}, "give --image-seconds in place of"),
    "width": ({"width": 24}, "taken as it is: leave its size"),
    "layers": ({"cnn_layers": 4}, "--cnn-layers must be 3, 5 or 7"),
    "source": ({"source": "nowhere"}, "There is no checkpoint nowhere"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_one_sentence(begin: Begin, tmp_path: Path, case: str) -> None:
    more, words = REFUSED[case]
    with pytest.raises(SerdemoError, match=words):
        list(begin(tmp_path / "run", **more))


def test_one_class_and_heard_speakers_are_refused(
    begin: Begin, clips: list[Utterance], tmp_path: Path
) -> None:
    sad = tuple(u for u in clips if u.emotion == "sad")
    with pytest.raises(UsageError, match="at least two emotions; found sad"):
        list(begin(tmp_path / "run", of=Split(train=sad)))
    with pytest.raises(UsageError, match="made with the speaker simple/anna, who is to be tested"):
        list(begin(tmp_path / "run", of=by_speakers(clips, test=["anna"])))


@pytest.fixture
def wide(corpus_root: Path, tiny_values: dict[str, Any], tmp_path: Path) -> Path:
    """A checkpoint whose encoder has another size than the shipped one, made with cleo and dora."""
    names = ("layers", "heads", "expansion", "kernel")
    description_of_source = Description(
        labels=("happy", "sad"),
        encoder="compact",
        encoder_options={"width": 24, **{name: tiny_values[name] for name in names}},
        head_options={"embedding": 8, "projection": 8},
        name="wide",
        trained_on={"simple": ["dora"]},
        selected_on={"simple": ["cleo"]},
    )
    checkpoint.save(
        tmp_path / "wide", checkpoint.build(description_of_source), description_of_source
    )
    return tmp_path / "wide"


def test_the_checkpoint_to_start_from_is_the_encoder(
    image_values: dict[str, Any], clips: list[Utterance], wide: Path, tmp_path: Path
) -> None:
    given = {**image_values, "init_from": str(wide), "epochs": 1}
    del given["source"], given["encoder"]
    unheard = by_speakers(clips, valid=["bert"], test=["anna"])
    events = list(training_run.train("ssl_cnn", given, unheard, tmp_path / "run"))
    assert isinstance(events[-1], Finished)
    model, description = checkpoint.load(tmp_path / "run" / "checkpoint")
    assert description.trained_on == {"simple": ["cleo", "dora"]}
    assert description.selected_on == {"simple": ["bert", "cleo"]}
    initial = checkpoint.load(wide)[0].encoder.state_dict()
    assert all(torch.equal(v, initial[name]) for name, v in model.encoder.state_dict().items())
    for speaker in ("dora", "cleo"):
        tested = by_speakers(clips, test=[speaker])
        with pytest.raises(UsageError, match=f"encoder was made with the speaker simple/{speaker}"):
            list(training_run.train("ssl_cnn", given, tested, tmp_path / "refused"))


def test_without_a_source_wav2vec2_is_the_papers() -> None:
    recipe = SslCnn.from_values({})
    assert recipe._options(PretrainedOptions).source == XLSR
    assert recipe._options(PretrainedOptions).layer_pooling == "last"
    assert SslCnn.from_values({"source": "my/own"})._options(PretrainedOptions).source == "my/own"
    assert SslCnn.from_values({"encoder": "whisper"})._options(PretrainedOptions).source == ""


def few(data_root: Path) -> Split:
    """Some clips of RAVDESS, of speakers that no shipped model was trained on."""
    utterances = corpora.load_many("ravdess", data_root)
    held = sorted({u.speaker for u in utterances})[-3:]
    picked = []
    for speaker in held:
        own = [u for u in utterances if u.speaker == speaker]
        picked += [replace(u) for u in own[:: len(own) // 8]]
    return by_speakers(picked, valid=[held[1]], test=[held[2]])


SOME = dict(image_seconds=2.0, image_side=48, cnn_layers=3, epochs=1, device="cpu")


@pytest.mark.slow
def test_end_to_end_with_the_real_whisper_base(data_root: Path, tmp_path: Path) -> None:
    source = data_root.resolve().parent / "weights" / "whisper-base-encoder-fp16.safetensors"
    if not source.exists():
        pytest.skip("the folder `weights` beside SERDEMO_DATA, with Whisper-base, is not here")
    values = {**SOME, "encoder": "whisper", "source": str(source), "cache": str(tmp_path / "c")}
    split = few(data_root)
    events = list(training_run.train("ssl_cnn", values, split, tmp_path / "run"))
    assert isinstance(events[-1], Finished)
    assert "not scored" not in events[-1].note
    size = (tmp_path / "run" / "checkpoint" / checkpoint_files.WEIGHTS).stat().st_size
    assert 40e6 < size < 50e6  # Whisper-base's encoder in half precision is in it
    reply = Predictor(tmp_path / "run" / "checkpoint").predict(split.test[0].path)
    assert reply.label in reply.probabilities


@pytest.mark.slow
def test_end_to_end_with_the_shipped_encoder(data_root: Path, tmp_path: Path) -> None:
    utterances = corpora.load_many("ravdess", data_root)
    bundled = read_description(SslCnn.from_values({"encoder": "compact"}).origin)
    taught = {*bundled.trained_on["ravdess"], *bundled.selected_on.get("ravdess", [])}
    fresh = sorted({u.speaker for u in utterances} - taught)
    picked = [u for u in utterances if u.speaker in (fresh[0], bundled.trained_on["ravdess"][0])][
        ::6
    ]
    values = {**SOME, "encoder": "compact", "cache": str(tmp_path / "c")}
    split = by_speakers(picked, test=[f"ravdess/{fresh[0]}"])
    events = list(training_run.train("ssl_cnn", values, split, tmp_path / "run"))
    assert isinstance(events[-1], Finished)
    (report,) = read_description(tmp_path / "run" / "checkpoint").metrics["test"].values()
    assert report["unseen_speakers"]
