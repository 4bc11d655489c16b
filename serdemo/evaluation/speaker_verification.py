"""Speaker verification with a checkpoint's embeddings, by the same inference that a user gets."""

from __future__ import annotations

import numpy as np

from serdemo.data.shards import sound_path
from serdemo.inference.predictor import Embedder
from serdemo.metrics import verification
from serdemo.metrics.verification import MAX_TRIALS, Verification
from serdemo.nn.provenance import are_unseen, seen_speakers
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import Utterance


def verify(
    embedder: Embedder, corpus: str, clips: tuple[Utterance, ...], limit: int = MAX_TRIALS
) -> Verification | None:
    """Equal error rate on clips of one corpus, with its interval.

    At most `limit` trials are drawn; clips of unknown speakers make none. None where the clips make no trials of both kinds.
    """
    speakers, rows, errors = [], [], []
    clips = tuple(clip for clip in clips if clip.speaker_known)
    for clip, output in zip(clips, embedder.embed_many(map(sound_path, clips)), strict=True):
        if isinstance(output, SerdemoError):
            errors.append(str(output))
        else:
            speakers.append(clip.speaker_key)
            rows.append(output.embedding)
    width = embedder.model.options.embedding
    trials = verification.make_trials(np.reshape(rows, (-1, width)), speakers, limit)
    if trials is None:
        return None
    same = trials.same
    return Verification(
        checkpoint=embedder.name,
        corpus=corpus,
        n=len(speakers),
        speakers=len(set(speakers)),
        same_trials=int(same.sum()),
        different_trials=int((~same).sum()),
        eer=trials.eer,
        eer_ci95=verification.eer_interval(trials),
        unseen_speakers=are_unseen(seen_speakers(embedder.description), speakers),
        refused=tuple(errors),
    )


def verify_all(embedder: Embedder, clips: tuple[Utterance, ...]) -> list[Verification]:
    """`verify` per corpus, with as many trials as in the validation of the checkpoint."""
    limit = embedder.description.options.get("trials", MAX_TRIALS)
    results = [
        verify(embedder, corpus, tuple(u for u in clips if u.corpus == corpus), limit)
        for corpus in sorted({u.corpus for u in clips})
    ]
    return [result for result in results if result is not None]
