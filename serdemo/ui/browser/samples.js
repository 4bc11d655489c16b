/* Arrays of samples: checks, conversion to float, the high-pass filter and resampling to 16 kHz. */
import { SerdemoError } from "./errors.js";
import { OUTPUT_RATE, RateConverter } from "./resampling.js";

export const SAMPLE_RATE = OUTPUT_RATE;
export const MIN_RATE = 4_000;
export const MAX_RATE = 384_000;
export const FULL_SCALE = Math.fround(0.999);
export const MAX_PEAK = 64; // times full scale; what goes beyond is no sound in floats

// Butterworth, order 4, 80 Hz at 16 kHz: b0 b1 b2 a1 a2 of each section.
export const HIGH_PASS = [
  [0.9597822300872386, -1.9195644601744772, 0.9597822300872386, -1.9426382305401135, 0.9435972784703671],
  [1, -2, 1, -1.975269634851873, 0.9762447923594398],
];

/* A recording that cannot be used, for the reason in `predicate` ("is empty: record it again"). */
export class AudioError extends SerdemoError {
  constructor(predicate, subject = "The sound") {
    super(`${subject} ${predicate}`);
    Object.assign(this, { predicate, subject });
  }
}

/* Streaming high-pass filter of mono sound at 16 kHz, at rest before its first sample. */
export class HighPass {
  constructor() {
    this.states = HIGH_PASS.map(() => new Float64Array(2));
  }

  push(samples) {
    const sound = new Float64Array(samples);
    HIGH_PASS.forEach(([b0, b1, b2, a1, a2], section) => {
      let [z0, z1] = this.states[section];
      for (let i = 0; i < sound.length; i += 1) {
        const x = sound[i];
        const y = b0 * x + z0;
        z0 = b1 * x - a1 * y + z1;
        z1 = b2 * x - a2 * y;
        sound[i] = y;
      }
      this.states[section].set([z0, z1]);
    });
    return new Float32Array(sound);
  }
}

/* Streaming conversion of mono samples at `rate` Hz to 16 kHz, without what lies below a voice.

   A constant offset is taken off from the first sample on; without `highPass` all stays. The output of
   all `push` calls and of `finish`, joined, does not depend on how the input was cut. Throws AudioError
   for a rate outside 4 to 384 kHz. */
export class Resampler {
  constructor(rate, { highPass = true } = {}) {
    if (!(rate >= MIN_RATE && rate <= MAX_RATE)) {
      throw new AudioError(`has a sample rate of ${rate} Hz: convert it to one between ${MIN_RATE / 1000} and ${MAX_RATE / 1000} kHz.`);
    }
    this.converter = rate === SAMPLE_RATE ? null : new RateConverter(rate);
    this.filter = highPass ? new HighPass() : null;
    this.first = null;
  }

  push(samples) {
    if (!samples.length) return new Float32Array(0);
    let sound = samples;
    if (this.filter) {
      this.first ??= samples[0]; // the sound begins at rest, whatever its offset
      sound = new Float32Array(samples.length);
      for (let i = 0; i < sound.length; i += 1) sound[i] = samples[i] - this.first;
    }
    return this.filtered(this.converter ? this.converter.push(sound) : sound);
  }

  /* The remaining samples; call once, after the last `push`. */
  finish() {
    return this.filtered(this.converter ? this.converter.finish() : new Float32Array(0));
  }

  filtered(sound) {
    return this.filter ? this.filter.push(sound) : sound;
  }
}

/* 16-bit samples as floats in [-1, 1). */
export const fromInt16 = (samples) => {
  const frames = new Float32Array(samples.length);
  for (let i = 0; i < frames.length; i += 1) frames[i] = samples[i] / 32_768;
  return frames;
};

/* Samples of one channel, 16-bit or floats, as `frames` in floats, and how many of them are `clipped`.
   Throws AudioError for values that are no numbers or far beyond full scale. */
export const toFrames = (samples) => {
  const frames = samples instanceof Int16Array ? fromInt16(samples) : samples;
  let peak = 0;
  let clipped = 0;
  for (let i = 0; i < frames.length; i += 1) {
    const size = Math.abs(frames[i]);
    if (!(size <= peak)) peak = size; // NaN stays
    if (size >= FULL_SCALE) clipped += 1;
    if (size !== size) break;
  }
  if (!Number.isFinite(peak)) {
    throw new AudioError("holds samples that are not numbers: export it again.");
  }
  if (peak > MAX_PEAK) {
    throw new AudioError(`holds samples ${peak.toFixed(0)} times beyond full scale: export it again as 16-bit WAV or as floats between -1 and 1.`);
  }
  return { frames, clipped };
};

/* Arrays of samples as one. */
export const concat = (parts) => {
  const joined = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
};
