/* Sound as the Live tab keeps it: 16-bit samples, the last minute of them, and a WAV file of it. */
const KEPT_S = 60;
const FULL_SCALE = 0.999;

/* The last KEPT_S seconds of a sound. Samples are known by their number since the beginning. */
class LastMinute {
  constructor(rate) {
    this.rate = rate;
    this.kept = new Int16Array(KEPT_S * rate);
    this.written = 0;
  }

  get first() {
    return Math.max(0, this.written - this.kept.length);
  }

  push(block) {
    for (let from = 0; from < block.length; ) {
      const at = this.written % this.kept.length;
      const part = block.subarray(from, from + this.kept.length - at);
      this.kept.set(part, at);
      this.written += part.length;
      from += part.length;
    }
  }

  read(from, to) {
    const result = new Int16Array(to - from);
    for (let number = from; number < to; ) {
      const at = number % this.kept.length;
      const part = this.kept.subarray(at, at + to - number);
      result.set(part, number - from);
      number += part.length;
    }
    return result;
  }
}

const toBase64 = (samples) => {
  const bytes = new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) {
    text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return btoa(text);
};

const fromBase64 = (text) => new Int16Array(
  Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer
);

/* A 16-bit mono WAV file of samples at `rate` Hz. */
const wav = (samples, rate) => {
  const head = new DataView(new ArrayBuffer(44));
  const words = (at, text) => [...text].forEach((letter, i) => head.setUint8(at + i, letter.charCodeAt(0)));
  words(0, "RIFF");
  head.setUint32(4, 36 + samples.byteLength, true);
  words(8, "WAVEfmt ");
  head.setUint32(16, 16, true);
  head.setUint16(20, 1, true);
  head.setUint16(22, 1, true);
  head.setUint32(24, rate, true);
  head.setUint32(28, 2 * rate, true);
  head.setUint16(32, 2, true);
  head.setUint16(34, 16, true);
  words(36, "data");
  head.setUint32(40, samples.byteLength, true);
  return new Blob([head, samples], { type: "audio/wav" });
};
