/* Aggregation of window scores: smoothed over time for the timeline, averaged for the whole sound.

   A window is { start, stop, wave, speechRatio, whole }: samples [start, stop) of a stream at 16 kHz.
   `speechRatio` is the share of it that is speech, 0 where that is too little to count. `whole` marks the
   one window that holds all of a short sound: its scores replace the average over the other windows. */
import { SAMPLE_RATE } from "./samples.js";

// Time constant of the smoothing: it removes a quarter of the label changes and is not felt as delay.
export const SMOOTHING_S = 0.5;

/* Mean and exponentially smoothed rows of windows, weighted by their seconds of speech. A row has the
   probabilities or the embedding of a window; windows come in time order. */
export class WindowAggregator {
  constructor(size) {
    this.hasSpeech = false; // whether any window held speech
    this.smoothed = null; // of the newest window; null: silent
    this.sum = new Float64Array(size);
    this.weight = 0;
    this.recent = new Float64Array(size);
    this.recentWeight = this.recentStop = 0;
    this.whole = null;
  }

  /* Adds the row of a window; returns the smoothed row, null for a window without speech. */
  update(window, values) {
    const row = Float64Array.from(values);
    if (window.whole) {
      this.whole = row;
      return row;
    }
    const weight = (window.speechRatio * (window.stop - window.start)) / SAMPLE_RATE;
    this.sum = this.sum.map((sum, i) => sum + (weight || 1) * row[i]);
    this.weight += weight || 1;
    if (!weight) {
      this.smoothed = null;
      return null;
    }
    this.hasSpeech = true;
    // Fading with time, not with windows: after a pause the past counts for nothing.
    const fade = Math.exp((this.recentStop - window.stop) / SAMPLE_RATE / SMOOTHING_S);
    this.recent = this.recent.map((value, i) => fade * value + weight * row[i]);
    this.recentWeight = fade * this.recentWeight + weight;
    this.recentStop = window.stop;
    this.smoothed = this.recent.map((value) => value / this.recentWeight);
    return this.smoothed;
  }

  /* Mean row of all windows so far, or the row of the `whole` one; null before the first. */
  get mean() {
    if (this.whole || !this.weight) return this.whole;
    return this.sum.map((value) => value / this.weight);
  }
}

/* Speech-weighted mean of the rows of a finished sound's windows. */
export const aggregate = (windows, rows) => {
  const aggregator = new WindowAggregator(rows[0].length);
  windows.forEach((window, i) => aggregator.update(window, rows[i]));
  return aggregator.mean;
};
