/* Inference with a checkpoint: windows of a sound are scored in batches, and their scores aggregated. */
import { aggregate } from "./aggregation.js";
import { Novelty } from "./novelty.js";
import { warnings } from "./quality.js";
import { predictSameSpeaker } from "./same_speaker.js";
import { SAMPLE_RATE } from "./samples.js";
import { withoutOffset } from "./speaker_adaptation.js";
import { SpeakerPrior } from "./speaker_prior.js";
import { Stream, WINDOW_S } from "./stream.js";

export const HOP_S = 1; // of a recording's windows
const PIECE = 4 * SAMPLE_RATE; // of a recording, between which other work may have its turn
const COST_ROUNDS = 3;

const softmax = (scaled) => {
  const highest = Math.max(...scaled);
  const powers = scaled.map((value) => Math.exp(value - highest));
  const sum = powers.reduce((total, value) => total + value, 0);
  return powers.map((value) => value / sum);
};

/* A checkpoint that recognises emotions, or one without labels that gives embeddings alone.

   `model` has `description`, the JSON of model.json, `embeddings(waves)` and `logits(rows)`, and `detector` is
   the SpeechDetector. `now` gives seconds. */
export class Predictor {
  constructor({ model, detector, description = model.description, now = () => performance.now() / 1000 }) {
    Object.assign(this, { model, detector, description, now });
    this.name = description.name;
    this.labels = description.labels;
    this.novelty = Novelty.fromJson(description.novelty);
    this.prior = SpeakerPrior.of(description); // a promise
  }

  /* A `Stream` at `rate` Hz with this checkpoint's labels and threshold. */
  stream(rate, options = {}) {
    const { labels, detector, description } = this;
    return new Stream(rate, { labels, detector, unsureBelow: description.unsure_below || 0, ...options });
  }

  /* Embeddings of windows of 16 kHz samples. */
  async embeddings(waves) {
    return waves.length ? this.model.embeddings(waves) : [];
  }

  /* Probabilities of embeddings, with the checkpoint's temperature, which grows with their novelty where that
     was measured. */
  async classify(rows) {
    if (!rows.length || !this.labels.length) return rows.map(() => new Float64Array(0));
    const { temperature = 1, output } = this.description;
    return (await this.model.logits(rows)).map((logits, i) => {
      const scaled = Float64Array.from(logits, (logit) => logit / temperature);
      if (output === "sigmoid") return scaled.map((value) => 1 / (1 + Math.exp(-value)));
      const factor = this.novelty ? this.novelty.temperature(rows[i]) : 1;
      return softmax(scaled.map((value) => value / factor));
    });
  }

  /* Seconds to score one window alone, measured once. */
  windowCostS() {
    this.costS ??= this.measureCostS();
    return this.costS;
  }

  async measureCostS() {
    const wave = new Float32Array(WINDOW_S * SAMPLE_RATE).map((_, i) => 0.1 * Math.sin(i / 10));
    let cost = Infinity;
    for (let round = 0; round < COST_ROUNDS; round += 1) {
      const began = this.now();
      await this.embeddings([wave]);
      cost = Math.min(cost, this.now() - began);
    }
    return cost;
  }

  /* A sound at 16 kHz as { stream, windows, embeddings, embedding }: its finished stream, its windows without
     their samples, their embeddings, and that of the whole. With `segments` the windows of the timeline are
     scored too, without them only those that count. `progress(done, total)` gets seconds, and what
     `checkCancelled` returns is waited for between pieces; it may throw to stop. */
  async embedClip(samples, { segments = true, progress = () => {}, checkCancelled = () => {} } = {}) {
    const stream = this.stream(SAMPLE_RATE, { hopS: HOP_S, firstS: WINDOW_S, keepS: Infinity, segments });
    const windows = [];
    const embeddings = [];
    for (let start = 0; !stream.finished; start += PIECE) {
      await checkCancelled();
      stream.pushDecoded(samples.subarray(start, start + PIECE));
      if (start + PIECE >= samples.length) stream.finish();
      const ready = await stream.readyWindows();
      embeddings.push(...await this.embeddings(ready.map(({ wave }) => wave)));
      windows.push(...ready.map((window) => ({ ...window, wave: null })));
      progress(stream.receivedS, samples.length / SAMPLE_RATE);
    }
    return { stream, windows, embeddings, embedding: Float32Array.from(aggregate(windows, embeddings)) };
  }

  /* Scores an embedded clip, once, with a speaker's `offset` subtracted; adds its `probabilities`. */
  async score(clip, offset = null) {
    const rows = await this.classify(withoutOffset(clip.embeddings, offset));
    clip.windows.forEach((window, i) => clip.stream.addScores(window, rows[i]));
    return { ...clip, probabilities: aggregate(clip.windows, rows) };
  }

  /* Prediction for a recording, see `readRecording`; the options are those of `embedClip`. */
  async predict(recording, { name = recording.name, ...options } = {}) {
    const { stream } = await this.score(await this.embedClip(recording.samples, options));
    return stream.result(name, warnings(recording, stream.speech));
  }

  /* Predictions of recordings of one person, see `same_speaker.js`. */
  predictSameSpeaker(recordings, options) {
    return predictSameSpeaker(this, recordings, options);
  }
}
