/* 16-bit samples: the last minute of them, their level, base64, and a WAV file. */
export const WINDOW_S = 60;
export const FULL_SCALE = 32768;
export const MIN_DB = -60;

/* The last minute of a sound. Samples are counted from its beginning. */
export class LastMinute {
  constructor(rate) {
    this.rate = rate;
    this.ring = new Int16Array(WINDOW_S * rate);
    this.written = 0;
  }

  /* The number of the first sample that is still here. */
  get first() {
    return Math.max(0, this.written - this.ring.length);
  }

  push(block) {
    for (let from = 0; from < block.length; ) {
      const at = this.written % this.ring.length;
      const part = block.subarray(from, from + this.ring.length - at);
      this.ring.set(part, at);
      this.written += part.length;
      from += part.length;
    }
  }

  /* The samples `from` to `to`, without `to`. */
  read(from, to) {
    const samples = new Int16Array(to - from);
    for (let number = from; number < to; ) {
      const at = number % this.ring.length;
      const part = this.ring.subarray(at, at + to - number);
      samples.set(part, number - from);
      number += part.length;
    }
    return samples;
  }
}

export const concat = (blocks) => {
  const samples = new Int16Array(blocks.reduce((sum, block) => sum + block.length, 0));
  let at = 0;
  for (const block of blocks) {
    samples.set(block, at);
    at += block.length;
  }
  return samples;
};

/* Root mean square of a block in dB below full scale, at least MIN_DB. */
export const levelDb = (block) => {
  let power = 0;
  for (const value of block) power += (value / FULL_SCALE) ** 2;
  return Math.max(MIN_DB, 10 * Math.log10(power / block.length + 1e-12));
};

/* Shows a level on a meter: an element with the role "meter" around its bar. */
export const drawLevel = (meter, db) => {
  meter.firstElementChild.style.width = `${(100 * (db - MIN_DB)) / -MIN_DB}%`;
  meter.setAttribute("aria-valuenow", db.toFixed(0));
};

export const toBase64 = (samples) => {
  const bytes = new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) {
    text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return btoa(text);
};

export const bytesOf = (base64) => {
  const letters = atob(base64);
  const bytes = new Uint8Array(letters.length); // a map has millions: filled without a call for each
  for (let at = 0; at < bytes.length; at++) bytes[at] = letters.charCodeAt(at);
  return bytes.buffer;
};

export const fromBase64 = (base64) => new Int16Array(bytesOf(base64));

/* A 16-bit mono WAV file of samples at `rate` Hz. */
export const wav = (samples, rate) => {
  const header = new DataView(new ArrayBuffer(44));
  const write = (at, text) =>
    [...text].forEach((letter, i) => header.setUint8(at + i, letter.charCodeAt(0)));
  write(0, "RIFF");
  header.setUint32(4, 36 + samples.byteLength, true);
  write(8, "WAVEfmt ");
  header.setUint32(16, 16, true);
  header.setUint16(20, 1, true);
  header.setUint16(22, 1, true);
  header.setUint32(24, rate, true);
  header.setUint32(28, 2 * rate, true);
  header.setUint16(32, 2, true);
  header.setUint16(34, 16, true);
  write(36, "data");
  header.setUint32(40, samples.byteLength, true);
  return new Blob([header, samples], { type: "audio/wav" });
};
