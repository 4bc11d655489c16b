"""Sound in the browser, run by Node, beside that of Python: the same samples, channels and sentences."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal
from support import bad_audio
from support.corpora import real_clips
from support.node import run_module

from serdemo.audio import channels, quality, samples, vad, waveform
from serdemo.audio.samples import AudioError, Resampler
from serdemo.inference.speed import speech_samples
from serdemo.ui.browser import files

SAMPLE_RATE = samples.SAMPLE_RATE
# Hz; the last three are fractions of 16 kHz so odd that soxr interpolates between its filters.
RATES = (
    8_000,
    11_025,
    12_000,
    16_000,
    22_050,
    24_000,
    32_000,
    44_100,
    48_000,
    88_200,
    96_000,
    176_400,
)
MORE_RATES = (
    192_000,
    4_000,
    6_000,
    20_000,
    25_000,
    30_000,
    37_000,
    37_800,
    64_000,
    352_800,
    384_000,
)
ODD_RATES = (44_099, 24_001, 4_001)
CUT = ("speech", "telephone", "stereo-48")  # the detector gets these in pieces too
LENGTHS = (1, 2, 3, 100, 1001, 12_345)

Frames = NDArray[np.float32]

LOAD = """
import { pathToFileURL } from "node:url";
import { OnnxRuntime } from "./ui/browser/onnx_runtime.js";
import { SpeechDetector } from "./ui/browser/vad.js";
globalThis.fetch = async (url) => new Response(readFileSync(new URL(url)));
const floats = (name) => {
  const bytes = readFileSync(name);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
};
const save = (name, parts) => writeFileSync(name, Buffer.concat(
  parts.map(({ buffer, byteOffset, byteLength }) => Buffer.from(buffer, byteOffset, byteLength))));
const loadDetector = async () => {
  const runtime = await OnnxRuntime.start();
  return new SpeechDetector(await runtime.createSession(readFileSync(given.network)));
};
let seed = 1; // of pieces of 1 to 5000 samples
const pieces = function* (sound) {
  for (let at = 0; at < sound.length;) {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    yield sound.subarray(at, at += 1 + (seed % 5000));
  }
};
"""
RESAMPLE = (
    LOAD
    + """
import { HIGH_PASS, HighPass, Resampler } from "./ui/browser/samples.js";
for (const { name, rate, highPass } of given.cases) {
  const sound = floats(name);
  for (const [ending, parts] of [["whole", [sound]], ["cut", [...pieces(sound)]]]) {
    const resampler = new Resampler(rate, { highPass });
    save(`${name}.${ending}`, [...parts.map((part) => resampler.push(part)), resampler.finish()]);
  }
}
const filter = new HighPass();
save("filtered", [...pieces(floats("noise"))].map((part) => filter.push(part)));
const counts = given.rates.map((rate) => given.lengths.map((length) => {
  const resampler = new Resampler(rate);
  return resampler.push(new Float32Array(length)).length + resampler.finish().length;
}));
const refusals = given.refused.map((rate) => {
  try { new Resampler(rate); } catch (error) { return error.message; }
});
const whole = floats("speed");
const began = performance.now();
const resampler = new Resampler(48_000);
for (let at = 0; at < whole.length; at += 9600) resampler.push(whole.subarray(at, at + 9600));
done({ sections: HIGH_PASS, counts, refusals, ms: performance.now() - began });
"""
)
READ = (
    LOAD
    + """
import { LevelMeter, chunkPowers, snrDb, warnings } from "./ui/browser/quality.js";
import { readRecording } from "./ui/browser/recording.js";
import { SpeechSession, speechDurationS, speechShare } from "./ui/browser/vad.js";
const CUT = 100_000;
const detector = await loadDetector();
const answers = [];
for (const { name, rate, count } of given.recordings) {
  const values = floats(name);
  const channels = Array.from({ length: count }, (_, c) => values.filter((_value, i) => i % count === c));
  try {
    const recording = await readRecording({ name, rate, channels }, detector);
    const probabilities = await detector.probabilities(recording.samples);
    save(`${name}.read`, [recording.samples]);
    save(`${name}.speech`, [probabilities]);
    const session = new SpeechSession(detector);
    const cut = [];
    const part = recording.samples.subarray(0, given.cut.includes(name) ? CUT : 100);
    for (const piece of pieces(part)) cut.push(...await session.push(piece));
    cut.push(...await session.finish());
    const differences = cut.slice(0, -1).map((value, i) => Math.abs(value - probabilities[i]));
    answers.push({ clipped: recording.clipped, warnings: warnings(recording, probabilities),
      speech_s: speechDurationS(probabilities), share: speechShare(probabilities, 1000, 30_000),
      difference: Math.max(0, ...differences), n: cut.length,
      snr: snrDb(chunkPowers(recording.samples), probabilities), duration_s: recording.durationS });
  } catch (error) {
    answers.push({ refusal: error.message });
  }
}
const meter = new LevelMeter();
const levels = given.levels.map(({ name, clipped, seconds }) => {
  meter.update(floats(name), clipped, seconds);
  return [meter.power, meter.peak, meter.clipped, meter.levelDbfs];
});
const samples = floats(given.long);
const chunks = Float32Array.from(chunkPowers(samples), (_value, i) => (i % 3 ? 0.9 : 0.1));
const recording = { samples, durationS: samples.length / 16_000, clipped: 0.25, sourceRate: 8000, notes: ["A note."] };
done({ answers, levels, long: warnings(recording, chunks) });
"""
)
CONSTANTS = """
const found = {};
for (const name of ["samples", "vad", "quality", "channels"]) {
  const module = await import(`./ui/browser/${name}.js`);
  found[name] = Object.fromEntries(Object.entries(module).filter(([, value]) => typeof value === "number"));
}
done(found);
"""


@pytest.fixture(scope="module")
def speech() -> Frames:
    """Six seconds of real speech, at 16 kHz."""
    if found := real_clips()[:3]:
        sound = np.concatenate([waveform.decode(path).samples for path in found])
        return np.resize(sound, 6 * SAMPLE_RATE)
    sound = np.concatenate([clip.samples for clip in speech_samples(3)])
    return np.resize(sound, 6 * SAMPLE_RATE)


def save(folder: Path, name: str, values: NDArray[Any]) -> None:
    (folder / name).write_bytes(np.ascontiguousarray(values, "<f4").tobytes())


def read(folder: Path, name: str) -> Frames:
    return np.frombuffer((folder / name).read_bytes(), "<f4")


@pytest.mark.slow
def test_constants_are_those_of_python(tmp_path: Path) -> None:
    found = run_module(tmp_path, CONSTANTS)
    n_compared = 0
    for module in (samples, vad, quality, channels):
        for name, value in found[module.__name__.rpartition(".")[2]].items():
            assert getattr(module, name) == pytest.approx(value, rel=1e-7), name
            n_compared += 1
    assert n_compared >= 32


@pytest.mark.slow
def test_resampling_is_that_of_soxr(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = rng.uniform(-1, 1, SAMPLE_RATE).astype(np.float32)
    save(tmp_path, "noise", noise)
    save(tmp_path, "speed", rng.uniform(-1, 1, 20 * 48_000))
    cases = []
    for rate in (*RATES, *MORE_RATES, *ODD_RATES):
        for high_pass in (True, False):
            name = f"{rate}-{high_pass}"
            save(tmp_path, name, rng.uniform(-1, 1, rate // 2 + 7))
            cases.append({"name": name, "rate": rate, "highPass": high_pass})
    rates, refused = [*RATES, *MORE_RATES, *ODD_RATES], [3_999, 384_001]
    given = {"cases": cases, "rates": rates, "lengths": LENGTHS, "refused": refused}
    answer = run_module(tmp_path, RESAMPLE, given)

    for case in cases:
        rate, name = case["rate"], case["name"]
        resampler = Resampler(rate, high_pass=case["highPass"])
        wanted = np.concatenate([resampler.push(read(tmp_path, name)), resampler.finish()])
        whole, cut = read(tmp_path, f"{name}.whole"), read(tmp_path, f"{name}.cut")
        assert np.array_equal(whole, cut), name
        assert len(whole) == len(wanted), name
        assert np.abs(whole - wanted).max() < (2e-5 if rate in ODD_RATES else 1e-6), name
    counts = []
    for rate in rates:
        made = [Resampler(rate) for _ in LENGTHS]
        counts.append(
            [
                len(each.push(np.zeros(n, np.float32))) + len(each.finish())
                for each, n in zip(made, LENGTHS, strict=True)
            ]
        )
    assert answer["counts"] == counts

    sections = signal.butter(
        samples.HIGH_PASS_ORDER, samples.HIGH_PASS_HZ, "highpass", fs=SAMPLE_RATE, output="sos"
    )
    assert np.abs(np.insert(answer["sections"], 3, 1, axis=1) - sections).max() < 1e-15
    wanted = samples.HighPass().push(noise)
    assert np.abs(read(tmp_path, "filtered") - wanted).max() < 1e-7
    for rate, sentence in zip(refused, answer["refusals"], strict=True):
        with pytest.raises(AudioError) as raised:
            Resampler(rate)
        assert sentence == str(raised.value)
    assert answer["ms"] < 2_000  # 20 s of sound, on a machine that does other work too


def recordings(speech: Frames) -> dict[str, tuple[Frames, int]]:
    """Recordings, (N,) or (N, C), by name, with their rates; every kind of note and warning."""
    rng = np.random.default_rng(1)
    noise = rng.standard_normal(len(speech)).astype(np.float32)
    voice, silence = bad_audio.voice(4.0), np.zeros_like(speech)
    later = np.concatenate([np.zeros(800, np.float32), speech[:-800]])
    other = np.roll(speech[::-1], 5000)
    columns = {
        "equal": (speech, speech),
        "two-voices": (speech, other),
        "opposed": (speech, -0.9 * speech),
        "later": (speech, 0.8 * later),
        "earlier": (later, speech),
        "one-silent": (speech, silence),
        "one-noisy": (speech, 0.02 * noise),
        "no-voice": (0.1 * noise, silence),
        "nothing": (silence, 1e-9 * noise),
        "six": (silence, silence, speech, silence, silence, silence),
        "nine": (*[0.5 * speech] * 4, -speech, *[1e-3 * noise] * 3, speech),
        "quiet-voice": (speech, 0.001 * other + 1e-4 * noise),
    }
    found = {name: (np.stack(parts, 1), SAMPLE_RATE) for name, parts in columns.items()}
    found["stereo-48"] = (np.repeat(np.stack([speech, -speech], 1), 3, axis=0), 48_000)
    found |= {
        "speech": (speech, SAMPLE_RATE),
        "silent": (silence, SAMPLE_RATE),
        "hiss": (noise * 1e-4, SAMPLE_RATE),
        "one-sample": (speech[20_000:20_001] + 0.1, SAMPLE_RATE),
        "short": (voice[16_000:24_000], SAMPLE_RATE),
        "one-word": (
            np.concatenate([silence[:16_000], voice[16_000:18_800], silence[:16_000]]),
            SAMPLE_RATE,
        ),
        "clipped": (np.clip(voice * 20, -1, 1), SAMPLE_RATE),
        "quiet": (voice * 0.003, SAMPLE_RATE),
        "noisy": (voice + noise[: len(voice)] * float(voice.std()), SAMPLE_RATE),
        "noise": (noise * 0.1, SAMPLE_RATE),
        "tone": (bad_audio.sine(3.0), SAMPLE_RATE),
        "telephone": (bad_audio.voice(4.0, rate=8_000), 8_000),
        "music": (bad_audio.voice(3.0, rate=44_100), 44_100),
        "bad-telephone": (np.clip(bad_audio.voice(4.0, rate=6_000) * 20, -1, 1), 6_000),
        "empty": (speech[:0], SAMPLE_RATE),
        "nan": (np.where(np.arange(len(voice)) == 99, np.nan, voice), SAMPLE_RATE),
        "infinite": (np.where(np.arange(len(voice)) == 99, np.inf, voice), SAMPLE_RATE),
        "integers": (voice * 32_767, SAMPLE_RATE),
        "1-khz": (voice, 1_000),
        "500-khz": (np.stack([voice, voice], 1), 500_000),
    }
    return found


def refused_or_read(values: Frames, rate: int, name: str) -> waveform.Clip | str:
    """The clip that Python makes of samples, or its sentence."""
    try:
        return waveform.from_array(values, rate, name)
    except AudioError as refusal:
        return str(refusal)


@pytest.mark.slow
def test_recordings_are_read_as_in_python(tmp_path: Path, speech: Frames) -> None:
    named = recordings(speech)
    levels = [{"name": f"level-{i}", "clipped": 0.01 * i, "seconds": 0.1 * i} for i in range(1, 6)]
    for name, (values, _) in named.items():
        save(tmp_path, name, values)
    for i, level in enumerate(levels):
        save(tmp_path, level["name"], speech[i * 3000 : i * 3000 + 1800 * i])
    network = next(iter(files.contents()[files.DETECTOR]))
    given = {
        "network": str(network),
        "recordings": [
            {
                "name": name,
                "rate": rate,
                "count": values.reshape(len(values), -1).shape[1] if len(values) else 1,
            }
            for name, (values, rate) in named.items()
        ],
        "levels": levels,
        "cut": CUT,
        "long": "long",
    }
    long = np.resize(speech, 601 * SAMPLE_RATE)
    save(tmp_path, "long", long)
    found = run_module(tmp_path, READ, given, timeout_s=300)

    detector, seen = vad.SpeechDetector(), set()
    for (name, (values, rate)), answer in zip(named.items(), found["answers"], strict=True):
        clip = refused_or_read(values, rate, name)
        if isinstance(clip, str):
            assert answer == {"refusal": clip}
            seen.add("refusal")
            continue
        probabilities = detector.probabilities(clip.samples)
        wanted = quality.warnings(clip, probabilities)
        assert answer.get("refusal") is None, answer
        assert tuple(answer["warnings"]) == wanted, name
        seen.update(" ".join(sentence.split()[:6]) for sentence in wanted)
        found_samples = read(tmp_path, f"{name}.read")
        assert np.abs(found_samples - clip.samples).max() < 1e-6, name
        found_speech = read(tmp_path, f"{name}.speech")
        assert len(found_speech) == len(probabilities)
        if name in CUT:
            assert answer["n"] == min(len(probabilities), math.ceil(100_000 / vad.CHUNK))
        same_sound = detector.probabilities(found_samples)
        assert np.abs(found_speech - same_sound).max() < 1e-5, name
        # In digital silence the network hears what the resamplers' rounding leaves.
        assert np.abs(found_speech - probabilities).max() < 1e-3, name
        assert answer["difference"] < 1e-5, name
        assert answer["clipped"] == pytest.approx(clip.clipped)
        assert answer["duration_s"] == clip.duration_s
        assert answer["speech_s"] == pytest.approx(vad.speech_duration_s(probabilities))
        assert answer["share"] == vad.speech_share(probabilities, 1000, 30_000)
        meter = quality.PowerMeter()
        meter.push(clip.samples)
        assert answer["snr"] == pytest.approx(quality.snr_db(meter.power, probabilities), abs=1e-2)
    assert len(seen) >= 13, seen

    meter = quality.PowerMeter()
    meter.push(long)
    probabilities = np.where(np.arange(len(meter.power)) % 3, 0.9, 0.1).astype(np.float32)
    recording = waveform.Clip(long, "long", 8_000, 1, 0.25, ("A note.",))
    wanted = quality.long_warnings(recording, meter, probabilities)
    assert tuple(found["long"]) == wanted
    assert "10 minutes long" in wanted[-1]

    meter = quality.LevelMeter()
    for level, measured in zip(levels, found["levels"], strict=True):
        meter.update(read(tmp_path, level["name"]), level["clipped"], level["seconds"])
        wanted = [meter.power, meter.peak, meter.clipped, meter.level_dbfs]
        assert measured == pytest.approx(wanted, rel=1e-5)
