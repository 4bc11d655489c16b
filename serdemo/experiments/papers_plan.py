"""The models and comparisons that test the claims of the three papers.

All use the project's own split, so that no model is trained or selected on a test speaker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FROZEN = "whisper-frozen"  # heads on cached statistics of Whisper's lower layers
NETWORKS: Mapping[str, Mapping[str, Any]] = {
    "compact": {},
    "whisper": {"encoder": "whisper", "freeze": "lower-half"},
    FROZEN: {
        "encoder": "whisper",
        "freeze": "all",
        "keep_layers": 3,
        "hidden_states": "2,3",
        "layer_pooling": "concat",
        "pooling": "mean-std",
        "cache_features": True,
    },
}
SVM = "svm"  # in place of a recipe: an SVM on functionals
SPEAKER_ENCODER = "speaker"  # name of the shipped speaker encoder
TEST_CORPORA = ("ravdess", "emodb")
THREE_CORPORA = "ravdess,emodb,aesdd"
# A head of a few layers learns faster than a network.
HEAD_OPTIONS: Mapping[str, Any] = {"learning_rate": 2e-3, "batch_size": 16, "ema_decay": 0.98}
# Epochs of stage 1 by corpora: about 12,500 clips, whatever the number of corpora
STAGE_1_EPOCHS: Mapping[str, int] = {
    "ravdess,emodb": 9,
    "ravdess,emodb,aesdd": 7,
    "ravdess,emodb,aesdd,nemo": 3,
    "ravdess,emodb,aesdd,nemo,ased": 2,
}


@dataclass(frozen=True, slots=True)
class Arm:
    """A model to train once for each seed: a recipe on corpora with its options.

    `init_from` names the arm whose model of the same seed it is initialised from.
    """

    name: str
    recipe: str
    corpora: str
    options: Mapping[str, Any] = field(default_factory=dict)
    init_from: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """Whether the arm `other` has a higher UAR on the test clips of `corpora` than `base`."""

    asks: str
    base: str
    other: str
    corpora: tuple[str, ...] = TEST_CORPORA


@dataclass(frozen=True, slots=True)
class Paper:
    """A paper with its reported figures, what is unavailable to repeat them, and our models."""

    number: str
    title: str
    reported: tuple[tuple[str, str], ...]
    unavailable: str
    arms: tuple[Arm, ...]
    questions: tuple[Question, ...]


def papers(network: str, source: str = "") -> tuple[Paper, ...]:
    """The three papers with the arms for one of `NETWORKS`; `source` of a pretrained encoder.

    The third paper freezes its encoder itself, so it has no further arms on cached features.
    """
    net = {**NETWORKS[network], **({"source": source} if source else {})}
    first = (_cross_corpus(network, net), _clusters(network, net))
    return first if network == FROZEN else (*first, _features(network, net))


def _cross_corpus(network: str, net: Mapping[str, Any]) -> Paper:
    if network == "compact":
        shared = {**net, "min_crop": 1.5, "max_crop": 3.0, "ema_decay": 0.995}
        first = {"contrast_epochs": 24, "early_stop": 6}
        epochs, patience = {"ravdess": 40, "emodb": 60}, 10
    elif network == FROZEN:
        shared = {**net, **HEAD_OPTIONS, "min_crop": 3.0, "max_crop": 3.0}
        first = {"contrast_epochs": 20, "early_stop": 6}
        epochs, patience = {"ravdess": 40, "emodb": 60}, 10
    else:
        shared = {**net, "min_crop": 3.0, "max_crop": 3.0, "ema_decay": 0.98, "warm_up": 0.1}
        shared |= {"learning_rate": 1e-3, "batch_size": 16}
        first = {"contrast_epochs": 6, "early_stop": 5}
        epochs, patience = {"ravdess": 10, "emodb": 24}, 5
    contrast = Arm("contrast", "cross_corpus", THREE_CORPORA, {**shared, **first, "epochs": 0})
    arms, questions = [contrast], []
    for corpus in TEST_CORPORA:
        own = {"target": corpus, "contrast_epochs": 0, "early_stop": patience}
        options = {**shared, **own, "epochs": epochs[corpus]}
        arms.append(Arm(f"direct-{corpus}", "cross_corpus", corpus, options))
        arms.append(Arm(f"cross-{corpus}", "cross_corpus", corpus, options, init_from="contrast"))
        asks = "stage 1 across corpora, beside direct fine-tuning"
        questions.append(Question(asks, f"direct-{corpus}", f"cross-{corpus}", (corpus,)))
    if network != "whisper":  # the paper's open question of more than two corpora
        curve = {**shared, "target": "emodb", "contrast_epochs": 0, "epochs": 24, "early_stop": 8}
        arms.append(Arm("of-none", "cross_corpus", "emodb", curve))
        for corpora, stage_1_epochs in STAGE_1_EPOCHS.items():
            count = corpora.count(",") + 1
            first_arm = Arm(
                f"contrast-of-{count}",
                "cross_corpus",
                corpora,
                {**shared, "contrast_epochs": stage_1_epochs, "epochs": 0},
            )
            arms += [
                first_arm,
                Arm(f"of-{count}", "cross_corpus", "emodb", curve, first_arm.name),
            ]
            asks = f"stage 1 on {count} corpora, beside none"
            questions.append(Question(asks, "of-none", f"of-{count}", ("emodb",)))
    return Paper(
        number="2411.19803",
        title="Cross-corpus supervised contrastive learning",
        reported=(
            ("IEMOCAP, WavLM-base, UA", "77.41; split not stated"),
            ("CASIA, WavLM-base, UA", "96.49; split not stated, almost surely speakers shared"),
        ),
        unavailable="IEMOCAP, CASIA and the weights of WavLM",
        arms=tuple(arms),
        questions=tuple(questions),
    )


# Sources of the clusters, as options of `cluster_ablations`
CLUSTER_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "found": {},
    "shuffled": {"clusters_from": "shuffled"},
    "oracle": {"clusters_from": "emotion"},
    "corrupted30": {"clusters_from": "corrupted", "corruption": 0.3},
    "corrupted60": {"clusters_from": "corrupted", "corruption": 0.6},
}
LABEL_SHARES = {"10": 0.1, "100": 1.0}  # by percent


def _clusters(network: str, net: Mapping[str, Any]) -> Paper:
    slow = network == "whisper"
    shared = {**net, "min_crop": 1.5, "max_crop": 3.0, "ema_decay": 0.98 if slow else 0.995}
    shared |= HEAD_OPTIONS if network == FROZEN else {}
    first = {"cluster_epochs": 4 if slow else 8, "epochs": 0, "embeddings": SPEAKER_ENCODER}
    arms = [
        Arm(
            f"clusters-{name}",
            "cluster_ablations" if source else "speaker_clusters",
            THREE_CORPORA,
            {**shared, **first, **source},
        )
        for name, source in CLUSTER_OPTIONS.items()
    ]
    questions = []
    for percent, share in LABEL_SHARES.items():
        epochs = (10 if slow else 24) * (3 if share < 1 else 1)
        tuned = {**shared, "cluster_epochs": 0, "labels_share": share, "epochs": epochs}
        tuned["early_stop"] = epochs // 4
        base = f"none-{percent}"
        arms.append(Arm(base, "speaker_clusters", THREE_CORPORA, tuned))
        for name in CLUSTER_OPTIONS:
            # Degrees of cluster quality are compared only where labels are few.
            if name != "found" and share == 1:
                continue
            other = f"{name}-{percent}"
            arms.append(
                Arm(other, "speaker_clusters", THREE_CORPORA, tuned, init_from=f"clusters-{name}")
            )
            asks = f"pretraining on {name} clusters, beside none, with {percent} % of the labels"
            questions.append(Question(asks, base, other))
    return Paper(
        number="2401.11017",
        title="Contrastive pretraining on emotional clusters within speakers",
        reported=(
            ("IEMOCAP, UAR", "69.16; embedding, clustering and unlabelled set not public"),
            ("CREMA-D, UAR", "73.80; whether of 4 or of 6 classes is not public"),
        ),
        unavailable="IEMOCAP, all of CREMA-D and the weights of wav2vec 2.0",
        arms=tuple(arms),
        questions=tuple(questions),
    )


def _features(network: str, net: Mapping[str, Any]) -> Paper:
    frozen = {**net, "freeze": "all"} if network != "compact" else {"init_from": SPEAKER_ENCODER}
    kinds: dict[str, Mapping[str, Any]] = {
        "features": frozen,
        "features-3": {**frozen, "cnn_layers": 3},
        "features-5": {**frozen, "cnn_layers": 5},
        "mfcc": {"encoder": "mfcc"},
    }
    schedule = {"epochs": 12, "early_stop": 6}  # an hour on one core
    arms = [Arm("svm", SVM, THREE_CORPORA)]
    arms += [
        Arm(name, "ssl_cnn", THREE_CORPORA, {**schedule, **own}) for name, own in kinds.items()
    ]
    questions = [
        Question("the CNN on features, beside an SVM on functionals", "svm", "features"),
        Question("features of the encoder, beside MFCC, in the same CNN", "mfcc", "features"),
        Question("7 layers, beside 3", "features-3", "features"),
        Question("7 layers, beside 5", "features-5", "features"),
    ]
    return Paper(
        number="2309.12714",
        title="Self-supervised features into a 2-D CNN",
        reported=(
            ("ShEMO, 5 classes, accuracy of the CNN", "81.7; split not stated"),
            ("ShEMO, 5 classes, accuracy of its SVM", "76"),
            ("ShEMO, 5 classes, accuracy of EfficientNet", "78.7"),
        ),
        unavailable="ShEMO, the weights of XLSR-53 and those of ImageNet",
        arms=tuple(arms),
        questions=tuple(questions),
    )
