/* A fixed map on which new clips are placed by their nearest neighbours among its points; mirrors
   embeddings/projection.py. */
import { SerdemoError } from "./errors.js";
import { round } from "./rounding.js";

export const NEIGHBOURS = 15;
const TINY = 1e-12; // so that a row of zeros stays as it is
const EQUAL = 1e-9; // weights below it say nothing

const norm = (row) => Math.max(Math.sqrt(row.reduce((sum, value) => sum + value * value, 0)), TINY);

/* Numbers of half precision, given as their bits in a Uint16Array. */
export const fromHalf = (bits) => Float32Array.from(bits, (half) => {
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  const size = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
  return half & 0x8000 ? -size : size;
});

export class ReferenceMap {
  /* `embeddings` (N, R) are those of the model projected on `basis` (E, R), both flat; `projections`
     gives by name the flat `places` of the points and their number of `axes`. */
  constructor(embeddings, basis, [size, width], projections) {
    Object.assign(this, { basis, size, width, projections, count: embeddings.length / width });
    this.unit = new Float32Array(embeddings.length);
    for (let at = 0; at < embeddings.length; at += width) {
      const row = embeddings.subarray(at, at + width);
      const length = norm(row);
      this.unit.set(row.map((value) => value / length), at);
    }
  }

  /* Projects an embedding (E,) of the model into the map's space. */
  compressEmbedding(embedding) {
    if (embedding.length !== this.size) {
      throw new SerdemoError("This map is of another model: choose the one that made it.");
    }
    const length = norm(embedding);
    const sums = new Float64Array(this.width);
    embedding.forEach((value, n) => {
      for (let axis = 0; axis < this.width; axis++) {
        sums[axis] += (value / length) * this.basis[n * this.width + axis];
      }
    });
    return Float32Array.from(sums);
  }

  cosines(point) {
    const { unit, width } = this;
    const length = norm(point);
    const cosines = new Float32Array(this.count);
    for (let row = 0; row < this.count; row++) {
      let sum = 0;
      for (let axis = 0; axis < width; axis++) sum += (point[axis] / length) * unit[row * width + axis];
      cosines[row] = sum;
    }
    return cosines;
  }

  /* The place of an embedding (E,) by projection, `at`: the weighted mean of its nearest neighbours'.
     The weights fall to zero at the last of these `rows`, whose cosine `similarities` are given too. */
  place(embedding, neighbours = NEIGHBOURS) {
    const cosines = this.cosines(this.compressEmbedding(embedding));
    const rows = [...cosines.keys()].sort((a, b) => cosines[b] - cosines[a]).slice(0, neighbours);
    const least = cosines[rows.at(-1)];
    let weights = rows.map((row) => Math.fround(cosines[row] - least));
    if (weights[0] <= EQUAL) weights = rows.map(() => 1);
    const whole = weights.reduce((sum, weight) => sum + weight, 0);
    const mean = ({ places, axes }) => Array.from({ length: axes }, (_, axis) =>
      Math.fround(rows.reduce((sum, row, n) => sum + (weights[n] / whole) * places[axes * row + axis], 0)));
    const at = Object.fromEntries(
      Object.entries(this.projections).map(([name, projection]) => [name, mean(projection)]));
    return { at, rows, similarities: rows.map((row) => round(cosines[row], 4)) };
  }
}
