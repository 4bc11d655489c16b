"""Decoding to 16 kHz mono, refusals in one sentence, resampling and windows."""

from __future__ import annotations

import pickle
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import bad_audio

from serdemo.audio import waveform
from serdemo.audio.samples import BLOCK_VALUES, AudioError, HighPass, to_frames
from serdemo.schema.errors import SerdemoError


@pytest.mark.slow
def test_bad_files_end_in_one_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], subtests: pytest.Subtests
) -> None:
    cases = bad_audio.make_refused(tmp_path)
    assert len(cases) >= 22
    for name, (path, pattern) in cases.items():
        with subtests.test(name):
            with pytest.raises(SerdemoError, match=pattern) as caught:
                waveform.decode(path)
            sentence = str(caught.value)
            assert sentence.startswith(path.name)
            assert str(tmp_path) not in sentence
            assert re.fullmatch(r"[^\n]+: [^\n:]+\.", sentence)
    assert capfd.readouterr() == ("", "")


def test_odd_files_are_decoded(tmp_path: Path) -> None:
    for path, _ in bad_audio.make_warned(tmp_path).values():
        assert np.isfinite(waveform.decode(path).samples).all()


def test_a_given_name_replaces_the_file_name(tmp_path: Path) -> None:
    with pytest.raises(SerdemoError, match=r"^my clip was not found"):
        waveform.decode(tmp_path / "upload-73.wav", name="my clip")


def test_an_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(bad_audio.wav(bad_audio.sine(1.0)))

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SerdemoError, match=r"a\.wav cannot be opened \(Permission denied\): "):
        waveform.decode(path)


def test_too_long_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(bad_audio.wav(bad_audio.sine(5.0, 8_000), 8_000))
    assert waveform.decode(path).duration_s == 5.0
    short = waveform.SoundFile(path, limits=waveform.Limits(seconds=4))
    with pytest.raises(SerdemoError, match=r"a\.wav is longer than .* hours: cut it"):
        waveform.decode(short)
    few = waveform.SoundFile(path, "voice.wav", waveform.Limits(values=39_999))
    with pytest.raises(SerdemoError, match=r"voice\.wav holds more than .* samples: save it"):
        waveform.decode(few)
    enough = waveform.SoundFile(path, limits=waveform.Limits(5, 40_000))
    assert waveform.decode(enough).duration_s == 5.0


def test_memory_is_the_result_and_a_block(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    seconds, rate = 240, 96_000
    data_bytes = 2 * seconds * rate
    with path.open("wb") as file:
        file.write(bad_audio.pcm_header(rate, 1, data_bytes))
        file.truncate(44 + data_bytes)
    tracemalloc.start()
    clip = waveform.decode(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert clip.duration_s == seconds
    # A growing buffer may hold an eighth more than it uses.
    assert peak < clip.samples.nbytes * 9 / 8 + 6 * 4 * BLOCK_VALUES


def test_a_header_that_lies_allocates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lying.wav"
    path.write_bytes(bad_audio.pcm_header(48_000, 2, 0xFFFFFF00) + b"\x00\x10" * 9600)
    tracemalloc.start()
    clip = waveform.decode(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert clip.duration_s == pytest.approx(0.1)
    assert peak < 20 * 4 * BLOCK_VALUES


def test_clipping_is_counted_in_the_source(tmp_path: Path) -> None:
    tone = bad_audio.sine(2.0, 48_000) * 4  # beyond 1.0 for two thirds of each period
    path = tmp_path / "clipped.wav"
    path.write_bytes(bad_audio.wav(np.stack([np.clip(tone, -1, 1), 0 * tone], axis=1), 48_000))
    assert waveform.decode(path).clipped == pytest.approx(1 / 3, abs=0.01)


def test_channels_are_averaged() -> None:
    tone = bad_audio.sine(1.0)
    one = waveform.from_array(tone, 16_000, "a")
    both = waveform.from_array(np.stack([tone, tone], axis=1), 16_000, "a")
    np.testing.assert_array_equal(both.samples, one.samples)
    assert both.notes == ()


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32"])
def test_integers_are_scaled_by_their_full_range(dtype: str) -> None:
    info = np.iinfo(dtype)
    middle = (int(info.min) + int(info.max) + 1) // 2
    quarter = (int(info.max) - int(info.min) + 1) // 4
    values = np.array([info.min, middle, middle + quarter, info.max], dtype)
    scaled = to_frames(values)[0][:, 0]
    np.testing.assert_allclose(scaled[:3], [-1, 0, 0.5], atol=1e-7)
    assert 0.99 < scaled[3] <= 1


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_an_array_gives_what_the_file_gives(tmp_path: Path, dtype: str) -> None:
    sound = np.stack([bad_audio.voice(2.0, 44_100), bad_audio.sine(2.0, 44_100)], axis=1)
    sound = sound.astype("float16")
    path = tmp_path / "a.wav"
    path.write_bytes(bad_audio.wav(sound.astype("float32"), 44_100, "FLOAT"))
    from_file = waveform.decode(path)
    clip = waveform.from_array(sound.astype(dtype), 44_100, "a.wav")
    np.testing.assert_array_equal(clip.samples, from_file.samples)
    assert (clip.source_rate, clip.channels, clip.name) == (44_100, 2, "a.wav")


@pytest.mark.parametrize(
    ("samples", "rate", "pattern"),
    [
        (np.zeros(0, np.float32), 16_000, "holds no sound"),
        (np.zeros((0, 2), np.float32), 16_000, "holds no sound"),
        (np.float32(0.5), 16_000, r"shape \(\)"),
        (np.zeros((2, 16_000), np.float32), 16_000, r"shape \(2, 16000\): give"),
        (np.zeros((2, 2, 2), np.float32), 16_000, r"shape \(2, 2, 2\): give"),
        (np.zeros(9, np.int64), 16_000, "type int64: convert"),
        (np.zeros(9, np.complex64), 16_000, "type complex64: convert"),
        (np.zeros(9, bool), 16_000, "type bool: convert"),
        (np.array(["a"]), 16_000, "type <U1: convert"),
        (np.array([0.1, np.nan], np.float32), 16_000, "not numbers"),
        (np.array([0.1, -np.inf], np.float64), 16_000, "not numbers"),
        (np.array([0.1, 1e300]), 16_000, "not numbers"),
        (np.array([0.1, 900.0]), 16_000, "900 times beyond full scale"),
        (np.zeros(9, np.float32), 0, "sample rate of 0 Hz"),
        (np.zeros(9, np.float32), -8_000, "sample rate of -8000 Hz"),
    ],
)
def test_bad_arrays_end_in_one_sentence(samples: np.ndarray, rate: int, pattern: str) -> None:
    with pytest.raises(SerdemoError, match=f"^live .*{pattern}"):
        waveform.from_array(samples, rate, "live")
    if rate == 16_000 and np.size(samples):
        with pytest.raises(SerdemoError, match=f"^The sound .*{pattern}"):
            waveform.validate_samples(samples)


def test_good_arrays_are_valid() -> None:
    for samples in (np.zeros(0), np.ones((9, 2), np.float32), np.full(9, 255, np.uint8)):
        waveform.validate_samples(samples)


def test_an_error_keeps_its_sentence_between_processes() -> None:
    error = AudioError("is empty: record it again.", "a.wav")
    assert str(pickle.loads(pickle.dumps(error))) == "a.wav is empty: record it again."


def test_sixteen_bit_samples() -> None:
    wave = np.array([0, 0.5, 1, -1, 3, -3], np.float32)
    assert waveform.to_int16(wave).tolist() == [0, 16384, 32767, -32767, 32767, -32767]
    stored, scale = waveform.to_scaled_int16(wave * 1e-4)
    assert (stored.dtype, stored.max(), stored.min()) == (np.int16, 32767, -32767)
    np.testing.assert_allclose(stored * scale, wave * 1e-4, atol=1e-8)
    assert waveform.to_scaled_int16(np.zeros(3, np.float32))[0].tolist() == [0, 0, 0]


@settings(deadline=None, max_examples=40)
@given(
    rate=st.sampled_from((8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 384_000)),
    cuts=st.lists(st.integers(0, 20_000), max_size=30),
)
def test_resampling_does_not_depend_on_the_pieces(rate: int, cuts: list[int]) -> None:
    sound = np.random.default_rng(rate).standard_normal(20_000).astype(np.float32)
    whole = waveform.Resampler(rate)
    expected = np.concatenate([whole.push(sound), whole.finish()])
    assert abs(len(expected) - 20_000 * 16_000 / rate) <= 1
    pieces = waveform.Resampler(rate)
    got = [pieces.push(piece) for piece in np.split(sound, sorted(cuts))]
    np.testing.assert_array_equal(np.concatenate([*got, pieces.finish()]), expected)


def test_resampling_keeps_the_band_and_removes_what_would_alias() -> None:
    def level(frequency: float) -> float:
        tone = bad_audio.sine(1.0, 48_000, frequency)
        samples = waveform.from_array(tone, 48_000, "a").samples[2_000:14_000]
        return float(20 * np.log10(np.sqrt(np.mean(samples**2)) / (0.5 / np.sqrt(2))))

    assert abs(level(6_500)) < 0.1
    assert level(10_000) < -80


@given(
    n_samples=st.integers(0, 3_000_000),
    window_s=st.sampled_from((0.5, 2.0, 3.0)),
    hop_s=st.sampled_from((0.25, 0.5, 1.0, 3.0)),
)
def test_windows_cover_everything(n_samples: int, window_s: float, hop_s: float) -> None:
    size, hop = round(window_s * 16_000), round(hop_s * 16_000)
    cut = waveform.windows(n_samples, window_s=window_s, hop_s=min(hop_s, window_s))
    hop = min(hop, size)
    if n_samples <= size:
        assert cut == [(0, n_samples)]
        return
    assert cut[0][0] == 0
    assert cut[-1][1] == n_samples
    assert all(stop - start == size for start, stop in cut)
    steps = np.diff([start for start, _ in cut])
    assert (steps[:-1] == hop).all()
    assert 0 < steps[-1] <= hop


def test_windows_by_hand() -> None:
    assert waveform.windows(48_000) == [(0, 48_000)]
    assert waveform.windows(48_001) == [(0, 48_000), (1, 48_001)]
    assert waveform.windows(72_000) == [(0, 48_000), (16_000, 64_000), (24_000, 72_000)]


def test_the_high_pass_filter_is_a_butterworth_of_fourth_order_at_80_hz() -> None:
    impulse = np.zeros(waveform.SAMPLE_RATE, np.float32)
    impulse[0] = 1
    response = np.fft.rfft(HighPass().push(impulse).astype(np.float64))  # 1 Hz apart
    decibels = 20 * np.log10(np.abs(response[[20, 40, 80, 160, 1000, 7900]]))
    assert decibels == pytest.approx([-48.2, -24.1, -3.01, -0.02, 0, 0], abs=0.05)
    assert abs(response[0]) < 1e-5


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 4000), max_size=6))
def test_the_high_pass_filter_does_not_see_cuts(cuts: list[int]) -> None:
    sound = np.random.default_rng(5).standard_normal(4000).astype(np.float32)
    whole, cut = HighPass().push(sound), HighPass()
    pieces = [cut.push(piece) for piece in np.split(sound, sorted(cuts))]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
