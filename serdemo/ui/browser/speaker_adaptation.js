/* Adaptation to a speaker: an estimate of the voice's offset is subtracted from its embeddings. The estimate
   rests on sums of the voice's embeddings, never on sound. */
import { SerdemoError } from "./errors.js";
import { roundValues } from "./novelty.js";
import { fixed, round } from "./rounding.js";
import { SAMPLE_RATE } from "./samples.js";
import { CLIP_S, LABELLED_TRUST, dot, requirePrior } from "./speaker_prior.js";
import { WINDOW_S } from "./stream.js";
import { SpeechSession, speechDurationS, speechShare } from "./vad.js";

export const MIN_SPEECH_S = 2; // of a calibration: less helps nobody
export const GOOD_SPEECH_S = 4;
export const NEUTRAL = ["neutral", "calm"];
export const MAX_VALUE = 1e12; // of a number in a saved state

/* Running estimate of one speaker's offset.

   Its sums are seconds of speech, `clips` and `mean` of its speech of unknown emotion with the `scatter`
   along the discriminants, and the mean `deviation` from the emotions' means of `labelled` clips. */
export class SpeakerAdapter {
  constructor(prior) {
    this.prior = prior;
    this.reset();
  }

  /* Forgets the speaker. */
  reset() {
    const size = this.prior.mean.length;
    this.speechS = this.clips = this.labelled = 0;
    this.mean = new Float64Array(size);
    this.scatter = new Float64Array(this.prior.discriminants.length);
    this.deviation = new Float64Array(size);
  }

  /* Adds an embedding of `speechS` seconds of speech, of the emotion `label` if known. It counts as `clips`,
     by default one for 2.7 s. */
  update(embedding, speechS, { label, clips = speechS / CLIP_S } = {}) {
    if (!(speechS > 0)) return;
    if (label !== undefined) {
      const known = this.prior.meanOf(label);
      const total = this.labelled + clips;
      this.deviation = this.deviation.map(
        (value, i) => value + ((embedding[i] - known[i] - value) * clips) / total,
      );
      this.labelled = total;
    } else {
      const total = this.clips + clips;
      const change = this.mean.map((value, i) => embedding[i] - value);
      this.scatter = this.scatter.map((value, i) =>
        value + (dot(change, this.prior.discriminants[i]) ** 2 * clips * this.clips) / total);
      this.mean = this.mean.map((value, i) => value + (change[i] * clips) / total);
      this.clips = total;
    }
    this.speechS += speechS;
  }

  /* Share in [0, 1] of the voice's difference from others that is subtracted. */
  get trust() {
    return Math.max(...this.trusts());
  }

  /* Vector to subtract from the speaker's embeddings; null before any speech. */
  get offset() {
    if (!this.speechS) return null;
    const [labelled, unlabelled] = this.trusts();
    const sum = Math.max(1e-12, labelled + unlabelled);
    return Float32Array.from(this.mean, (mean, i) =>
      (labelled ** 2 * this.deviation[i] + unlabelled ** 2 * (mean - this.prior.mean[i])) / sum);
  }

  /* Trust in the speech of known emotion and in that of unknown emotion. */
  trusts() {
    const { clips, mean, scatter, labelled, prior } = this;
    const unlabelled = clips && prior.unlabelled ? prior.trust(clips, mean, scatter) : 0;
    return [LABELLED_TRUST * Math.min(1, labelled), unlabelled];
  }

  /* The estimate as a small table for a browser to hold. */
  toJson() {
    return {
      model: this.prior.fingerprint,
      counts: [this.speechS, this.clips, this.labelled].map((value) => round(value, 4)),
      mean: roundValues(this.mean),
      scatter: roundValues(this.scatter),
      deviation: this.labelled ? roundValues(this.deviation) : [],
    };
  }

  /* Inverse of `toJson`; throws SerdemoError for anything else, or of another model. */
  static fromJson(prior, values) {
    if (values?.model !== prior.fingerprint) {
      throw new SerdemoError("This voice was not learnt by this model: let it get used to you.");
    }
    const adapter = new SpeakerAdapter(prior);
    const positive = (value) => Math.max(0, value);
    const [speechS, clips, labelled] = readValues(values.counts, 3).map(positive);
    const mean = readValues(values.mean, adapter.mean.length);
    const scatter = readValues(values.scatter, adapter.scatter.length).map(positive);
    Object.assign(adapter, { speechS, clips, labelled, mean, scatter });
    if (labelled) adapter.deviation = readValues(values.deviation, mean.length);
    return adapter;
  }
}

/* Vector of `size` from untrusted JSON; throws SerdemoError for anything else. */
export const readValues = (values, size) => {
  const isNumber = (value) => typeof value === "number" && Math.abs(value) <= MAX_VALUE;
  if (Array.isArray(values) && values.length === size && values.every(isNumber)) {
    return Float64Array.from(values);
  }
  throw new SerdemoError("The saved voice is damaged: let the model get used to you again.");
};

/* Embeddings less an offset, or as they are without one. */
export const withoutOffset = (rows, offset) =>
  (offset ? rows.map((row) => row.map((value, i) => value - offset[i])) : rows);

/* Offset of the speaker of whole clips with such embeddings and seconds of speech; null without speech. */
export const estimateOffset = (prior, embeddings, speechS) => {
  const adapter = new SpeakerAdapter(prior);
  embeddings.forEach((row, i) => {
    adapter.update(row, speechS[i], { clips: Math.max(1, speechS[i] / CLIP_S) });
  });
  return adapter.offset;
};

/* Seconds of speech in a clip's windows, in order, where those that overlap count once. */
export const speechSeconds = (windows) => {
  let [seconds, stop] = [0, 0];
  for (const window of windows) {
    seconds += newSpeechS(window, stop);
    stop = Math.max(stop, window.stop);
  }
  return seconds;
};

/* Seconds of speech in the part of a window after sample `stop`. */
export const newSpeechS = (window, stop) =>
  (window.speechRatio * Math.max(0, window.stop - Math.max(window.start, stop))) / SAMPLE_RATE;

/* Windows [start, stop) over a clip of `length` samples, every second, the last aligned to the end. */
const windowsOf = (length, size) => {
  if (length <= size) return [[0, length]];
  const starts = [];
  for (let start = 0; start + size <= length; start += SAMPLE_RATE) starts.push(start);
  if (starts.at(-1) + size < length) starts.push(length - size);
  return starts.map((start) => [start, start + size]);
};

/* Mean of rows by weights. */
const weighted = (rows, weights) => {
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return Float64Array.from(rows[0], (_, i) =>
    rows.reduce((total, row, k) => total + weights[k] * row[i], 0) / sum);
};

/* A speaker's estimate from a few seconds of neutral speech at 16 kHz, as { adapter, warnings }, which say
   what may make it useless. Throws SerdemoError when the model has no mean of neutral speech, or there is
   less than 2 s of speech. */
export const estimateSpeakerOffset = async (predictor, samples) => {
  const adapter = new SpeakerAdapter(await requirePrior(predictor));
  const session = new SpeechSession(predictor.detector);
  const speech = Float32Array.from([...await session.push(samples), ...await session.finish()]);
  const speechS = speechDurationS(speech);
  const only = `Only ${fixed(speechS, 1)} s of speech were heard: `;
  if (speechS < MIN_SPEECH_S) {
    throw new SerdemoError(`${only}speak in your everyday voice for about 6 s.`);
  }
  const windows = windowsOf(samples.length, WINDOW_S * SAMPLE_RATE);
  const weights = windows.map(([start, stop]) => speechShare(speech, start, stop));
  const rows = await predictor.embeddings(windows.map(([start, stop]) => samples.subarray(start, stop)));
  adapter.update(weighted(rows, weights), speechS, { label: NEUTRAL[0] });
  const warnings = [];
  if (speechS < GOOD_SPEECH_S) {
    warnings.push(`${only}with less than ${GOOD_SPEECH_S} s this may not help.`);
  }
  const { stream } = await predictor.score(await predictor.embedClip(samples));
  const { label, unsure } = stream.result("");
  if (!NEUTRAL.includes(label) && !unsure) {
    warnings.push(
      `This sounds ${label} rather than neutral: if you were not speaking in your everyday voice, do it`
      + " once more.",
    );
  }
  return { adapter, warnings };
};
