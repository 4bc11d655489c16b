/* A crowd of points as a picture: each pixel has the mean colour of the points on it, the more solid the
   more they are. What is drawn does not depend on the order of the points. */
const MAX_MARKS = 1_000_000; // pixels that the points of a frame are added to
const MAX_MARK = 4; // pixels across, of a point where few are
const LEAST = 0.4; // opacity of a point by itself
const SOLID = 12; // times the mean number on a pixel, from which it is solid
const LEVELS = 1024;

/* The red, green and blue (0 to 255) of colours such as #D55E00, one after another. */
export const channels = (colours) =>
  Uint8Array.from(colours.flatMap((colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16))));

export class Density {
  /* For a picture of that size whose pixels are counted in squares, `cell` of them across. */
  constructor(width, height, cell) {
    Object.assign(this, { width, height, cell });
    this.across = Math.floor(width / cell);
    this.down = Math.floor(height / cell);
    this.sums = new Int32Array(4 * this.across * this.down); // red, green, blue, points
  }

  /* Counts the points at (xs, ys) whose `layers` are `layer`, coloured by `codes` in `channels`; `many` is
     about how many these are. */
  add(xs, ys, layers, layer, codes, colours, many) {
    const { sums, across, down } = this;
    const per = 1 / this.cell;
    const size = Math.max(1, Math.min(MAX_MARK, Math.floor(Math.sqrt(MAX_MARKS / Math.max(1, many)))));
    const before = (size - 1) / 2;
    const [right, bottom] = [across - size + 1, down - size + 1];
    // Of a point's square, how far each pixel lies behind the first.
    const square = Int32Array.from({ length: size * size }, (_, i) => 4 * (Math.floor(i / size) * across + (i % size)));
    sums.fill(0);
    for (let k = 0; k < xs.length; k++) {
      if (layers[k] !== layer) continue;
      const x = xs[k] * per - before;
      const y = ys[k] * per - before;
      if (!(x >= 0 && y >= 0 && x < right && y < bottom)) continue;
      const first = 4 * ((y | 0) * across + (x | 0));
      const colour = 3 * codes[k];
      for (let i = 0; i < square.length; i++) {
        const at = first + square[i];
        sums[at] += colours[colour];
        sums[at + 1] += colours[colour + 1];
        sums[at + 2] += colours[colour + 2];
        sums[at + 3] += 1;
      }
    }
  }

  /* Draws what was counted into packed RGBA pixels that are not premultiplied, with an `opacity` of up to 1. */
  paint(pixels, opacity) {
    const { sums, across, down, cell, width } = this;
    const range = Math.log(1 + SOLID * this.mean());
    const alphas = Uint8Array.from({ length: LEVELS }, (_, n) =>
      255 * opacity * Math.min(1, LEAST + ((1 - LEAST) * Math.log(Math.max(1, n))) / range));
    for (let y = 0, at = 0; y < down; y++) {
      const start = y * cell * width;
      for (let x = 0; x < across; x++, at += 4) {
        const n = sums[at + 3];
        if (!n) continue;
        const colour = (alphas[n < LEVELS ? n : LEVELS - 1] << 24)
          | ((sums[at + 2] / n) << 16) | ((sums[at + 1] / n) << 8) | (sums[at] / n);
        for (let column = 0; column < cell; column++) pixels[start + x * cell + column] = colour;
      }
      for (let line = 1; line < cell; line++) pixels.copyWithin(start + line * width, start, start + width);
    }
  }

  /* The mean number of points on a pixel that has any. */
  mean() {
    let points = 0;
    let filled = 0;
    for (let at = 3; at < this.sums.length; at += 4) {
      points += this.sums[at];
      if (this.sums[at]) filled += 1;
    }
    return points / Math.max(1, filled);
  }
}
