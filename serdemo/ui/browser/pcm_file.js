/* WAV and AIFF files of plain samples, decoded to the bit as the package does; a browser would resample
   them, and reads no AIFF. */
import { fixed } from "./rounding.js";
import { AudioError } from "./samples.js";

const STREAMED = 0x7f00_0000; // a stream's writer, that cannot know the length, names one close to the largest
const UNKNOWN = 0xffff_ffff;
const PCM = 1;
const FLOAT = 3;
const EXTENSIBLE = 0xfffe;
const SWAPPED = ["sowt", "twos"]; // AIFF with samples in whole bytes, the first in the order of WAV
const FLOATS = ["fl32", "FL32", "fl64", "FL64"];

export const UNREADABLE = "holds no sound that can be read: give a WAV, FLAC, OGG, MP3 or M4A file.";

/* Sound that a header names and the file lacks, or the other way round, is worth a word from here on. */
const LITTLE_S = 0.2;
const LITTLE = 0.02;

const text = (view, at, length = 4) =>
  String.fromCharCode(...new Uint8Array(view.buffer, view.byteOffset + at, length));

/* The chunks of a RIFF or IFF file: [name, place of its content, its claimed size]. */
const chunks = function* (view, little) {
  for (let at = 12; at + 8 <= view.byteLength;) {
    const size = view.getUint32(at + 4, little);
    yield [text(view, at), at + 8, size];
    at += 8 + size + (size % 2);
  }
};

/* What a WAV file says of its sound: { rate, count (channels), bytes (of one sample), isFloat, isPlain,
   little, start, size, claimed (bytes, null for a stream), code }; null where it is none. */
export const waveHeader = (view) => {
  if (view.byteLength < 12 || text(view, 8) !== "WAVE") return null;
  const kind = text(view, 0);
  if (!["RIFF", "RIFX", "RF64", "BW64"].includes(kind)) return null;
  const little = kind !== "RIFX";
  let format = null;
  let length64 = 0;
  for (const [name, at, size] of chunks(view, little)) {
    if (name === "ds64" && at + 16 <= view.byteLength) length64 = Number(view.getBigUint64(at + 8, true));
    if (name === "fmt " && size >= 16 && at + size <= view.byteLength) {
      let code = view.getUint16(at, little);
      if (code === EXTENSIBLE && size >= 26) code = view.getUint16(at + 24, little);
      const count = view.getUint16(at + 2, little);
      const bytes = view.getUint16(at + 12, little) / count;
      const isFloat = code === FLOAT;
      const widths = isFloat ? [4, 8] : [1, 2, 3, 4];
      const isPlain = (code === PCM || isFloat) && widths.includes(bytes);
      format = { rate: view.getUint32(at + 4, little), count, bytes, isFloat, isPlain, little, code };
    }
    if (name === "data" && format) {
      const known = size === UNKNOWN ? length64 : size;
      const isStreamed = !known || known >= STREAMED && size !== UNKNOWN;
      const rest = view.byteLength - at;
      return { ...format, unsigned: format.bytes === 1, start: at, size: isStreamed ? rest : Math.min(known, rest),
        claimed: isStreamed ? null : known };
    }
  }
  return null;
};

/* The same of an AIFF or AIFF-C file. */
export const aiffHeader = (view) => {
  if (view.byteLength < 12 || text(view, 0) !== "FORM") return null;
  if (!["AIFF", "AIFC"].includes(text(view, 8))) return null;
  let format = null;
  for (const [name, at, size] of chunks(view, false)) {
    if (name === "COMM" && size >= 18 && at + size <= view.byteLength) {
      const code = size >= 22 ? text(view, at + 18) : "NONE";
      const bytes = Math.ceil(view.getInt16(at + 6) / 8);
      const isFloat = FLOATS.includes(code);
      const isPlain = isFloat ? [4, 8].includes(bytes)
        : ["NONE", ...SWAPPED].includes(code) && [1, 2, 3, 4].includes(bytes);
      // An 80-bit float: 15 bits of exponent, then the mantissa with its leading 1.
      const rate = view.getUint32(at + 10) * 2 ** ((view.getUint16(at + 8) & 0x7fff) - 16383 - 31);
      format = { rate: Math.round(rate), count: view.getInt16(at), bytes, isFloat, isPlain,
        little: code === "sowt", unsigned: false, code };
    }
    if (name === "SSND" && format && at + 8 <= view.byteLength) {
      const start = at + 8 + view.getUint32(at);
      const claimed = size - 8 - view.getUint32(at);
      return { ...format, start, claimed, size: Math.max(0, Math.min(claimed, view.byteLength - start)) };
    }
  }
  return null;
};

/* How a sample at a place in the file becomes a float. */
const reader = (view, { bytes, isFloat, little, unsigned }) => {
  if (isFloat && bytes === 4) return (at) => view.getFloat32(at, little);
  if (isFloat) return (at) => view.getFloat64(at, little);
  if (bytes === 1 && unsigned) return (at) => (view.getUint8(at) - 128) / 2 ** 7;
  if (bytes === 1) return (at) => view.getInt8(at) / 2 ** 7;
  if (bytes === 2) return (at) => view.getInt16(at, little) / 2 ** 15;
  if (bytes === 4) return (at) => view.getInt32(at, little) / 2 ** 31;
  const [high, low] = little ? [1, 0] : [0, 1];
  return (at) => (view.getInt16(at + high, little) * 256 + view.getUint8(at + 2 * low)) / 2 ** 23;
};

/* The sound { rate, channels, notes } of a file whose header is plain. Throws AudioError. */
export const decodePcm = (view, header) => {
  const { rate, count, bytes, start, size, claimed } = header;
  if (!rate || !(count > 0)) throw new AudioError(UNREADABLE);
  const width = count * bytes;
  const length = Math.floor(size / width);
  const sample = reader(view, header);
  const channels = Array.from({ length: count }, (_, c) => {
    const channel = new Float32Array(length);
    for (let i = 0, at = start + c * bytes; i < length; i += 1, at += width) channel[i] = sample(at);
    return channel;
  });
  if (!length) throw new AudioError("holds no sound: record it or save it again.");
  return { rate, channels, notes: lengthNotes(length / rate, claimed && claimed / width / rate) };
};

/* A sentence where the `seconds` that were read are not those that the header claims, if any, or where the
   file is cut. */
export const lengthNotes = (seconds, claimed, isCut = false) => {
  const read = fixed(seconds, 1);
  if (claimed && Math.abs(seconds - claimed) > Math.max(LITTLE_S, LITTLE * claimed)) {
    const named = fixed(claimed, 1);
    return [seconds < claimed
      ? `The file is damaged or cut off: ${read} s of its ${named} s could be read, so save it or copy it again.`
      : `The file's header names ${named} s, but it holds ${read} s, which are all answered.`];
  }
  return isCut ? [`The file is damaged or cut off: the ${read} s that could be read are answered, `
    + "so save it or copy it again."] : [];
};
