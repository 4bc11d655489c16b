"""Embeddings of recordings: those of long ones, read in pieces, are those of clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from support import bad_audio

from serdemo.inference.predictor import Embedder
from serdemo.inference.recording_embeddings import embed_recordings
from serdemo.schema.errors import SerdemoError

RATE = 16_000


@pytest.mark.slow  # ffmpeg is asked about the bad file
def test_a_long_recording_is_embedded_as_a_clip(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence, voice = np.zeros(5 * RATE, np.float32), bad_audio.voice(9.0)
    long = np.concatenate([voice, silence, bad_audio.voice(7.0)[::-1], silence])
    sounds = {"short": voice, "long": long, "hum": bad_audio.sine(25.0)}
    for name, wave in sounds.items():
        soundfile.write(tmp_path / f"{name}.wav", wave, RATE)
    (tmp_path / "bad.wav").write_bytes(b"nothing like sound")
    paths = [tmp_path / f"{name}.wav" for name in ("short", "bad", *sounds)]
    embedder = Embedder(tiny_checkpoint, device="cpu")
    expected = list(embedder.embed_many(paths))
    monkeypatch.setattr("serdemo.inference.predictor.LONG_S", 10.0)
    found = list(embed_recordings(embedder, paths))
    assert isinstance(expected[1], SerdemoError) and str(found[1]) == str(expected[1])
    for number in (0, 2, 3, 4):
        row = found[number]
        assert not isinstance(row, SerdemoError) and row.embedding.dtype == np.float32
        assert np.allclose(row.embedding, expected[number].embedding, atol=1e-5)
        assert np.allclose(row.probabilities, expected[number].probabilities, atol=1e-5)
        assert row.duration_s == pytest.approx(soundfile.info(paths[number]).duration, abs=0.1)
    assert not np.allclose(found[0].embedding, found[3].embedding, atol=1e-3)
