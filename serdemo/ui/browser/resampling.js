/* Conversion of a sample rate to 16 kHz by the filters that the package's own resampler, soxr at its
   "high" quality, uses, so that both give the same samples.

   They were found by measuring soxr. From four times 16 kHz on, the rate is halved first, by a short
   filter, as often as it can be. What is left between 1 and 4 is done in one step where it is a simple
   fraction. Otherwise a sharp low-pass filter at the rate itself, or at twice that, is followed by a
   short one that interpolates between its samples (for 24 to 32 kHz in the opposite order). The first
   sample of each filter's output is centred on the first sample of its input; nothing was before that. */
export const OUTPUT_RATE = 16_000;

const PASSBAND = 0.9137436532733066; // of half the lower rate; the stop band begins at 1
// Of a Kaiser window, by how far the stop band must lie below: more filters leave less to each. [beta,
// taps x width of the transition band].
const ONE_STEP = [[13.040035757, 8.302342035], [13.711204172, 8.729521709], [14.104186059, 8.979688801],
  [14.383178727, 9.157308193]]; // by the number of halvings
const SHARP = [[13.711204172, 8.729521709], [14.383178727, 9.157308193], [14.776633412, 9.407817872],
  [15.055962088, 9.585674746]];
const SHORT = [14.058638742, 8.950692528];
const SHORT_EDGE = 0.8742128403268736; // where it is 0.01 dB down, from its stop band on
const SHORT_MARGIN = 0.75; // of a sample, that its window is longer at either end
const SIMPLE = { 2: [1, 2], 3: [1, 3], 1.5: [2, 3], 0.75: [4, 3], 0.5: [2, 1], 0.25: [4, 1] };
// One side of the filters that halve a rate, without the zeros; the longer one is used where more
// filters follow.
const HALVING = [[0.31154651, -0.087344891, 0.036814443, -0.015189203, 0.005454095, -0.001564396,
  0.000318164, -0.000034795], [0.312270337, -0.08922153, 0.039139713, -0.01725056, 0.006858945,
  -0.002304516, 0.000609656, -0.000113258, 0.000011211]];
const LONGER = { oneStep: 3, sharp: 1 }; // halvings

const MAX_TAPS = 400_000; // of a filter, 8 bytes each
const FLUSH = 1024; // zeros at a time behind the end

const gcd = (a, b) => (b ? gcd(b, a % b) : a);

/* Modified Bessel function of the first kind and order 0. */
const bessel = (x) => {
  let sum = 1;
  for (let term = 1, k = 1; term > 1e-17 * sum; k += 1) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
};

/* A low-pass filter of `n` taps whose response falls to a half at `cutoff` (1 for half the rate of its
   taps), with the sum `gain`. */
const lowPass = (n, cutoff, beta, gain, margin = 0.5) => {
  const centre = (n - 1) / 2;
  const scale = (gain * cutoff) / bessel(beta);
  const side = (i) => {
    const x = Math.PI * cutoff * (i - centre);
    const y = (i - centre) / (centre + margin);
    return scale * (x ? Math.sin(x) / x : 1) * bessel(beta * Math.sqrt(1 - y * y));
  };
  return Float64Array.from({ length: n }, (_, i) => side(Math.min(i, n - 1 - i)));
};

/* The sharp filter: all of the passband, nothing from half the rate on that is `by` times lower than
   that of its taps. */
const sharpFilter = (by, up, [beta, size]) => {
  const width = (1 - PASSBAND) / (2 * by);
  const step = by === up && up > 1 ? 2 * up : 4;
  const n = Math.ceil((Math.ceil(size / width + 1) - 1) / step) * step + 1;
  return lowPass(n, 1 / by - width, beta, up);
};

/* The filter that interpolates at `phases` places between two samples, of which the sound takes up
   the share 1 / `by`. Where the sharp filter comes `after` it, it may let more through. */
const shortFilter = (by, phases, after) => {
  const [beta, size] = SHORT;
  const pass = after ? PASSBAND : PASSBAND / by;
  const stop = after ? 3 : 2 - (pass + (1 / by - pass) * 0.7);
  const scale = after ? by : 1;
  const edge = stop - (stop - pass) / SHORT_EDGE;
  const filter = (n, count) => {
    const width = (stop - edge) / (2 * scale * count);
    return lowPass(n, stop / (scale * count) - width, beta, count, SHORT_MARGIN);
  };
  const least = Math.max(phases, 19);
  const taps = Math.ceil((2 * scale * least * size) / (stop - edge) + 1);
  let length = Math.floor(taps / least) + 1;
  if (by > 2 && !after) length += length % 2; // the sound was not doubled or is not to be halved
  // An odd filter has its middle on a sample only if the number of phases is even.
  const count = length % 2 && phases % 2 ? 2 * phases : phases;
  return { taps: filter(length * count - 1, count), count };
};

/* The filters of a conversion from `rate` Hz: `up` samples for each `down`. */
export const filters = (rate) => {
  let ratio = rate / OUTPUT_RATE;
  let halvings = 0;
  for (; ratio >= 4; ratio /= 2) halvings += 1;
  const simple = SIMPLE[ratio];
  const longer = halvings >= (simple ? LONGER.oneStep : LONGER.sharp);
  const half = HALVING[Number(longer)].flatMap((value, i) => (i ? [0, value] : [value]));
  const halving = { up: 1, down: 2, taps: Float64Array.from([...half.toReversed(), 0.5, ...half]) };
  const first = Array.from({ length: halvings }, () => halving);
  if (simple) {
    const [up, down] = simple;
    return [...first, { up, down, taps: sharpFilter(Math.max(up, down), up, ONE_STEP[halvings]) }];
  }
  const after = ratio > 1.5 && ratio < 2;
  const double = ratio < 2 && !after ? 2 : 1;
  const divisor = gcd(rate * double, OUTPUT_RATE * 2 ** halvings * (after ? 2 : 1));
  const up = (OUTPUT_RATE * 2 ** halvings * (after ? 2 : 1)) / divisor;
  const down = (rate * double) / divisor;
  const by = ratio < 1 ? 2 : ratio * double;
  const { taps, count } = shortFilter(by, up, after);
  const short = { up: count, down: (down * count) / up, taps };
  const sharp = { up: double, down: after ? 2 : 1, taps: sharpFilter(after ? 2 : by, double, SHARP[halvings]) };
  if (after) return [short, sharp];
  const isSmall = count * sharp.taps.length < MAX_TAPS;
  return isSmall ? [...first, joint(sharp, short)] : [...first, sharp, short];
};

/* Two filters as one, which takes less than half of the time. The first has no `down`. */
const joint = (first, second) => {
  const taps = new Float64Array((first.taps.length - 1) * second.up + second.taps.length);
  first.taps.forEach((value, k) => {
    for (let i = 0; i < second.taps.length; i += 1) taps[k * second.up + i] += value * second.taps[i];
  });
  return { up: first.up * second.up, down: second.down, taps, parts: [first, second] };
};

/* A filter that gives `up` samples for each `down`, as rows of taps, one for each phase. Sample n of the
   output lies at n * down / up of the input. */
class Filter {
  constructor({ up, down, taps, parts }) {
    Object.assign(this, { up, down, parts });
    const centre = (taps.length - 1) / 2;
    this.before = Math.floor(centre / up); // input samples that are needed before a place, and after it
    this.after = Math.floor((centre + up - 1) / up);
    this.width = this.before + 1 + this.after;
    this.rows = new Float64Array(up * this.width);
    for (let phase = 0; phase < up; phase += 1) {
      for (let i = 0; i < this.width; i += 1) {
        const tap = centre + phase + (this.before - i) * up;
        this.rows[phase * this.width + i] = taps[tap] ?? 0;
      }
    }
    this.past = new Float64Array(this.before); // zeros, and later what is needed again
    this.total = 0; // outputs
    this.n = 0; // the place of the next output in units of 1 / up of a sample, from the first in `past`
  }

  push(samples) {
    const { width, up, down } = this;
    const sound = new Float64Array(this.past.length + samples.length);
    sound.set(this.past);
    sound.set(samples, this.past.length);
    const places = sound.length - width + 1; // that a row may begin at
    const count = Math.max(0, Math.ceil((places * up - this.n) / down));
    const output = new Float64Array(count);
    for (let first = 0; first < Math.min(up, count); first += 1) this.phase(sound, output, first);
    if (this.parts) this.begin(sound, output);
    this.total += count;
    this.n += count * down;
    const passed = Math.min(Math.floor(this.n / up), sound.length);
    this.n -= passed * up;
    this.past = sound.slice(passed);
    return output;
  }

  /* The first outputs of two filters in one: the second knows no sound before its first sample, although the
     first makes some. */
  begin(sound, output) {
    const [first, second] = this.parts;
    const before = (first.taps.length - 1) / 2;
    const middle = (second.taps.length - 1) / 2;
    for (let i = 0; (this.total + i) * this.down + second.up <= middle && i < output.length; i += 1) {
      const place = (this.total + i) * this.down;
      const start = Math.floor((this.n + i * this.down) / this.up); // in `sound`
      const offset = start - Math.floor(place / this.up) + this.before; // of the first sample of all
      for (let k = -1; place - k * second.up <= middle; k -= 1) {
        let sum = 0;
        for (let m = 0; m < (k + before) / first.up + 1 && offset + m < sound.length; m += 1) {
          sum += (first.taps[before + k - m * first.up] ?? 0) * sound[offset + m];
        }
        output[i] -= second.taps[middle + place - k * second.up] * sum;
      }
    }
  }

  /* Outputs `first`, `first + up` and so on, which share a row. Eight sums at once run many times as fast
     as one; each is made in the same order as alone. */
  phase(sound, output, first) {
    const { rows, width, up, down } = this;
    const place = this.n + first * down;
    const row = (place % up) * width;
    let at = Math.floor(place / up);
    let i = first;
    for (; i + 7 * up < output.length; i += 8 * up, at += 8 * down) {
      let a = 0;
      let b = 0;
      let c = 0;
      let d = 0;
      let e = 0;
      let f = 0;
      let g = 0;
      let h = 0;
      for (let k = 0; k < width; k += 1) {
        const tap = rows[row + k];
        const j = at + k;
        a += tap * sound[j];
        b += tap * sound[j + down];
        c += tap * sound[j + 2 * down];
        d += tap * sound[j + 3 * down];
        e += tap * sound[j + 4 * down];
        f += tap * sound[j + 5 * down];
        g += tap * sound[j + 6 * down];
        h += tap * sound[j + 7 * down];
      }
      output[i] = a;
      output[i + up] = b;
      output[i + 2 * up] = c;
      output[i + 3 * up] = d;
      output[i + 4 * up] = e;
      output[i + 5 * up] = f;
      output[i + 6 * up] = g;
      output[i + 7 * up] = h;
    }
    for (; i < output.length; i += up, at += down) {
      let sum = 0;
      for (let k = 0; k < width; k += 1) sum += rows[row + k] * sound[at + k];
      output[i] = sum;
    }
  }
}

/* Streaming conversion of mono samples at `rate` Hz to 16 kHz. The output, joined, is the same to the
   bit however the input was cut, and n samples give n * 16000 / rate, rounded. */
export class RateConverter {
  constructor(rate) {
    this.rate = rate;
    this.filters = filters(rate).map((filter) => new Filter(filter));
    this.received = this.returned = 0; // samples
  }

  push(samples) {
    this.received += samples.length;
    const output = new Float32Array(this.run(samples));
    this.returned += output.length;
    return output;
  }

  finish() {
    const missing = Math.floor(this.received / (this.rate / OUTPUT_RATE) + 0.5) - this.returned;
    const output = new Float32Array(Math.max(0, missing));
    for (let n = 0; n < output.length; ) {
      const part = this.run(new Float32Array(FLUSH)).subarray(0, output.length - n);
      output.set(part, n);
      n += part.length;
    }
    return output;
  }

  run(samples) {
    return this.filters.reduce((sound, filter) => filter.push(sound), samples);
  }
}
