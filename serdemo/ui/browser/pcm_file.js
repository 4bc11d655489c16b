/* WAV and AIFF files of plain samples, decoded to the bit as the package does; a browser would resample
   them, and reads no AIFF. */
import { fixed } from "./rounding.js";
import { AudioError, concat } from "./samples.js";

const STREAMED = 0x7f00_0000; // a stream's writer, that cannot know the length, names one close to the largest
const UNKNOWN = 0xffff_ffff;
const KINDS = ["RIFF", "RIFX", "RF64", "BW64"]; // of a WAV file
const MAX_PARTS = 10_000; // glued together in a file
const MAX_CHUNKS = 1000; // behind the samples
const TAGS = ["TAG", "APETAGEX", "ID3", "LYRICSBEGIN"]; // that programs write there without a chunk around them
const TAIL = 4096; // bytes that are looked at for them
const SOON_S = 0.1;
const PCM = 1;
const FLOAT = 3;
const EXTENSIBLE = 0xfffe;
const SWAPPED = ["sowt", "twos"]; // AIFF with samples in whole bytes, the first in the order of WAV
const FLOATS = ["fl32", "FL32", "fl64", "FL64"];

export const UNREADABLE = "holds no sound that can be read: give a WAV, FLAC, OGG, MP3 or M4A file.";
const UNREAD = "What follows in the file cannot be read: save it again, or copy it again.";

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

const isWave = (view, at) =>
  at + 12 <= view.byteLength && text(view, at + 8) === "WAVE" && KINDS.includes(text(view, at));

/* The place of the next WAV file from a place on, or the end. */
const nextWave = (view, from) => {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  const letter = "W".charCodeAt(0); // of WAVE, 8 bytes from the beginning
  for (let at = bytes.indexOf(letter, from + 8); at >= 0; at = bytes.indexOf(letter, at + 1)) {
    if (isWave(view, at - 8)) return at - 8;
  }
  return view.byteLength;
};

/* Where the samples from `first` on truly end, and where the next WAV file begins, or the end of all; `claimed` is
   their end by the header. What follows a true end is other chunks, or another file; anything else is more
   sound. Mirrors `_data_end` of audio/containers.py. */
const dataEnd = (view, first, claimed, byteRate) => {
  const stop = view.byteLength;
  const isPrintable = (at) => /^[ -~]{4}$/.test(text(view, at));
  let place = claimed <= stop ? claimed : first;
  for (let n = 0; n < MAX_CHUNKS && claimed <= stop && place + 8 <= stop; n += 1) {
    if (isWave(view, place)) return [claimed, place];
    if (!view.getUint8(place) && place % 2 && place + 5 <= stop && isPrintable(place + 1)) {
      place += 1; // the padding behind an odd length
      continue;
    }
    const end = place + 8 + view.getUint32(place + 4, true);
    if (!isPrintable(place) || end > stop + 1) break;
    place = end;
  }
  if (claimed <= stop) {
    const rest = Math.max(0, stop - place);
    const tail = new Uint8Array(view.buffer, view.byteOffset + stop - rest, Math.min(TAIL, rest));
    const few = rest <= Math.max(TAIL, SOON_S * byteRate) || tail.every((byte) => !byte);
    const tagged = TAGS.some((tag) => tag.length <= rest && text(view, place, tag.length) === tag);
    if (place > claimed || tagged || (few && claimed > first)) return [claimed, stop];
  }
  const following = nextWave(view, place);
  return [following, following];
};

/* What a WAV file says of its sound: { rate, count (channels), bytes (of one sample), isFloat, isPlain, little,
   start, size, claimed (bytes, null for a stream), next (where another file begins that is glued to it), code };
   null where it is none. */
export const waveHeader = (view) => {
  if (!isWave(view, 0)) return null;
  const little = text(view, 0) !== "RIFX";
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
      const [end, next] = dataEnd(view, at, at + (known || size), format.rate * format.count * format.bytes);
      return { ...format, unsigned: format.bytes === 1, start: at, size: end - at, next,
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

/* The sound { rate, channels, notes } of a file whose header is plain, with that of files of the same format which
   are glued to it. Throws AudioError. */
export const decodePcm = (view, header) => {
  const parts = [decodePart(view, header)];
  const notes = [];
  let place = header.next;
  while (place < view.byteLength && parts.length < MAX_PARTS) {
    const rest = new DataView(view.buffer, view.byteOffset + place);
    const following = waveHeader(rest);
    if (!following) break;
    if (!following.isPlain || following.rate !== header.rate || following.count !== header.count) {
      notes.push(UNREAD);
      break;
    }
    parts.push(decodePart(rest, following));
    place += following.next;
  }
  const [{ channels }] = parts;
  if (parts.length > 1) channels.forEach((_, c) => { channels[c] = concat(parts.map((part) => part.channels[c])); });
  if (!channels[0].length) throw new AudioError("holds no sound: record it or save it again.");
  return { rate: header.rate, channels, notes: [...parts.flatMap((part) => part.notes), ...notes] };
};

const decodePart = (view, header) => {
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
  return { channels, notes: lengthNotes(length / rate, claimed && claimed / width / rate) };
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
