"""Recipe `speaker`: whose voice it is, learnt from speaker identity alone.

| paper says | here | why |
|---|---|---|
| x-vectors (Snyder et al., ICASSP 2018): a network that tells training speakers apart embeds those it never heard | the encoder, attentive statistics pooling and one linear layer, the embedding itself compared by cosine | the network of the emotion recipes, so that embeddings differ by what they were trained on alone |
| AM-Softmax (arXiv 1801.05599), scale 30, margin 0.2 to 0.35 | the same over corpus x speaker, prototypes beside the model | a speaker's number means nothing once training is over |
| batches balanced over speakers | the same; `--balance` 1 draws every speaker alike, 0 every clip | corpora hold from a dozen to hundreds of clips of a speaker |
| noise and reverberation added (x-vectors) | rooms, noise, bands, levels; never another speed | a voice at another speed and pitch is another voice |
| equal error rate on pairs of clips of speakers never heard | the same, cosine, every pair of clips of a corpus up to `--trials` | pairs across corpora would be told apart by their rooms |

It sees no emotion labels, so it is not trained to hold emotion. It uses the clips of all emotions,
those without a class in other recipes too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor, nn

from serdemo.audio.augmentation import AugmentOptions
from serdemo.data.corpora.speakers import require_known
from serdemo.data.dataset import Batch
from serdemo.data.sampling import BatchOptions, sampling_weights
from serdemo.data.splits import Split
from serdemo.metrics import verification
from serdemo.nn import encoders, losses
from serdemo.nn.model import HeadOptions, Model
from serdemo.schema.errors import UsageError
from serdemo.schema.options import Options, Value, option
from serdemo.training.recipes.base import Recipe, Stage, Validation
from serdemo.training.recipes.stages import ClipsStage, prototypes, without_emotions
from serdemo.training.recipes.validation import embed


@dataclass(frozen=True)
class SpeakerOptions(Options):
    """Options of the recipe itself."""

    epochs: int = option(45, "passes over the training clips", low=1, high=10_000, advanced=False)
    learning_rate: float = option(5e-4, "peak learning rate", low=1e-7, high=1.0, advanced=False)
    margin: float = option(0.2, "margin of the softmax, as a cosine", low=0.0, high=1.0)
    margin_scale: float = option(30.0, "its scale", low=1.0, high=100.0)
    trials: int = option(
        verification.MAX_TRIALS,
        "pairs of clips of a corpus to score by, at most",
        low=1,
        high=10**8,
    )


class SpeakerStage(ClipsStage):
    """The one stage: every parameter that an embedding depends on, and a prototype a speaker."""

    name = "speaker"

    def __init__(self, recipe: Speaker, model: Model, split: Split, seed: int) -> None:
        self.options = recipe.options(SpeakerOptions)
        self.epochs = self.options.epochs
        train, valid = without_emotions(split.train), without_emotions(split.valid)
        rate = self.options.learning_rate
        super().__init__(recipe, model, train, valid, seed, learning_rate=rate)
        n_speakers = len(set(self.train.speaker.tolist()))
        self.extra: nn.ParameterDict = prototypes(n_speakers, model, seed)

    @cached_property
    def weights(self) -> np.ndarray:
        """How often each clip is drawn, (N,) summing to 1: speakers in balance."""
        by_speaker = [replace(u, corpus=u.speaker_key) for u in self.train.utterances]
        return sampling_weights(by_speaker, self.batching.balance)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Encoder, pooling and embedding, and the prototypes of the speakers."""
        return self.embedding_groups()

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Additive-margin softmax over the speakers."""
        embedding, batch = self.embed(batch)
        loss = losses.margin_softmax(
            embedding,
            self.extra["prototypes"],
            batch.speaker,
            self.options.margin_scale,
            self.options.margin,
        )
        return loss, {"margin": loss.item()}

    def validate(self, model: Model) -> Validation | None:
        """1 minus the mean equal error rate of the corpora; None where no corpus has trials."""
        embeddings = embed(model, self.valid, self.batching.batch_size).numpy()
        corpus = np.array([u.corpus for u in self.valid.utterances])
        speaker = np.array([u.speaker for u in self.valid.utterances])
        rates = {}
        for name in sorted(set(corpus.tolist())):
            own = corpus == name
            trials = verification.make_trials(embeddings[own], speaker[own], self.options.trials)
            if trials is not None:
                rates[f"eer_{name}"] = trials.eer
        if not rates:
            return None
        mean = float(np.mean(list(rates.values())))
        return Validation(score=1 - mean, metrics={"eer": mean, **rates})


class Speaker(Recipe):
    """The recipe `speaker`."""

    name: ClassVar[str] = "speaker"
    summary: ClassVar[str] = "Tell speakers apart, by their identity alone: speaker embeddings."
    groups: ClassVar[tuple[type[Options], ...]] = (
        SpeakerOptions,
        BatchOptions,
        AugmentOptions,
        *encoders.OPTION_GROUPS,
        HeadOptions,
    )
    defaults: ClassVar[Mapping[str, Value]] = {"balance": 1.0, "speed": 0.0}
    is_verification: ClassVar[bool] = True

    @property
    def output(self) -> Literal["classes", "embedding"]:
        """A speaker embedding."""
        return "embedding"

    @property
    def no_classifier_note(self) -> str:
        """How to use a speaker embedding."""
        return "It embeds voices and has no emotion classifier: use it with embed or --embeddings."

    @property
    def needs_labels(self) -> bool:
        """It learns from who speaks, and nothing else."""
        return False

    def check(self, split: Split) -> None:
        """Raise UsageError, too, with fewer than two speakers to train on."""
        super().check(split)
        require_known(split.train, "there is nothing to tell them apart by")
        speakers = split.speakers("train")
        if len(speakers) < 2:
            raise UsageError(
                "Telling speakers apart needs clips of at least two to train on; found"
                f" {', '.join(speakers) or 'none'}."
            )

    def labels(self, split: Split) -> tuple[str, ...]:
        """No emotions."""
        return ()

    def stages(self, model: Model, split: Split, seed: int) -> list[Stage]:
        """The one stage."""
        return [SpeakerStage(self, model, split, seed)]
