"""The recipe `distill`: its losses by hand, its teachers, and what a student takes from them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import torch
from safetensors.torch import load_file, save_file
from support.unbroken import Begin

from serdemo.audio.waveform import decode
from serdemo.data import corpora
from serdemo.data.array_cache import CacheOptions
from serdemo.data.dataset import ClipDataset
from serdemo.data.splits import Split, by_speakers
from serdemo.nn import checkpoint, description, losses
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.training.events import Event, Step
from serdemo.training.fit import fit
from serdemo.training.options import TrainOptions
from serdemo.training.recipes import teachers
from serdemo.training.recipes.distill import Distill


def test_softened_answers_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0], [log(3.0), 0.0]])
    taught = torch.tensor([[1.0, 0.0], [0.75, 0.25]])
    loss = losses.kd_loss(logits, taught, 1.0)
    assert loss.tolist() == pytest.approx([log(2), 0.0], abs=1e-6)
    # At temperature 2 the logits count half, and the whole four times.
    loss = losses.kd_loss(2 * logits, taught, 2.0)
    assert loss.tolist() == pytest.approx([4 * log(2), 0.0], abs=1e-6)


def test_distance_of_frames_by_hand() -> None:
    taught = torch.tensor([[[1.0, 3.0], [5.0, 5.0], [9.0, -9.0]]])  # scaled: -1 1, 0 0, 1 -1
    frames = torch.tensor([[[0.0, 0.0], [2.0, 0.0], [7.0, 7.0]]])
    mask = torch.tensor([[True, True, False]])
    loss = losses.feature_distillation(frames, taught, mask)
    assert loss.tolist() == pytest.approx([(1 + 2) / 2], abs=1e-4)
    assert losses.feature_distillation(frames, taught, mask & False).tolist() == [0.0]


def test_geometry_by_hand() -> None:
    line = torch.tensor([[-1.0], [0.0], [4.0]])  # centred -2, -1, 3: cosines 1, -1, -1
    flat = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])  # cosines -1, 0, 0
    assert losses.similarity_preserving(line, flat).item() == pytest.approx((4 + 1 + 1) / 3)
    points = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    turned = 3 * points @ torch.linalg.qr(torch.randn(4, 4)).Q + 7
    assert losses.similarity_preserving(points, turned).item() == pytest.approx(0, abs=1e-5)
    assert losses.similarity_preserving(points[:1], points[:1]).item() == 0.0
    alike = torch.ones(3, 2, requires_grad=True)
    losses.similarity_preserving(alike, points[:3]).backward()
    assert bool(torch.isfinite(alike.grad).all())  # type: ignore[arg-type]


def test_frames_in_step_by_hand() -> None:
    frames = torch.tensor([[[0.0], [2.0], [4.0], [9.0]], [[1.0], [3.0], [0.0], [0.0]]])
    edges = torch.tensor([[0, 2, 4], [0, 1, 1]])
    means = teachers.pool_spans(frames, edges, 3)
    # The second clip's second stretch holds no whole frame and takes the one it lies in.
    assert means[..., 0].tolist() == [[1.0, 6.5, 0.0], [1.0, 3.0, 0.0]]
    assert teachers.pool_spans(frames, edges, 1)[..., 0].tolist() == [[1.0], [1.0]]


@pytest.fixture
def teacher(tiny_checkpoint: Path, tmp_path: Path, split: Split) -> teachers.Teacher:
    labels = ("happy", "sad")
    options = CacheOptions(cache=str(tmp_path / "cache"))
    return teachers.Teacher(tiny_checkpoint, labels, options, torch.device("cpu"))


def test_a_whole_clip_is_answered_as_the_teacher_answers(
    teacher: teachers.Teacher, split: Split
) -> None:
    clips = ClipDataset(split.train, teacher.model.labels)
    waves = [clips.wave(index) for index in (3, 0)]
    batch = clips.batch([3, 0], waves)
    result = teacher.targets(clips, batch, 1.0, torch.tensor([5, 3]), 5)
    for row, wave in enumerate(waves):
        alone = torch.from_numpy(wave)[None], torch.tensor([len(wave)])
        with torch.inference_mode():
            whole = teacher.model(*alone)
        order = [teacher.model.labels.index(name) for name in ("happy", "sad")]
        expected = whole.logits[0][order].softmax(0)
        torch.testing.assert_close(result.probabilities[row], expected, atol=2e-3, rtol=0)
        torch.testing.assert_close(result.embedding[row], whole.embedding[0], atol=5e-3, rtol=0)
    assert result.frames.shape == (2, 5, 16)


def test_a_stretch_is_answered_from_its_own_frames(teacher: teachers.Teacher, split: Split) -> None:
    clips = ClipDataset(split.train, teacher.model.labels)
    seconds = clips.seconds(0)
    wave = clips.wave(0)
    batch = clips.batch([0], [wave[: len(wave) // 2]], [(seconds / 2, seconds)])
    result = teacher.targets(clips, batch, 1.0, torch.tensor([2]), 2)
    (frames,) = teacher._frames(clips, [0])
    half = torch.from_numpy(frames[len(frames) // 2 :].astype(np.float32))
    embedding = teacher.model.pool(half[None], torch.ones(1, len(half), dtype=torch.bool))
    torch.testing.assert_close(result.embedding, embedding)
    beyond = clips.batch([0], [wave], [(seconds + 5, seconds + 6)])
    assert torch.isfinite(teacher.targets(clips, beyond, 1.0, torch.tensor([1]), 1).frames).all()


def test_what_was_heard_once_is_not_heard_again(
    teacher: teachers.Teacher, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = ClipDataset(split.train, teacher.model.labels)
    batch = clips.batch([0, 1], [clips.wave(0), clips.wave(1)])
    once = teacher.targets(clips, batch, 2.0, torch.tensor([2, 2]), 2)
    monkeypatch.setattr(teacher.model, "encoder", None)
    again = teacher.targets(clips, batch, 2.0, torch.tensor([2, 2]), 2)
    assert torch.equal(once.probabilities, again.probabilities)
    assert torch.equal(once.frames, again.frames)


def test_a_long_clip_is_heard_in_pieces(teacher: teachers.Teacher, split: Split) -> None:
    clips = ClipDataset(split.train, teacher.model.labels)
    long = np.tile(clips.wave(0), 30)[: 2 * teachers.CHUNK_SAMPLES + 1000]
    monkeyed = {0: long, 1: long[: teachers.CHUNK_SAMPLES], 2: long[2 * teachers.CHUNK_SAMPLES :]}
    clips.wave = monkeyed.__getitem__  # type: ignore[method-assign]
    whole, first, rest = teacher._frames(clips, [0, 1, 2])
    assert len(whole) == 2 * len(first) + len(rest)
    np.testing.assert_allclose(whole[: len(first)], first, atol=2e-3)
    np.testing.assert_allclose(whole[2 * len(first) :], rest, atol=2e-3)


@pytest.fixture
def begin(
    tiny_values: dict[str, Any], tiny_checkpoint: Path, split: Split, tmp_path: Path
) -> Begin:
    def begin(run: Path, *, resume: bool = False, **more: Any) -> Iterator[Event]:
        stop = more.pop("stop", lambda: None)
        values = {
            **tiny_values,
            "seven": False,
            "teacher": str(tiny_checkpoint),
            "cache": str(tmp_path / "cache"),
            **more,
        }
        own = {name: values.pop(name) for name in list(values) if name in TrainOptions().to_json()}
        recipe = Distill.from_values(values)
        return fit(recipe, TrainOptions(**own), split_of(split), run, stop, resume=resume)

    return begin


def split_of(split: Split) -> Split:
    return Split(split.train, split.valid)


CALM = dict(speed=0.0, noise=0.0, reverberation=0.0, bandlimit=0.0, gain=0.0, dropout=0.0, masks=0)


@pytest.mark.slow
def test_a_student_learns_its_teacher_by_heart(
    begin: Begin, tmp_path: Path, tiny_checkpoint: Path, split: Split
) -> None:
    own = dict(supervision=0.0, epochs=120, batch_size=12, learning_rate=1e-2, ema_decay=0.5)
    whole = dict(min_crop=2.0, max_crop=2.0, kd_temperature=1.0, width=32, embedding=16)
    events = list(begin(tmp_path / "run", **CALM, **own, **whole))
    steps = [event for event in events if isinstance(event, Step)]
    for name in ("kd", "features", "similarity"):
        assert steps[-1].parts[name] < 0.25 * steps[0].parts[name], name
    student, description = checkpoint.load(tmp_path / "run" / "checkpoint")
    master, _ = checkpoint.load(tiny_checkpoint)
    assert description.trained_on == {"simple": ["anna", "bert"]}
    assert description.selected_on == {"simple": ["cleo"]}
    order = [master.labels.index(label) for label in student.labels]
    answers: list[tuple[torch.Tensor, torch.Tensor]] = []
    for clip in split.train:
        wave = torch.from_numpy(decode(clip.path).samples)[None]
        size = torch.tensor([wave.shape[1]])
        with torch.inference_mode():
            expected = master.logits(wave, size)[0][order].softmax(0)
            answers.append((expected, student.logits(wave, size)[0].softmax(0)))
    taught, learnt = (torch.cat(column).numpy() for column in zip(*answers, strict=True))
    assert np.corrcoef(taught, learnt)[0, 1] > 0.9
    assert np.abs(taught - learnt).mean() < 0.06


def test_several_teachers_are_asked(begin: Begin, tmp_path: Path, tiny_checkpoint: Path) -> None:
    both = f"{tiny_checkpoint}, {tiny_checkpoint}"
    one = list(begin(tmp_path / "one", **CALM))
    two = list(begin(tmp_path / "two", teacher=both, **CALM))
    first = [next(e for e in events if isinstance(e, Step)) for events in (one, two)]
    assert first[0].parts["kd"] == pytest.approx(first[1].parts["kd"], abs=1e-4)
    assert first[0].parts["similarity"] == pytest.approx(first[1].parts["similarity"], abs=1e-4)


def test_a_teacher_that_does_not_fit_is_one_sentence(
    tiny_values: dict[str, Any], tiny_checkpoint: Path, corpus_root: Path, tmp_path: Path
) -> None:
    utterances = corpora.load(str(corpus_root))

    def describe(split: Split, **values: Any) -> None:
        own = {k: v for k, v in tiny_values.items() if k not in TrainOptions().to_json()}
        Distill.from_values({**own, **values}).describe(split)

    options = dict(teacher=str(tiny_checkpoint), seven=False)
    describe(by_speakers(utterances, test=["dora"]), **options)
    for speaker in ("anna", "cleo"):
        with pytest.raises(UsageError, match=f"made with the speaker simple/{speaker}"):
            describe(by_speakers(utterances, test=[speaker]), **options)
    with pytest.raises(UsageError, match="does not know the emotion disgust"):
        describe(by_speakers(utterances, test=["dora"]), teacher=str(tiny_checkpoint))
    with pytest.raises(UsageError, match="--teacher is needed"):
        describe(by_speakers(utterances, test=["dora"]))
    of_images = description.read_description(tiny_checkpoint)
    heads = {**of_images.head_options, "pooling": "cnn"}
    of_images = replace(of_images, head_options=heads)
    checkpoint.save(tmp_path / "images", checkpoint.build(of_images), of_images)
    with pytest.raises(UsageError, match="reads frames as an image"):
        describe(by_speakers(utterances), teacher=str(tmp_path / "images"), seven=False)
    with pytest.raises(SerdemoError, match="There is no checkpoint gone"):
        describe(by_speakers(utterances), teacher=str(tmp_path / "gone"), seven=False)
    picture = tmp_path / "picture.safetensors"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(SerdemoError, match=r"picture\.safetensors is not a safetensors file"):
        describe(by_speakers(utterances), teacher=str(picture))


PUBLISHED = "teacher-whisper-base-emotion-fp16.safetensors"
LOGITS = {
    "03-01-05-01-01-01-07": [3.232, 0.189, 0.010, -0.328, 0.430, 0.384, 0.114],
    "03-01-04-02-02-01-20": [-1.373, 0.404, 1.950, -0.633, -0.310, 3.288, -0.904],
}


def published() -> Path:
    folder = Path(os.environ.get("SERDEMO_DATA", "nowhere")).resolve().parent / "weights"
    if not (folder / PUBLISHED).exists():
        pytest.skip("the folder `weights` beside SERDEMO_DATA, with a teacher, is not here")
    return folder / PUBLISHED


def test_the_published_teacher_answers_as_published() -> None:
    model = teachers.load(published())
    assert sum(
        p.numel() for n, p in model.named_parameters() if "projection" not in n
    ) == pytest.approx(20.92e6, abs=5e3)
    for stem, expected in LOGITS.items():
        (path,) = Path(os.environ["SERDEMO_DATA"]).glob(f"ravdess/{stem}.*")
        samples, rate = soundfile.read(path, dtype="float32")  # as published, below 80 Hz too
        wave = torch.from_numpy(soxr.resample(samples, rate, 16_000))[None]
        with torch.inference_mode():
            logits = model.logits(wave, torch.tensor([wave.shape[1]]))
        assert logits[0].tolist() == pytest.approx(expected, abs=0.06)


def test_a_spoilt_published_teacher_is_one_sentence(tmp_path: Path) -> None:
    state = load_file(published())
    for name, value, words in (
        ("emb.weight", None, "is not a teacher: it lacks a matrix embedding.weight"),
        ("cls.bias", None, r"lacks tensor classifier\.bias"),
        ("odd", torch.zeros(1), "has an unexpected tensor odd"),
        ("cls.weight", torch.zeros(3, 256), r"is damaged: classifier\.weight"),
        ("emb.bias", torch.full((256,), torch.nan), r"is damaged: embedding\.bias"),
        ("enc.conv1.weight", None, "is not the encoder of a Whisper model"),
    ):
        spoilt = {k: v for k, v in state.items() if k != name}
        if value is not None:
            spoilt[name] = value
        save_file(spoilt, tmp_path / "teacher.safetensors")
        with pytest.raises(SerdemoError, match=words):
            teachers.load(tmp_path / "teacher.safetensors")


def test_a_published_teacher_needs_speakers_it_never_heard(data_root: Path) -> None:
    clips = corpora.load_many("emodb", data_root)
    for held, part in ((["03"], "test"), (["03"], "valid"), (["08"], "test")):
        with pytest.raises(UsageError, match="may have heard the speaker emodb/"):
            teachers.check_teacher(published(), ("sad",), by_speakers(clips, **{part: held}))
    teachers.check_teacher(
        published(), ("sad",), by_speakers(clips, valid=["08"], test=["11", "13"])
    )
