/* Down-mixing: which channels of a recording hold the voice, and whether they may be added.

   The mean of all channels is silent where one is the other's negative, and mostly noise where one holds
   noise. So the channels that hold a voice are averaged: found by speech probability and level, those that
   hold the same voice out of phase or later left out. Two voices on two channels both count.

   Frames are a list of channels, each a Float32Array. */
import { addCrossSpectrum, fft } from "./fft.js";
import { decibels, powerOf } from "./quality.js";
import { fixed, round } from "./rounding.js";
import { Resampler, SAMPLE_RATE, concat } from "./samples.js";
import { CHUNK, SpeechSession } from "./vad.js";

export const EQUAL = 1e-4; // energy of the difference between channels, relative to theirs, that is no difference
export const SPEECH = 0.5; // probability; clear speech tells voice from music and noise
export const MIN_SPEECH_S = 0.3;
export const SPEECH_SHARE = 0.1; // of the speech of the channel with most, for a channel to count
export const VOICE_DB = -30; // below the loudest channel, and full scale
export const SOUND_DB = -40;
export const SILENT_DB = -70;

export const SEGMENT = 4 * SAMPLE_RATE; // samples that are compared for phase and delay at once
export const N_SEGMENTS = 8;
export const MAX_LAG = Math.floor(SAMPLE_RATE / 3);
export const ALIKE_DB = 3;
export const IN_PHASE = 8; // samples (0.5 ms)
export const OPPOSED = -0.2; // correlation
export const RELATED = 0.5;

const ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"];
const PART = SEGMENT / 4;

const map = (n, make) => Array.from({ length: n }, (_, i) => make(i));
const sum = (values) => values.reduce((total, value) => total + value, 0);
const most = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);

/* The frames `from` to `to`, without `to`. */
const cut = (frames, from, to) => frames.map((channel) => channel.subarray(from, to));
const joined = (blocks) => blocks[0].map((_, c) => concat(blocks.map((block) => block[c])));

/* Weights of the channels in the down-mix; null for their plain mean. `note` says why. */
export class Mix {
  constructor(weights = null, note = null) {
    Object.assign(this, { weights, note });
  }

  /* Down-mixes frames to mono. */
  apply(frames) {
    if (frames.length === 1) return frames[0];
    const weights = this.weights ?? map(frames.length, () => 1);
    const divisor = this.weights ? 1 : frames.length;
    const mono = new Float64Array(frames[0].length);
    frames.forEach((channel, c) => {
      if (!weights[c]) return;
      for (let i = 0; i < mono.length; i += 1) mono[i] += weights[c] * channel[i];
    });
    const result = new Float32Array(mono.length);
    for (let i = 0; i < mono.length; i += 1) result[i] = mono[i] / divisor;
    return result;
  }
}

/* Speech, level and phase of the channels of a sound that arrives in pieces, in bounded memory. Nothing is
   measured until the channels first differ: that many files hold one sound twice costs nothing. Wait for
   one call before the next. */
export class ChannelAnalysis {
  constructor(rate, channels, detector) {
    Object.assign(this, { rate, channels, detector });
    this.resamplers = [];
    this.sessions = [];
    this.powers = []; // of each 32 ms, by channel
    this.speech = [];
    this.rest = null;
    this.segment = [];
    this.segmentScore = this.segmentLength = 0;
    this.nMeasured = 0;
    this.best = []; // segments
  }

  /* Whether the channels are not equal so far. */
  get differs() {
    return this.resamplers.length > 0;
  }

  /* Measures the next frames. */
  async push(frames) {
    if (!this.differs) {
      if (areEqual(frames)) return;
      this.resamplers = map(this.channels, () => new Resampler(this.rate));
      this.sessions = map(this.channels, () => new SpeechSession(this.detector));
      this.rest = map(this.channels, () => new Float32Array(0));
    }
    const sound = joined([this.rest, frames.map((channel, c) => this.resamplers[c].push(channel))]);
    const whole = sound[0].length - (sound[0].length % CHUNK);
    this.rest = sound.map((channel) => channel.slice(whole));
    if (whole) await this.measure(cut(sound, 0, whole));
  }

  /* The mix of the channels by all that was measured. */
  decide() {
    if (!this.powers.length) return new Mix();
    const seconds = this.seconds();
    const level = map(this.channels, (c) => decibels(sum(this.powers.map((row) => row[c])) / this.powers.length));
    const loudest = most(level);
    if (loudest < SILENT_DB) return new Mix();
    const longest = most(seconds);
    const isVoice = longest >= MIN_SPEECH_S;
    const loudness = isVoice ? map(this.channels, (c) => this.voiceDb(c)) : level;
    const least = most(loudness) + (isVoice ? VOICE_DB : SOUND_DB);
    const leastS = isVoice ? Math.max(MIN_SPEECH_S, SPEECH_SHARE * longest) : 0;
    const holds = map(this.channels, (c) => loudness[c] >= least && seconds[c] >= leastS);
    const rank = (c) => [isVoice && seconds[c] < 0.9 * longest ? 1 : 0, round(-loudness[c] / ALIKE_DB)];
    const order = [...holds.keys()].sort((a, b) => rank(a)[0] - rank(b)[0] || rank(a)[1] - rank(b)[1]);
    const reference = order.find((c) => holds[c]);
    const reasons = map(this.channels, (c) => {
      if (c === reference) return "";
      if (holds[c]) return this.conflict(reference, c);
      return level[c] < Math.max(SILENT_DB, loudest - 60) ? "is silent" : "holds no voice";
    });
    const nUsed = reasons.filter((reason) => !reason).length;
    if (nUsed === this.channels) return new Mix();
    return new Mix(reasons.map((reason) => (reason ? 0 : Math.fround(1 / nUsed))), describe(reasons));
  }

  /* Adds whole chunks at 16 kHz. */
  async measure(sound) {
    const length = sound[0].length;
    const speech = [];
    for (const [c, channel] of sound.entries()) speech.push(await this.sessions[c].push(channel));
    for (let at = 0; at < length; at += CHUNK) {
      this.powers.push(sound.map((channel) => powerOf(channel.subarray(at, at + CHUNK))));
      this.speech.push(speech.map((probabilities) => probabilities[at / CHUNK]));
    }
    this.nMeasured += 1;
    for (let first = 0; first < length; first += PART) {
      const last = Math.min(first + PART, length);
      const part = cut(sound, first, last);
      this.segment.push(part);
      this.segmentLength += last - first;
      const rows = speech.map((all) => sum(all.subarray(Math.floor(first / CHUNK), Math.floor(last / CHUNK))));
      const loudness = part.map((channel) => channel.reduce((total, value) => total + Math.abs(value), 0));
      this.segmentScore += sum(rows) + 1e-3 * sum(loudness);
      if (this.segmentLength >= SEGMENT) this.keepSegment();
    }
  }

  /* Takes the segment that is complete among the best. */
  keepSegment() {
    this.best.push({ score: this.segmentScore, age: this.nMeasured, frames: joined(this.segment) });
    this.best.sort((a, b) => b.score - a.score || a.age - b.age);
    this.best.length = Math.min(this.best.length, N_SEGMENTS);
    this.segment = [];
    this.segmentScore = this.segmentLength = 0;
  }

  /* Seconds of clear speech of each channel. */
  seconds() {
    return map(this.channels, (c) =>
      (this.speech.filter((row) => row[c] >= SPEECH).length * CHUNK) / SAMPLE_RATE);
  }

  /* Level of a channel while its speech is clear. */
  voiceDb(c) {
    const spoken = this.powers.filter((_, i) => this.speech[i][c] >= SPEECH);
    return decibels(sum(spoken.map((row) => row[c])) / Math.max(1, spoken.length));
  }

  /* Why a channel may not be added to the reference; "" where it may. */
  conflict(reference, other) {
    const segments = this.best.map(({ frames }) => frames);
    if (this.segment.length) segments.push(joined(this.segment));
    const correlation = correlate(segments.map((frames) => [frames[reference], frames[other]]));
    if (!correlation) return "";
    const strongestOf = (lags) => {
      let best = -lags;
      for (let lag = -lags; lag <= lags; lag += 1) {
        if (Math.abs(correlation(lag)) > Math.abs(correlation(best))) best = lag;
      }
      return best;
    };
    const lag = strongestOf(MAX_LAG);
    const strongest = correlation(lag);
    if (correlation(strongestOf(IN_PHASE)) < OPPOSED && strongest < 0) {
      return "is the same sound out of phase";
    }
    if (Math.abs(strongest) >= RELATED && Math.abs(lag) > IN_PHASE) {
      const ms = fixed((Math.abs(lag) / SAMPLE_RATE) * 1000);
      return `is the same sound ${ms} ms ${lag > 0 ? "later" : "earlier"}`;
    }
    return "";
  }
}

const areEqual = ([first, ...others]) => {
  let energy = 0;
  let difference = 0;
  for (let i = 0; i < first.length; i += 1) {
    energy += first[i] ** 2;
    for (const other of others) {
      energy += other[i] ** 2;
      difference += (other[i] - first[i]) ** 2;
    }
  }
  return difference <= EQUAL * energy;
};

/* The correlation of pairs of signals, all together, as a function of the lag of the second in samples,
   up to MAX_LAG; null where one is silent. */
const correlate = (pairs) => {
  const longest = most(pairs.map(([a]) => a.length));
  const size = 2 ** (Math.floor(Math.log2(longest + MAX_LAG)) + 1);
  const re = new Float64Array(size);
  const im = new Float64Array(size);
  const energies = [0, 0];
  for (const pair of pairs) {
    const [a, b] = pair.map((signal, i) => {
      const padded = new Float64Array(size);
      padded.set(signal);
      energies[i] += powerOf(signal) * signal.length;
      return padded;
    });
    addCrossSpectrum(a, b, re, im);
  }
  const scale = Math.sqrt(energies[0] * energies[1]);
  if (!scale) return null;
  fft(re, im, true);
  return (lag) => re[(lag + size) % size] / size / scale;
};

/* "first" for 0, up to "eighth"; then "number 9". */
const ordinal = (number) => ORDINALS[number] ?? `number ${number + 1}`;

/* A sentence about the channels that are used and those that are not, each for its reason. */
const describe = (reasons) => {
  const used = [...reasons.keys()].filter((c) => !reasons[c]).map(ordinal);
  const given = [...reasons.keys()].filter((c) => reasons[c]);
  const distinct = new Set(given.map((c) => reasons[c]));
  let left = given.map((c) => `the ${ordinal(c)} ${reasons[c]}`);
  if (left.length > 1 && distinct.size === 1) {
    const [reason] = distinct;
    left = [`the others ${reason.replaceAll("is ", "are ").replaceAll("holds ", "hold ")}`];
  }
  const verb = used.length === 1 ? "is" : "are";
  return `Of the ${reasons.length} channels the ${listed(used)} ${verb} used: ${listed(left)}.`;
};

const listed = (words) =>
  words.length > 1 ? `${words.slice(0, -1).join(", ")} and ${words.at(-1)}` : words[0];
