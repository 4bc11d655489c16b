/* What is known of a speaker's embeddings before anything was heard: the ground of adaptation.

   The offset of a voice is its mean embedding less that of all speakers, both with every emotion. Of a few
   clips that difference is partly the emotions they happened to carry, so only the share `trust` of it is
   used. */
import { SerdemoError } from "./errors.js";

export const MAX_TRUST = 0.62;
export const TRUST_BIAS = -2.61;
export const TRUST_SPREAD = 5.38; // by the log of the spread within the emotions' directions
export const TRUST_NOVELTY = 8.71; // by the log of the distance outside these directions
export const TRUST_CLIPS = 1.14; // by the log of the number of clips
export const LABELLED_TRUST = 0.3; // in speech of a known emotion, from one clip on
export const CLIP_S = 2.7; // seconds of speech that count as one clip

export const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
export const norm = (vector) => Math.sqrt(dot(vector, vector));

/* Mean of rows in single precision, added up in their order. */
const meanOf = (rows) => {
  const sum = new Float32Array(rows[0].length);
  for (const row of rows) row.forEach((value, i) => { sum[i] += value; });
  return sum.map((value) => value / rows.length);
};

/* A vector less its parts along orthonormal `directions`. */
const outside = (vector, directions) => {
  let rest = Float64Array.from(vector);
  for (const direction of directions) {
    const part = dot(rest, direction);
    rest = rest.map((value, i) => value - part * direction[i]);
  }
  return rest;
};

/* Orthonormal basis of the differences of `rows` to their mean. */
const basisOf = (rows, mean) => {
  const differences = rows.map((row) => Float64Array.from(row, (value, i) => value - mean[i]));
  const longest = Math.max(1e-12, ...differences.map(norm));
  const directions = [];
  for (const difference of differences) {
    // Twice, which leaves nothing of the directions before it.
    const rest = outside(outside(difference, directions), directions);
    const length = norm(rest);
    if (length > 1e-6 * longest) directions.push(rest.map((value) => value / length));
  }
  return directions;
};

/* Hexadecimal digest that tells the model of such class means from others. */
const fingerprintOf = async (classMeans) => {
  const values = classMeans.flatMap((row) => [...row]);
  const bytes = new DataView(new ArrayBuffer(4 * values.length));
  values.forEach((value, i) => bytes.setFloat32(4 * i, value, true));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes.buffer));
  return [...digest.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
};

/* Means of the emotions over many speakers, and how speakers and emotions vary.

   `classMeans` are embeddings of the emotions `names`. `discriminants` are the directions that tell them
   apart, in which clips of one emotion and speaker have variance 1. `offsetScale` is the root mean square
   length of the speakers' offsets outside the span of the class means. A checkpoint with the mean of
   neutral speech alone has a prior that is not `unlabelled`: only speech of that emotion can be used.
   `fingerprint` is empty on a page without https, where the browser computes no digest. */
export class SpeakerPrior {
  constructor(names, classMeans, discriminants, offsetScale, fingerprint) {
    Object.assign(this, { names, classMeans, discriminants, offsetScale, fingerprint });
    this.mean = Float64Array.from(meanOf(classMeans));
    this.span = basisOf(classMeans, meanOf(classMeans));
  }

  /* The prior of a checkpoint, null where it has none. */
  static async of({ speaker_prior: prior, neutral }) {
    const known = Object.keys(prior || {}).length > 0;
    if (!known && !neutral?.length) return null;
    const means = known ? prior.class_means : { neutral };
    const rows = Object.values(means).map((row) => Float32Array.from(row));
    const directions = known ? prior.discriminants.map((row) => Float32Array.from(row)) : [];
    const scale = known ? prior.offset_scale : 1;
    const fingerprint = globalThis.crypto?.subtle ? await fingerprintOf(rows) : "";
    return new SpeakerPrior(Object.keys(means), rows, directions, scale, fingerprint);
  }

  /* Whether speech of unknown emotion can be used. */
  get unlabelled() {
    return this.discriminants.length > 0;
  }

  /* Mean embedding of an emotion. */
  meanOf(label) {
    if (!this.names.includes(label)) {
      throw new SerdemoError(`This model has no mean of ${label} speech: choose another model.`);
    }
    return this.classMeans[this.names.indexOf(label)];
  }

  /* Share in [0, 1] of the difference of a voice's `mean` to that of all speakers that is its offset.
     `clips` is the number of clips that the mean is of, `scatter` the sum of their squared deviations
     along the discriminants. */
  trust(clips, mean, scatter) {
    const difference = mean.map((value, i) => value - this.mean[i]);
    const scattered = scatter.reduce((sum, value) => sum + value, 0) / scatter.length;
    const spread = clips > 1 ? scattered / (clips - 1) : 0;
    const novelty = Math.max(1e-6, norm(outside(difference, this.span)) / this.offsetScale);
    const logit = TRUST_BIAS
      + TRUST_SPREAD * Math.log((spread + 0.3) / 1.7)
      + TRUST_NOVELTY * Math.log(novelty)
      + TRUST_CLIPS * Math.log(Math.max(clips, 1e-6) / 10);
    return MAX_TRUST / (1 + Math.exp(Math.min(-logit, 700)));
  }
}

/* The prior of a predictor; throws SerdemoError where it has none, or none of `unlabelled` speech. */
export const requirePrior = async (predictor, { unlabelled = false } = {}) => {
  const prior = await predictor.prior;
  if (!prior) {
    throw new SerdemoError(
      `${predictor.name} cannot get used to a voice, since it does not know where the emotions of others`
      + " lie: choose another model.",
    );
  }
  if (unlabelled && !prior.unlabelled) {
    throw new SerdemoError(
      `${predictor.name} gets used to a voice by neutral speech only: choose another model.`,
    );
  }
  return prior;
};
