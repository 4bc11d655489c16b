"""The ablations of `speaker_clusters`: other clusters, and the adversarial speaker head."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.recipes import run_recipe

from serdemo.data.splits import Split
from serdemo.experiments.cluster_ablations import (
    AblationStage,
    ClusterAblations,
    gradient_reversal,
    permute_within_speakers,
)
from serdemo.metrics import clusters
from serdemo.nn import checkpoint
from serdemo.training.events import Step
from serdemo.training.options import TrainOptions
from serdemo.training.recipes.speaker_clusters import SpeakerClusters


def cluster_codes(run: Path) -> list[int]:
    state = checkpoint.load_state(run / "resume")
    assert state is not None
    return [int(x) for x in state[0]["extra.clusters"]]


def test_gradient_reversal() -> None:
    value = torch.tensor([1.0, -2.0], requires_grad=True)
    result = gradient_reversal(value, 0.5)
    assert result.tolist() == [1.0, -2.0]
    (result * torch.tensor([3.0, 4.0])).sum().backward()
    assert value.grad is not None
    assert value.grad.tolist() == [-1.5, -2.0]


def test_a_share_of_each_speakers_clusters_is_permuted() -> None:
    speakers = ["a"] * 40 + ["b"] * 20
    found = np.arange(60) % 4
    assert np.array_equal(permute_within_speakers(found, speakers, 0.0, 0), found)
    for share in (0.3, 1.0):
        permuted = permute_within_speakers(found, speakers, share, 0)
        assert (permuted[:40] != found[:40]).sum() <= share * 40
        assert (permuted[40:] != found[40:]).sum() <= share * 20
        assert (permuted != found).any()
        for part in (slice(40), slice(40, 60)):  # sizes are kept, so only who is in them changes
            assert np.array_equal(np.bincount(permuted[part]), np.bincount(found[part]))
    assert np.array_equal(
        permute_within_speakers(found, speakers, 0.3, 0),
        permute_within_speakers(found, speakers, 0.3, 0),
    )
    purity = [
        clusters.agreement(permute_within_speakers(found, speakers, share, 0), found).purity
        for share in (0.0, 0.2, 0.5, 1.0)
    ]
    assert purity[0] == 1.0
    assert purity == sorted(purity, reverse=True)  # type: ignore[type-var]
    assert purity[3] is not None and purity[3] < 0.5


@pytest.fixture
def values(tiny_values: dict[str, Any], tiny_checkpoint: Path) -> dict[str, Any]:
    own = {"cluster_epochs": 1, "epochs": 0, "k": 3, "clips_per_speaker": 4}
    return {**tiny_values, **own, "embeddings": str(tiny_checkpoint)}


def test_clusters_may_be_the_emotions_corrupted_or_not(
    values: dict[str, Any], split: Split, tmp_path: Path
) -> None:
    codes = {}
    for kind in ("kmeans", "shuffled", "emotion", "corrupted"):
        run_recipe(
            "cluster_ablations",
            tmp_path / kind,
            Split(train=split.train),
            **{**values, "clusters_from": kind, "corruption": 0.5},
        )
        codes[kind] = cluster_codes(tmp_path / kind)
    emotions = [u.emotion for u in split.train]
    purity = {kind: clusters.agreement(own, emotions).purity for kind, own in codes.items()}
    assert purity["emotion"] == 1.0
    assert 0.4 < purity["corrupted"] < 1.0  # type: ignore[operator]
    assert codes["shuffled"] != codes["kmeans"]
    for speaker in ("anna", "bert"):
        own = [n for n, u in enumerate(split.train) if u.speaker == speaker]
        counts = [Counter(codes[kind][n] for n in own) for kind in ("kmeans", "shuffled")]
        assert counts[0] == counts[1]


def test_clusters_of_the_emotions_need_labels_and_no_embeddings(
    values: dict[str, Any], split: Split
) -> None:
    own = {k: v for k, v in values.items() if k not in TrainOptions().to_json()}
    own |= {"embeddings": "", "clusters_from": "emotion"}
    recipe = ClusterAblations.from_values(own)
    assert recipe.needs_labels
    recipe.describe(split)
    del own["clusters_from"]
    assert not SpeakerClusters.from_values(own).needs_labels


@pytest.mark.slow
def test_the_adversarial_head_hides_the_speaker(
    values: dict[str, Any], split: Split, tmp_path: Path
) -> None:
    quick = dict(learning_rate=1e-2, cluster_epochs=40, batch_size=18, ema_decay=0.5)
    calm = dict(speed=0.0, noise=0.0, reverberation=0.0, bandlimit=0.0, gain=0.0)
    head = dict(speaker_head="classify", speaker_weight=1.0, adversarial=True)
    train = Split(train=(*split.train, *split.valid))
    events = run_recipe(
        "cluster_ablations", tmp_path / "run", train, **{**values, **quick, **calm, **head}
    )
    speaker = [e.parts["speaker"] for e in events if isinstance(e, Step)]
    assert speaker[0] == pytest.approx(math.log(3), abs=0.4)
    assert speaker[-1] > 0.7 * speaker[0]


def test_the_reversed_head_turns_the_gradient_alone(
    tiny_values: dict[str, Any], split: Split
) -> None:
    """Of two heads with the same weights the encoder's gradients of the speaker term are opposed."""
    own = {k: v for k, v in tiny_values.items() if k not in TrainOptions().to_json()}
    gradients = {}
    for kind in ("none", "classify", "adversarial"):
        head = "none" if kind == "none" else "classify"
        values = {**own, "speaker_head": head, "speaker_weight": 0.5, "clusters_from": "emotion"}
        values["adversarial"] = kind == "adversarial"
        recipe = ClusterAblations.from_values(values)
        torch.manual_seed(0)
        model = checkpoint.build(recipe.describe(split))
        stage = AblationStage(recipe, model, split, 0, 1.0)
        model.eval()
        loss, _ = stage.loss(next(iter(stage.batches(0, 0))))
        loss.backward()
        gradients[kind] = model.embedding.weight.grad
    plain, classify, adversarial = (gradients[k] for k in ("none", "classify", "adversarial"))
    assert plain is not None and classify is not None and adversarial is not None
    torch.testing.assert_close(classify - plain, plain - adversarial, atol=1e-6, rtol=1e-3)
    assert (classify - plain).abs().max() > 1e-4
