/* Novelty of a recording: its distance from the training corpora, by which confidence is lowered. */
import { significant } from "./rounding.js";

export const RANGE = [-0.3, 1]; // of the novelty: beyond, nothing was measured

/* Measure of novelty: `centroids` of the training corpora, `scales`, the standard deviations within them,
   and the `slope` of the log temperature. */
export class Novelty {
  constructor(centroids, scales, slope) {
    this.scales = scales;
    this.slope = slope;
    this.centres = centroids.map((centroid) => centroid.map((value, i) => value / scales[i]));
  }

  /* The measure in a description's entry `novelty`, null for an empty one. */
  static fromJson(values) {
    if (!values?.centroids) return null;
    return new Novelty(Object.values(values.centroids), values.scales, values.slope);
  }

  /* Novelty of an embedding: the logarithm of the root mean square distance, in scales, to the nearest
     centroid; about 0 for the training corpora, limited to `RANGE`. */
  of(embedding) {
    const square = (centre) => {
      const sum = centre.reduce((s, value, i) => s + (embedding[i] / this.scales[i] - value) ** 2, 0);
      return sum / centre.length;
    };
    const nearest = Math.min(...this.centres.map(square));
    return Math.min(RANGE[1], Math.max(RANGE[0], Math.log(Math.max(nearest, 1e-12)) / 2));
  }

  /* Factor of the temperature for an embedding, 1 at novelty 0. */
  temperature(embedding) {
    return Math.exp(this.slope * this.of(embedding));
  }
}

/* Values with five digits, which keeps their text short. */
export const roundValues = (vector) => Array.from(vector, (value) => significant(value, 5));
