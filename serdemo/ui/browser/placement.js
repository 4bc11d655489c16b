/* Newcomers on a map: where a clip or a live voice lies, by the model that made the map; mirrors
   explore/placement.py. */
import { WindowAggregator } from "./aggregation.js";

const MAX_ROUND_S = 0.5; // of scoring at a time, so that the place is that of what is spoken now

/* A live voice on a map: samples in, places out. */
export class LiveVoice {
  constructor(map, embedder, rate) {
    Object.assign(this, { map, embedder, stream: embedder.stream(rate) });
    this.aggregator = new WindowAggregator(map.reference.size);
    this.windowCostS = 0; // running mean of the time to score one window
    this.turn = Promise.resolve(); // one call after another
  }

  /* Adds 16-bit samples; resolves to the voice's place now, or to nothing new while it does not speak. */
  push(samples) {
    return this.inTurn(async () => {
      this.stream.push(samples);
      const smoothed = await this.score();
      return smoothed ? { ...this.map.place(smoothed), speaking: true } : { speaking: this.stream.isSpeaking };
    });
  }

  /* Ends the sound; resolves to the voice's place over all, to nothing where it never spoke. */
  close() {
    return this.inTurn(async () => {
      this.stream.finish();
      await this.score();
      if (!this.aggregator.hasSpeech) return {};
      const mean = Float32Array.from(this.aggregator.mean);
      const [probabilities] = this.embedder.labels.length ? await this.embedder.classify([mean]) : [];
      return { ...this.map.place(mean), ...bestLabel(this.embedder, probabilities) };
    });
  }

  /* Scores the newest windows that are ready, as many as there is time for; the newest smoothed embedding,
     null without one. */
  async score() {
    const ready = await this.stream.readyWindows();
    const affordable = this.windowCostS ? MAX_ROUND_S / this.windowCostS : ready.length;
    const windows = ready.slice(-Math.max(1, Math.floor(affordable)));
    if (!windows.length) return null;
    const started = performance.now();
    const rows = await this.embedder.embeddings(windows.map(({ wave }) => wave));
    const costS = (performance.now() - started) / 1000 / windows.length;
    this.windowCostS = this.windowCostS ? 0.8 * this.windowCostS + 0.2 * costS : costS;
    const smoothed = windows.map((window, n) => this.aggregator.update(window, rows[n])).at(-1);
    return smoothed && Float32Array.from(smoothed);
  }

  inTurn(work) {
    const result = this.turn.then(work);
    this.turn = result.catch(() => {});
    return result;
  }
}

/* The most probable `label` and its `share`; nothing for a model without labels. */
export const bestLabel = ({ labels }, probabilities) => {
  if (!labels.length) return {};
  const best = probabilities.indexOf(Math.max(...probabilities));
  return { label: labels[best], share: probabilities[best] };
};
