"""What a speaker embedding is worth: verification of the test speakers, as its user would hear them."""

from __future__ import annotations

import numpy as np

from serdemo.inference.predictor import Embedder
from serdemo.metrics import verification
from serdemo.metrics.verification import MAX_TRIALS, Verification
from serdemo.nn.provenance import seen_speakers
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import Utterance


def verify(
    embedder: Embedder, corpus: str, clips: tuple[Utterance, ...], limit: int = MAX_TRIALS
) -> Verification | None:
    """The equal error rate on clips of one corpus, with its interval; None where they make no
    trials of both kinds."""
    kept, rows, refused = [], [], []
    for clip, heard in zip(clips, embedder.embed_many(u.path for u in clips), strict=True):
        if isinstance(heard, SerdemoError):
            refused.append(str(heard))
        else:
            kept.append(clip)
            rows.append(heard.embedding)
    speakers = [clip.speaker_key for clip in kept]
    width = embedder.model.options.embedding
    found = verification.make_trials(np.reshape(rows, (-1, width)), speakers, limit)
    if found is None:
        return None
    same = found.same
    return Verification(
        checkpoint=embedder.name,
        corpus=corpus,
        n=len(kept),
        speakers=len(set(speakers)),
        same_trials=int(same.sum()),
        different_trials=int((~same).sum()),
        eer=found.eer,
        eer_ci95=verification.eer_interval(found),
        unseen_speakers=not seen_speakers(embedder.description).intersection(speakers),
        refused=tuple(refused),
    )


def verify_all(embedder: Embedder, clips: tuple[Utterance, ...]) -> list[Verification]:
    """That of each corpus by itself, of as many trials as the checkpoint was chosen by."""
    limit = embedder.description.options.get("trials", MAX_TRIALS)
    found = [
        verify(embedder, corpus, tuple(u for u in clips if u.corpus == corpus), limit)
        for corpus in sorted({u.corpus for u in clips})
    ]
    return [one for one in found if one is not None]
