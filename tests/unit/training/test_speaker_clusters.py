"""The second paper's recipe: its loss by hand, its clusters, batches and stages."""

from __future__ import annotations

import math
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.command import here
from support.unbroken import Begin
from torch.nn import functional as F

from serdemo.data import corpora
from serdemo.data.dataset import ClipDataset
from serdemo.data.sampling import BatchOptions
from serdemo.data.splits import Split, by_speakers
from serdemo.metrics import clusters
from serdemo.nn import checkpoint, checkpoint_files, losses
from serdemo.nn.checkpoint_files import REPORT
from serdemo.nn.description import read_description
from serdemo.runs import training_run
from serdemo.schema.errors import UsageError
from serdemo.schema.types import Utterance
from serdemo.training.events import EpochEnd, Event, Finished, Saved, Started, Step
from serdemo.training.fit import fit
from serdemo.training.options import TrainOptions
from serdemo.training.recipes.speaker_clusters import ClusterStage, SpeakerClusters
from serdemo.training.recipes.stages import speaker_grouped_batches, stratified_sample
from serdemo.training.recipes.validation import validate

CALM = dict(speed=0.0, noise=0.0, reverberation=0.0, bandlimit=0.0, gain=0.0)


def test_the_loss_by_hand() -> None:
    """Speaker 0 has clusters a a b, speaker 1 one clip that nobody is compared with."""
    z = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [1.0, 0.0]])
    loss = losses.cluster_contrastive(
        z, torch.tensor([0, 0, 1, 0]), torch.tensor([0, 0, 0, 1]), temperature=0.5
    )
    # Cosines: 01 0.6, 02 0, 12 0.8; anchors are 0 and 1, each with one positive and one negative.
    first = -math.log(math.exp(1.2) / (math.exp(1.2) + math.exp(0.0)))
    second = -math.log(math.exp(1.2) / (math.exp(1.2) + math.exp(1.6)))
    assert loss.item() == pytest.approx((first + second) / 2, rel=1e-5)


def test_for_one_speaker_it_is_the_supervised_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(12, 5, generator=generator)
    own = torch.tensor([0, 1, 2] * 4)
    plain = losses.supervised_contrastive(z, own)
    assert losses.cluster_contrastive(z, own, torch.zeros(12).long()).item() == pytest.approx(
        plain.item(), rel=1e-6
    )
    # With a second speaker of the same, it is the mean of both, whoever the other is.
    twice = losses.cluster_contrastive(
        torch.cat((z, -z)), own.repeat(2), torch.arange(2).repeat_interleave(12)
    )
    assert twice.item() == pytest.approx(plain.item(), rel=1e-5)


def test_another_speaker_changes_nothing() -> None:
    z = torch.randn(6, 4, generator=torch.Generator().manual_seed(1), requires_grad=True)
    own, voice = torch.tensor([0, 0, 1, 0, 1, 1]), torch.tensor([0, 0, 0, 1, 1, 2])
    alone = losses.cluster_contrastive(z[:3], own[:3], voice[:3])
    (gradient,) = torch.autograd.grad(losses.cluster_contrastive(z, own, voice), z)
    assert losses.cluster_contrastive(z, own, voice).item() == pytest.approx(alone.item())
    assert gradient[3:].abs().max() == 0  # of speakers without both kinds of pairs


@pytest.mark.parametrize(
    ("own", "voice"),
    [
        ([0, 1, 2, 3], [0, 0, 0, 0]),  # no positive
        ([0, 0, 0, 0], [0, 0, 0, 0]),  # one cluster, no negative
        ([0, 0, 0, 0], [0, 1, 2, 3]),  # one clip of each speaker
        ([0], [0]),
        ([], []),
    ],
)
def test_a_batch_without_anything_to_compare_gives_zero(own: list[int], voice: list[int]) -> None:
    z = torch.zeros(len(own), 3, requires_grad=True)
    loss = losses.cluster_contrastive(z, torch.tensor(own), torch.tensor(voice))
    assert loss.item() == 0
    (gradient,) = torch.autograd.grad(loss, z)
    assert torch.equal(gradient, torch.zeros_like(z))


def test_embeddings_of_zero_and_mixed_company_have_finite_gradients() -> None:
    z = torch.zeros(5, 3)
    z[0] = torch.tensor([1.0, 0.0, 0.0])
    z.requires_grad_()
    loss = losses.cluster_contrastive(
        z, torch.tensor([0, 0, 1, 0, 0]), torch.tensor([0, 0, 0, 1, 2])
    )
    loss.backward()
    assert torch.isfinite(loss)
    assert z.grad is not None and torch.isfinite(z.grad).all()


def test_the_loss_parts_clusters_and_not_speakers() -> None:
    """Descended on free embeddings, the clusters of a speaker part and the speakers need not."""
    torch.manual_seed(0)
    z = torch.nn.Parameter(torch.randn(24, 3))
    own, voice = torch.arange(24) % 2, torch.arange(24) // 6
    optimizer = torch.optim.Adam([z], lr=0.05)
    for _ in range(200):
        loss = losses.cluster_contrastive(z, own, voice)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    cosine = F.normalize(z.detach(), dim=1) @ F.normalize(z.detach(), dim=1).T
    for speaker in range(4):
        here = voice == speaker
        alike = own[here][:, None] == own[here][None, :]
        assert cosine[here][:, here][alike].min() > 0.6
        assert cosine[here][:, here][~alike].max() < 0.2


def test_batches_hold_several_clips_of_each_of_their_speakers() -> None:
    speakers = np.repeat(np.arange(20), 30)
    options = BatchOptions(batch_size=48)
    plan = speaker_grouped_batches(speakers, options, 12, seed=3, epoch=1)
    drawn = [clip for batch in plan for clip, _, _ in batch]
    assert sorted(drawn) == list(range(600))
    assert len(plan) == 13
    for batch in plan:
        counts = Counter(int(speakers[clip]) for clip, _, _ in batch)
        assert len(counts) <= 7  # four or five rows of ten, two of them cut by the batch's ends
        assert len({crop for _, crop, _ in batch}) == 1
    assert plan == speaker_grouped_batches(speakers, options, 12, seed=3, epoch=1)
    other = speaker_grouped_batches(speakers, options, 12, seed=3, epoch=2)
    assert plan != other
    assert [len(batch) for batch in plan] == [len(batch) for batch in other]


def test_a_share_of_the_labels_is_one_of_every_corpus_and_emotion() -> None:
    clips = [
        Utterance(Path(f"{c}{e}{n}.wav"), c, f"s{n % 3}", e, e)
        for c in ("one", "two")
        for e in ("angry", "sad")
        for n in range(20)
    ]
    some = stratified_sample(clips, 0.1, seed=0)
    assert Counter((u.corpus, u.emotion) for u in some) == {
        (c, e): 2 for c in ("one", "two") for e in ("angry", "sad")
    }
    assert set(some) <= set(clips)
    assert some == stratified_sample(list(reversed(clips)), 0.1, seed=0)
    assert some != stratified_sample(clips, 0.1, seed=1)
    assert stratified_sample(clips, 1.0, 0) == tuple(clips)
    assert len(stratified_sample(clips, 0.001, 0)) == 4


@pytest.fixture(scope="module")
def clips(corpus_root: Path) -> list[Utterance]:
    return corpora.load(str(corpus_root))


@pytest.fixture(scope="module")
def split(clips: list[Utterance]) -> Split:
    return by_speakers(clips, valid=["dora"])


@pytest.fixture(scope="module")
def voices(
    tmp_path_factory: pytest.TempPathFactory, tiny_values: dict[str, Any], split: Split
) -> Path:
    """A checkpoint of the recipe `speaker`, of the same training speakers."""
    run = tmp_path_factory.mktemp("voices") / "run"
    list(training_run.train("speaker", {**tiny_values, "epochs": 1}, split, run))
    return run / "checkpoint"


@pytest.fixture
def begin(tiny_values: dict[str, Any], split: Split, voices: Path) -> Begin:
    def begin(
        run: Path, *, of: Split = split, resume: bool = False, **more: Any
    ) -> Iterator[Event]:
        stop = more.pop("stop", lambda: None)
        own = {"cluster_epochs": 2, "k": 3, "clips_per_speaker": 4, "embeddings": str(voices)}
        values = {**tiny_values, **own, **more}
        train_options = {
            name: values.pop(name) for name in list(values) if name in TrainOptions().to_json()
        }
        recipe = SpeakerClusters.from_values(values)
        return fit(recipe, TrainOptions(**train_options), of, run, stop, resume=resume)

    return begin


def steps(events: list[Event], stage: str) -> list[Step]:
    return [e for e in events if isinstance(e, Step) and e.stage == stage]


def emotion_codes(clips: Sequence[Utterance]) -> clusters.Codes:
    """Perfect clusters: the emotions of the clips, (N,)."""
    return np.unique([u.emotion for u in clips], return_inverse=True)[1]


def kept_clusters(run: Path) -> list[int]:
    state = checkpoint.load_state(run / "resume")
    assert state is not None
    return [int(x) for x in state[0]["extra.clusters"]]


@pytest.mark.slow
def test_eight_clips_are_learnt_by_heart(
    begin: Begin, clips: list[Utterance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    eight = tuple(u for u in clips if u.emotion != "happy" and u.speaker in ("anna", "bert"))
    assert len(eight) == 8
    quick = dict(batch_size=8, learning_rate=1e-2, ema_decay=0.5, smoothing=0.0)
    counts = dict(cluster_epochs=40, epochs=40)
    monkeypatch.setattr(ClusterStage, "clusters", lambda stage: emotion_codes(eight))
    events = list(begin(tmp_path / "run", of=Split(train=eight), **CALM, **quick, **counts))
    contrast = [e.loss for e in steps(events, "clusters")]
    assert contrast[-1] < 0.05 * contrast[0]
    classify = [e.loss for e in steps(events, "classify")]
    assert classify[-1] < 0.5 * classify[0]
    model, _ = checkpoint.load(tmp_path / "run" / "checkpoint")
    validation = validate(model, ClipDataset(eight, model.labels), 8)
    assert validation is not None
    assert validation.metrics["uar"] == 1.0


def test_both_stages_are_run_and_the_clusters_are_those_of_the_embeddings(
    begin: Begin, split: Split, voices: Path, tmp_path: Path
) -> None:
    events = list(begin(tmp_path / "run", epochs=0))
    assert isinstance(events[0], Started)
    assert events[0].stages == ("clusters",)
    assert not any(isinstance(e, EpochEnd) for e in events)
    from serdemo.training.recipes.validation import embed

    model, _ = checkpoint.load(voices)
    rows = embed(model, ClipDataset(split.train, ()), 4).numpy()
    expected = clusters.within_speakers(rows, [u.speaker_key for u in split.train], 3, 0)
    assert kept_clusters(tmp_path / "run") == expected.tolist()
    assert set(expected.tolist()) == {0, 1, 2}
    events = list(begin(tmp_path / "both"))
    assert isinstance(events[0], Started) and isinstance(events[-1], Finished)
    assert events[0].stages == ("clusters", "classify")
    assert {e.stage for e in events if isinstance(e, EpochEnd)} == {"classify"}
    description = read_description(tmp_path / "both" / "checkpoint")
    assert description.trained_on == {"simple": ["anna", "bert", "cleo"]}
    assert description.selected_on == {"simple": ["dora"]}
    assert description.options["embeddings"] == "checkpoint"  # no folder of this machine


def test_stage_1_sees_no_emotion(begin: Begin, split: Split, tmp_path: Path) -> None:
    """Whatever emotions the clips carry, the weights of stage 1 are the same to the last bit."""
    turned = {"angry": "sad", "sad": "happy", "happy": "angry"}
    other = Split(
        *(tuple(replace(u, emotion=turned[u.emotion]) for u in p) for p in split.parts.values())
    )
    for name, of in (("one", split), ("other", other)):
        list(begin(tmp_path / name, of=of, epochs=0))
    weights = [
        tmp_path / name / "checkpoint" / checkpoint_files.WEIGHTS for name in ("one", "other")
    ]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.slow
def test_the_speaker_head_helps(begin: Begin, tmp_path: Path) -> None:
    quick = dict(learning_rate=1e-2, cluster_epochs=40, epochs=0, batch_size=18, ema_decay=0.5)
    head = dict(speaker_head="classify", speaker_weight=10.0)
    events = list(begin(tmp_path / "run", **CALM, **quick, **head))
    speaker = [e.parts["speaker"] for e in steps(events, "clusters")]
    assert speaker[0] == pytest.approx(math.log(3), abs=0.4)
    first = steps(events, "clusters")[0]
    assert first.loss == pytest.approx(first.parts["contrastive"] + 10 * speaker[0], rel=1e-5)
    assert speaker[-1] < 0.5 * speaker[0]
    state = checkpoint.load_state(tmp_path / "run" / "resume")
    assert state is not None
    assert state[0]["extra.speaker.weight"].shape == (3, 8)


def test_stage_2_sees_only_its_share_of_the_labels(
    begin: Begin, split: Split, tmp_path: Path
) -> None:
    events = list(begin(tmp_path / "run", labels_share=0.34, batch_size=3))
    # 18 training clips, 6 of an emotion, of which round(0.34 * 6) = 2 are labelled: 2 batches.
    assert len(steps(events, "clusters")) == 2 * 6
    assert len(steps(events, "classify")) == 2 * 2
    described = read_description(tmp_path / "run" / "checkpoint")
    assert described.options["labels_share"] == 0.34


def test_a_resumed_run_keeps_its_clusters(
    begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(1, 10_000))
    list(begin(tmp_path / "run", epochs=0, stop=lambda: "now" if next(calls) >= 3 else None))
    before = kept_clusters(tmp_path / "run")
    monkeypatch.setattr(ClusterStage, "clusters", lambda stage: pytest.fail("made anew"))
    events = list(begin(tmp_path / "run", epochs=0, resume=True))
    assert isinstance(events[-1], Finished)
    assert any(isinstance(e, Saved) for e in events)
    assert kept_clusters(tmp_path / "run") == before


def test_one_cluster_or_one_clip_a_speaker_trains_without_a_number_lost(
    begin: Begin, clips: list[Utterance], tmp_path: Path
) -> None:
    """Nothing to contrast: the loss is 0, and stage 2 learns all the same."""
    firsts = [next(u for u in clips if u.speaker == s) for s in ("anna", "bert", "cleo")]
    last = next(u for u in clips if u.speaker == "dora" and u.emotion == "sad")
    events = list(begin(tmp_path / "clips", of=Split(train=(*firsts, last))))
    assert [e.loss for e in steps(events, "clusters")] == [0.0, 0.0]
    assert all(math.isfinite(e.loss) for e in steps(events, "classify"))
    events = list(begin(tmp_path / "one", k=1, epochs=0))
    assert {e.loss for e in steps(events, "clusters")} == {0.0}
    assert set(kept_clusters(tmp_path / "one")) == {0}


def test_what_cannot_be_is_refused(
    begin: Begin, clips: list[Utterance], voices: Path, tmp_path: Path
) -> None:
    for more, message in (
        (dict(cluster_epochs=0, epochs=0), "both 0: nothing is trained"),
        (dict(of=by_speakers(clips, test=["anna"])), "with the speaker simple/anna, who is to be"),
        (dict(of=by_speakers(clips, test=["dora"])), "with the speaker simple/dora"),
    ):
        with pytest.raises(UsageError, match=message):
            list(begin(tmp_path / "run", **more))
    ran = here(
        *(
            "train",
            "speaker_clusters",
            "--corpus",
            clips[0].path.parents[2],
            "--run",
            tmp_path / "r",
        ),
        *("--embeddings", tmp_path / "nowhere"),
    )
    assert (ran.code, ran.out) == (1, "")
    assert "There is no checkpoint nowhere" in ran.err
    assert not (tmp_path / "r").exists()


def test_fine_tuning_alone_needs_no_embeddings(begin: Begin, tmp_path: Path) -> None:
    events = list(begin(tmp_path / "run", cluster_epochs=0, embeddings=""))
    assert isinstance(events[0], Started)
    assert events[0].stages == ("classify",)


def test_pretraining_needs_no_label(
    tiny_values: dict[str, Any], clips: list[Utterance], voices: Path, tmp_path: Path
) -> None:
    table = tmp_path / "voices.csv"
    for clip in clips:
        name = f"{clip.speaker}-{clip.path.stem}.wav"
        shutil.copy(clip.path, tmp_path / name)
        emotion = clip.emotion if clip.speaker == "anna" else ""
        with table.open("a") as file:
            file.write(f"{name},{clip.speaker},{emotion}\n")
    table.write_text("path,speaker,emotion\n" + table.read_text())
    given = [f"--{k.replace('_', '-')}={v}" for k, v in {**tiny_values, "epochs": 0}.items()]
    line = ("--corpus", table, "--valid", "none", "--test", "none", *given)
    pretrain = ("speaker_clusters", *line, "--embeddings", voices, "--cluster-epochs", 1)
    ran = here("train", *pretrain, "--run", tmp_path / "one")
    assert ran.code == 0, ran.err
    description = read_description(tmp_path / "one" / "checkpoint")
    assert (description.labels, description.trained_on["voices"]) == (
        (),
        ["anna", "bert", "cleo", "dora"],
    )
    ran = here("train", "speaker", *line[:6], *given[:-1], "--epochs=1", "--run", tmp_path / "two")
    assert ran.code == 0, ran.err
    bare = (
        r"(has no emotion \(18 of 24 clips\)|emotion is empty).*train a recipe that needs no labels"
    )
    ran = here("train", *pretrain, "--epochs", 1, "--run", tmp_path / "three")
    assert (ran.code, ran.out) == (1, "")
    assert re.search(bare, ran.err)
    ran = here("embed", voices, "--corpus", table, "--out", tmp_path / "x.parquet")
    assert ran.code == 1
    assert re.search(bare, ran.err)


def test_a_whole_run_is_scored_and_predicts(
    tiny_values: dict[str, Any], clips: list[Utterance], tmp_path: Path
) -> None:
    split = by_speakers(clips, valid=["cleo"], test=["dora"])
    run = tmp_path / "voice"
    list(training_run.train("speaker", {**tiny_values, "epochs": 1}, split, run))
    values = {**tiny_values, "cluster_epochs": 1, "embeddings": str(run / "checkpoint")}
    events = list(training_run.train("speaker_clusters", values, split, tmp_path / "run"))
    assert isinstance(events[-1], Finished)
    folder = tmp_path / "run" / "checkpoint"
    assert (folder / REPORT).exists()
    (answer,) = here("predict", clips[0].path, "--checkpoint", folder, "--json").json()
    assert answer["label"] in read_description(folder).labels
