"""Clusters within speakers and probes, on embeddings whose answer is known."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serdemo.metrics import clusters, probes
from serdemo.metrics.clusters import Agreement
from serdemo.schema.errors import SerdemoError


@pytest.mark.parametrize(
    ("found", "emotions", "expected"),
    [
        ([0, 0, 1, 1], "aabb", (1.0, 1.0, 1.0)),
        ([5, 5, 2, 2], "bbaa", (1.0, 1.0, 1.0)),
        # Everything in one cluster says nothing; half of it is the most frequent emotion.
        ([0, 0, 0, 0], "aabb", (0.0, 0.0, 0.5)),
        # Each cluster holds one of each: no information, and one pair fewer than by chance.
        ([0, 1, 0, 1], "aabb", (0.0, -0.5, 0.5)),
        # Each clip alone: I = H(emotion) = log 2, H(cluster) = log 4, so 2 I / sum = 2/3.
        ([0, 1, 2, 3], "aabb", (2 / 3, 0.0, 1.0)),
        # Cluster 0 holds aab, cluster 1 holds b.
        ([0, 0, 0, 1], "aabb", (0.3437110184854508, 0.0, 0.75)),
    ],
)
def test_agreement_by_hand(found: list[int], emotions: str, expected: tuple[float, ...]) -> None:
    assert astuple(clusters.agreement(found, list(emotions)))[:3] == pytest.approx(expected)


def test_one_emotion_or_no_clip_agrees_with_nothing() -> None:
    assert clusters.agreement([0, 1], ["a", "a"]) == Agreement()
    assert clusters.agreement([], []) == Agreement()
    with pytest.raises(SerdemoError, match="2 clusters and 3 emotions do not fit"):
        clusters.agreement([0, 1], ["a", "b", "b"])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=40))
def test_agreement_keeps_its_bounds_whatever_the_names(rows: list[tuple[int, int]]) -> None:
    found, emotions = (list(column) for column in zip(*rows, strict=True))
    one = clusters.agreement(found, emotions)
    if len(set(emotions)) < 2:
        assert one == Agreement()
        return
    assert one.nmi is not None and one.ari is not None and one.purity is not None
    assert 0 <= one.nmi <= 1 + 1e-9
    assert -1 <= one.ari <= 1
    assert max(emotions.count(e) for e in emotions) / len(rows) <= one.purity <= 1
    renamed = clusters.agreement([7 - c for c in found], [f"e{e}" for e in emotions])
    assert astuple(renamed)[:3] == pytest.approx(astuple(one)[:3], abs=1e-9)


def corpus(
    speakers: int = 6, emotions: int = 4, each: int = 10, speaker: float = 3.0, emotion: float = 1.0
) -> tuple[NDArray[Any], list[str], list[str]]:
    """Gaussian clips: a mean for each speaker and one for each emotion, as far apart as told."""
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(speakers), emotions * each)
    what = np.tile(np.repeat(np.arange(emotions), each), speakers)
    means = speaker * rng.standard_normal((speakers, 24))
    moods = emotion * rng.standard_normal((emotions, 24))
    rows = means[who] + moods[what] + 0.3 * rng.standard_normal((len(who), 24))
    return rows, [f"s{n}" for n in who], [f"e{n}" for n in what]


def test_emotions_within_speakers_are_found_and_pooled_away() -> None:
    """Each speaker's emotions lie apart, and the speakers further: only per speaker is it seen."""
    rows, who, what = corpus()
    found = clusters.analyse(rows, who, what, shuffles=5)
    assert (found.n, found.speakers, found.scored_speakers) == (240, 6, 6)
    assert found.emotions == ("e0", "e1", "e2", "e3")
    assert found.clusters == 4.0  # the sweep finds the number
    assert found.per_speaker.nmi == pytest.approx(1.0)
    assert found.per_speaker.ari == pytest.approx(1.0)
    assert found.per_speaker.purity == 1.0
    assert found.per_speaker.silhouette is not None and found.per_speaker.silhouette > 0.4
    assert found.cluster_silhouette == pytest.approx(found.per_speaker.silhouette)
    assert found.pooled.nmi is not None and found.pooled.nmi < 0.1
    assert found.pooled.purity is not None and found.pooled.purity < 0.4
    for chance in (found.shuffled, found.pooled_shuffled):
        assert chance.ari == pytest.approx(0, abs=0.05)
        assert chance.silhouette is not None and chance.silhouette < 0.05
        assert chance.purity is not None and 0.25 <= chance.purity < 0.55


def test_embeddings_without_emotion_score_what_chance_gives() -> None:
    rows, who, what = corpus(emotion=0.0)
    found = clusters.analyse(rows, who, what, shuffles=20)
    assert found.per_speaker.ari == pytest.approx(0, abs=0.05)
    assert found.per_speaker.nmi == pytest.approx(found.shuffled.nmi, abs=0.06)
    assert found.per_speaker.purity == pytest.approx(found.shuffled.purity, abs=0.06)


def test_it_is_the_same_every_time_and_in_any_order_of_speakers() -> None:
    rows, who, what = corpus(emotion=0.4)
    one = clusters.analyse(rows, who, what, 5, shuffles=2)
    assert one == clusters.analyse(rows, who, what, 5, shuffles=2)
    assert one.clusters == 5.0
    # A hundredfold the length is the same direction.
    longer = clusters.analyse(100 * rows, who, what, 5, shuffles=2)
    assert astuple(longer.per_speaker) == pytest.approx(astuple(one.per_speaker))


def test_clusters_are_made_of_each_speaker_alone() -> None:
    rows, who, _ = corpus()
    found = clusters.within_speakers(rows, who, k=4)
    mixed = np.random.default_rng(1).permutation(len(rows))
    again = clusters.within_speakers(rows[mixed], [who[n] for n in mixed], k=4)
    for name in sorted(set(who)):
        own = np.array(who) == name
        assert sorted(set(found[own].tolist())) == [0, 1, 2, 3]
        together = again[np.argsort(mixed)][own]
        assert clusters.agreement(found[own], together).ari == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("rows", "k", "count"),
    [
        (np.eye(2), 5, 2),  # fewer clips than clusters
        (np.ones((6, 3)), 3, 1),  # all the same clip
        (np.eye(3), 0, 1),  # too few for any number of the sweep
        (np.eye(6), 3, 3),
        (np.ones((1, 4)), 4, 1),
        (np.zeros((5, 4)), 0, 1),
    ],
)
def test_few_clips_make_few_clusters(rows: NDArray[Any], k: int, count: int) -> None:
    found = clusters.within_speakers(rows, ["a"] * len(rows), k)
    assert len(found) == len(rows)
    assert len(set(found.tolist())) == count


def test_a_silhouette_by_hand() -> None:
    rows = np.array([[0.0], [1.0], [4.0], [5.0]])
    # a = 1; b = 4.5 and 3.5 for the first two, mirrored for the others.
    expected = np.mean([1 - 1 / 4.5, 1 - 1 / 3.5])
    assert clusters.silhouette(rows, np.array([0, 0, 1, 1])) == pytest.approx(expected)
    for groups in ([0, 0, 0, 0], [0, 1, 2, 3]):
        assert clusters.silhouette(rows, np.array(groups)) is None


def test_a_speaker_of_one_emotion_or_one_clip_is_passed_over() -> None:
    rows, who, what = corpus(speakers=3)
    whole = clusters.analyse(rows, who, what, shuffles=2)
    more = clusters.analyse(
        np.concatenate([rows, rows[:5], rows[:1]]),
        [*who, *["same"] * 5, "alone"],
        [*what, *["e0"] * 5, "e1"],
        shuffles=2,
    )
    assert (more.n, more.speakers, more.scored_speakers) == (126, 5, 3)
    assert more.per_speaker == whole.per_speaker


def test_one_speaker_is_its_own_pool() -> None:
    rows, who, what = corpus(speakers=1)
    found = clusters.analyse(rows, who, what, shuffles=2)
    assert found.pooled == found.per_speaker
    assert found.pooled_shuffled == found.shuffled


def test_two_clips_of_two_emotions_leave_the_silhouette_open() -> None:
    found = clusters.analyse(np.eye(2), ["a", "a"], ["x", "y"], shuffles=1)
    assert found.per_speaker == Agreement(nmi=0.0, ari=0.0, purity=0.5, silhouette=None)
    assert found.cluster_silhouette is None


@pytest.mark.parametrize(
    ("who", "what"),
    [([], []), (["a"], ["x"]), (["a", "a"], ["x", "x"]), (["a", "b"], ["x", "y"])],
    ids=["no clip", "one clip", "one emotion", "one clip each"],
)
def test_nothing_to_compare_is_told(who: list[str], what: list[str]) -> None:
    with pytest.raises(SerdemoError, match="No speaker here has clips of two emotions"):
        clusters.analyse(np.ones((len(who), 3)), who, what)


def test_what_are_no_embeddings_is_told() -> None:
    for rows in (np.array([[1.0, np.nan]] * 2), np.ones(2)):
        with pytest.raises(SerdemoError, match="rows of as many finite numbers"):
            clusters.analyse(rows, ["a", "a"], ["x", "y"])
    with pytest.raises(SerdemoError, match="3 of embeddings, 2 of speakers"):
        clusters.within_speakers(np.ones((3, 2)), ["a", "a"])


def test_probes_read_off_what_is_there() -> None:
    found = probes.probes(*corpus())
    assert found["speaker"] == probes.Probe(240, 6, 1.0, 1.0, 1 / 6, 1 / 6)
    plain, centred = found["emotion"], found["emotion_centred"]
    assert plain is not None and centred is not None
    for one in (plain, centred):
        assert (one.n, one.classes, one.chance_uar, one.chance_accuracy) == (240, 4, 0.25, 0.25)
        assert one.uar == one.accuracy
    # So few speakers stand in the way of the emotion, until they are taken away.
    assert plain.uar > 0.5
    assert centred.uar > 0.95


def test_probes_read_nothing_off_noise() -> None:
    rows, who, what = corpus(speaker=0.0, emotion=0.0, each=20)
    found = probes.probes(rows, who, what)
    for one, chance in ((found["speaker"], 1 / 6), (found["emotion"], 1 / 4)):
        assert one is not None
        assert one.uar == pytest.approx(chance, abs=0.08)


def test_an_emotion_told_by_the_speaker_alone_is_not_read_off_others() -> None:
    """Every speaker speaks in one emotion: all of the emotion probe is then left to chance."""
    rows, who, _ = corpus(speakers=8, emotion=0.0)
    what = ["low" if name in ("s0", "s1", "s2", "s3") else "high" for name in who]
    found = probes.probes(rows, who, what)
    assert found["speaker"] is not None and found["speaker"].uar == 1.0
    leaking = probes.probe(rows, what)
    assert leaking is not None and leaking.uar == 1.0
    assert found["emotion"] is not None and found["emotion"].uar < 0.8
    centred = found["emotion_centred"]
    assert centred is not None and centred.uar < 0.65


def test_probes_need_two_of_what_they_tell_apart() -> None:
    rows, who, what = corpus(speakers=1)
    found = probes.probes(rows, who, what)
    assert found == {"speaker": None, "emotion": None, "emotion_centred": None}
    assert probes.probe(np.eye(3), ["a", "b", "c"]) is None  # one clip each
    assert probes.probe(np.zeros((0, 3)), []) is None
    # Two speakers of one emotion each leave nothing to learn the other from.
    rows, who, _ = corpus(speakers=2)
    assert probes.probes(rows, who, ["x" if s == "s0" else "y" for s in who])["emotion"] is None
    one_more = probes.probe(np.eye(7), ["a", "a", "a", "b", "b", "b", "c"])
    assert one_more is not None and (one_more.n, one_more.classes) == (6, 2)
