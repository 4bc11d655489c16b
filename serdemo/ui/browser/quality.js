/* Signal quality of a recording: level, clipping, signal-to-noise ratio, and warnings about them. */
import { fixed } from "./rounding.js";
import { SAMPLE_RATE } from "./samples.js";
import { CHUNK, PAUSE_THRESHOLD, VAD_THRESHOLD, speechDurationS } from "./vad.js";

export const SILENT_DBFS = -70;
export const QUIET_DBFS = -50;
export const CLIPPED_SHARE = 0.005;
export const NOISY_DB = 6;
export const NO_SPEECH_S = 0.1;
export const SHORT_SPEECH_S = 0.3;
export const SHORT_CLIP_S = 1;
export const LONG_CLIP_S = 600;
export const TELEPHONE_RATE = 8_000;
export const MAX_WARNINGS = 3;
export const MIN_CHUNKS = 5; // of speech and of pauses, for an estimate of the SNR

// Time constants of `LevelMeter`.
export const LEVEL_S = 0.3;
export const CLIPPING_S = 3;

export const decibels = (power) => 10 * Math.log10(Math.max(power, 1e-12));

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/* Mean square of samples. */
export const powerOf = (samples) => {
  let sum = 0;
  for (let i = 0; i < samples.length; i += 1) sum += samples[i] * samples[i];
  return sum / samples.length;
};

/* Exponentially decaying level statistics of a sound that arrives in pieces: `power` is the mean square,
   `peak` the largest absolute value, `clipped` the share in [0, 1] of values at full scale. */
export class LevelMeter {
  constructor() {
    this.power = this.peak = this.clipped = 0;
  }

  /* Adds samples at 16 kHz that came in with so many `seconds` of the source, which may be a little more
     or less; `clipped` is the share of those at full scale. */
  update(sound, clipped, seconds) {
    const fade = Math.exp(-seconds / LEVEL_S);
    const slow = Math.exp(-seconds / CLIPPING_S);
    this.peak *= fade;
    if (sound.length) {
      const recent = sound.subarray(Math.max(0, sound.length - LEVEL_S * SAMPLE_RATE));
      this.power = fade * this.power + (1 - fade) * powerOf(recent);
      for (const value of recent) this.peak = Math.max(this.peak, Math.abs(value));
    }
    this.clipped = slow * this.clipped + (1 - slow) * clipped;
  }

  /* RMS level in dB relative to full scale (a square wave at 1), -120 for digital silence. */
  get levelDbfs() {
    return decibels(this.power);
  }
}

/* Mean square of each 32 ms of samples at 16 kHz, the last of them incomplete. */
export const chunkPowers = (samples) => Array.from({ length: Math.ceil(samples.length / CHUNK) },
  (_, i) => powerOf(samples.subarray(i * CHUNK, (i + 1) * CHUNK)));

/* The value below which a share in [0, 1] of the values lies, between two of them in proportion. */
const quantile = (values, share) => {
  const sorted = Float64Array.from(values).sort();
  const place = share * (sorted.length - 1);
  const below = Math.floor(place);
  const next = sorted[Math.min(below + 1, sorted.length - 1)];
  return sorted[below] + (place - below) * (next - sorted[below]);
};

/* Signal-to-noise ratio in dB, from the power of speech and of pauses, each of 32 ms; null with too little
   speech or pauses. The noise is estimated from the quieter pauses, as others may hold speech that the
   detector missed. */
export const snrDb = (power, probabilities) => {
  const speech = power.filter((_, i) => probabilities[i] >= VAD_THRESHOLD);
  const pauses = power.filter((_, i) => probabilities[i] < PAUSE_THRESHOLD);
  if (Math.min(speech.length, pauses.length) < MIN_CHUNKS) return null;
  const noise = quantile(pauses, 0.2);
  return decibels(mean(speech) - noise) - decibels(noise);
};

/* The recording's notes, then at most three sentences about faults and remedies, worst first; none for a
   good recording. `recording` is that of `readRecording`, `probabilities` are those of its samples. */
export const warnings = (recording, probabilities) =>
  [...recording.notes, ...sentences(recording, probabilities).slice(0, MAX_WARNINGS)];

const tooShort = (seconds) =>
  `The recording is only ${fixed(seconds, 1)} s long: give a whole spoken sentence.`;

const sentences = ({ samples, durationS, sourceRate, clipped }, probabilities) => {
  const power = chunkPowers(samples);
  if (durationS < NO_SPEECH_S) return [tooShort(durationS)];
  if (decibels(power.reduce((most, value) => Math.max(most, value), 0)) < SILENT_DBFS) {
    return ["The recording is silent: check that the microphone is on and not muted, then record again."];
  }
  const found = [];
  const speech = speechDurationS(probabilities);
  if (speech < NO_SPEECH_S) {
    found.push("No speech was found: record closer to the microphone, or choose a clip with a voice.");
  }
  if (durationS < SHORT_CLIP_S) {
    found.push(tooShort(durationS));
  } else if (speech >= NO_SPEECH_S && speech < SHORT_SPEECH_S) {
    found.push(`Only ${fixed(speech, 1)} s of clear speech was found: give a whole spoken sentence.`);
  }
  if (clipped > CLIPPED_SHARE) {
    found.push(`The recording is clipped (${fixed(100 * clipped, 1)}% of it is at full scale): `
      + "turn the microphone down or move away from it.");
  }
  const voiced = speech >= NO_SPEECH_S
    ? power.filter((_, i) => probabilities[i] >= VAD_THRESHOLD) : power;
  const level = decibels(mean(voiced));
  if (level < QUIET_DBFS) {
    found.push(`The recording is very quiet (${fixed(level)} dBFS): `
      + "turn the microphone up or move closer to it.");
  }
  const snr = snrDb(power, probabilities);
  if (snr !== null && snr < NOISY_DB) {
    found.push("The background is nearly as loud as the voice: "
      + "record in a quieter place or closer to the microphone.");
  }
  if (sourceRate <= TELEPHONE_RATE) {
    found.push(`The recording has telephone quality (${Number((sourceRate / 1000).toPrecision(6))} kHz), `
      + "which makes the answer less sure: use one at 16 kHz or more if you can.");
  }
  if (durationS > LONG_CLIP_S) {
    found.push(`The recording is ${fixed(durationS / 60)} minutes long and one answer averages `
      + "over all of it: look at how the emotion changes over time instead.");
  }
  return found;
};
