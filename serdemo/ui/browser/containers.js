/* What a sound or film file says of its sound, by its bytes: a browser tells it only after it has
   decoded and resampled all of it. */
import { aiffHeader, waveHeader } from "./pcm_file.js";

const OPUS_RATE = 48_000; // Opus always decodes to this
const MPEG_RATES = [44_100, 48_000, 32_000];
const AAC_RATES = [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
const BITRATES = { // kbit/s by MPEG version 1 or not, and layer
  true: [[], [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
    [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320]],
  false: [[], [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    ...Array(2).fill([8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160])],
};
const SEARCH = 65_536; // bytes in which the first frame, or the last page, must lie
const MIN_FRAMES = 3; // that follow each other, for bytes to be taken for MPEG audio
const AUDIO = 2; // track types of Matroska
const VIDEO = 1;

// Formats that browsers do not read, by how they begin: to tell them from what is no sound.
const OTHERS = ["caff", "\x30\x26\xb2\x75", "#!AMR", "wvpk", "TTA1", ".snd", "\x0b\x77", "FLV", "MAC ", "Creative Voice",
  "NIST_1A", "riff\x2e\x91\xcf\x11", "FORM", "\x7f\xfe\x80\x01", "\x00\x00\x01\xba"];

/* A file's bytes as numbers and text; what lies beyond its end is 0. */
class Bytes {
  constructor(bytes) {
    this.bytes = bytes;
    this.length = bytes.length;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  byte(at) {
    return this.bytes[at] ?? 0;
  }

  /* An integer of `n` bytes, the most significant first unless `little`. */
  number(at, n, little = false) {
    let value = 0;
    for (let i = 0; i < n; i += 1) value = value * 256 + this.byte(little ? at + n - 1 - i : at + i);
    return value;
  }

  text(at, n) {
    return String.fromCharCode(...this.bytes.subarray(at, at + n));
  }
}

/* { kind, rate (Hz), count (of channels), nTracks (of sound), durationS, estimateS, hasSound, hasVideo, isComplete,
   isCut, pcm } of a file's bytes; what it does not say is undefined, and of several tracks it is that of the first. `kind` is "" for what is no sound by its first bytes,
   `durationS` the length that the file names, `estimateS` one by its size or its last part, `isCut` whether
   that part is incomplete, and `pcm` the header of plain samples. */
export const inspect = (array) => {
  const file = new Bytes(array);
  const start = tagLength(file);
  for (const read of [wave, aiff, flac, ogg, mp4, matroska]) {
    const found = read(file, start);
    if (found) return { hasSound: true, hasVideo: false, isComplete: true, ...found };
  }
  if (OTHERS.some((beginning) => file.text(start, beginning.length) === beginning)
    || file.text(0, 4) === "RIFF" && file.text(8, 4) === "AVI ") return { kind: "other", hasSound: true };
  return mpeg(file, start) ?? adts(file, start) ?? { kind: "", hasSound: false };
};

/* Bytes of the ID3v2 tags in front of a file. */
const tagLength = (file) => {
  let start = 0;
  while (file.text(start, 3) === "ID3") {
    const size = [6, 7, 8, 9].reduce((sum, i) => sum * 128 + file.byte(start + i), 0);
    start += 10 + size + (file.byte(start + 5) & 16 ? 10 : 0);
  }
  return start;
};

const ofPcm = (kind, header) => header && { kind, rate: header.rate, count: header.count,
  durationS: header.isPlain ? header.size / header.bytes / header.count / header.rate : undefined,
  pcm: header.isPlain ? header : undefined };

const wave = (file) => ofPcm("wav", waveHeader(file.view));
const aiff = (file) => ofPcm("aiff", aiffHeader(file.view));

/* By the STREAMINFO block that begins at a place. */
const streamInfo = (file, at) => {
  const rate = file.number(at + 10, 3) >> 4;
  const total = (file.byte(at + 13) & 15) * 2 ** 32 + file.number(at + 14, 4);
  return { rate, count: ((file.byte(at + 12) >> 1) & 7) + 1, durationS: total ? total / rate : undefined };
};

const flac = (file, start) =>
  (file.text(start, 4) === "fLaC" ? { kind: "flac", ...streamInfo(file, start + 8) } : null);

const ogg = (file, start) => {
  if (file.text(start, 4) !== "OggS") return null;
  const found = { kind: "ogg", hasSound: false };
  // The first page of every stream comes before any other.
  for (let at = start; file.text(at, 4) === "OggS" && file.byte(at + 5) & 2;) {
    const content = at + 27 + file.byte(at + 26);
    const isOf = (name) => file.text(content, name.length) === name;
    if (isOf("OpusHead")) {
      Object.assign(found, { hasSound: true, rate: OPUS_RATE, count: file.byte(content + 9) });
    } else if (isOf("\x01vorbis")) {
      Object.assign(found, { hasSound: true, rate: file.number(content + 12, 4, true), count: file.byte(content + 11) });
    } else if (isOf("\x7fFLAC")) {
      Object.assign(found, { hasSound: true, ...streamInfo(file, content + 17) });
    } else if (isOf("Speex   ")) {
      Object.assign(found, { kind: "other", hasSound: true });
    } else if (isOf("\x80theora")) {
      found.hasVideo = true;
    }
    at = pageEnd(file, at);
  }
  const last = lastPage(file);
  if (!found.hasVideo && found.rate && last >= 0) {
    found.estimateS = file.number(last + 6, 8, true) / found.rate;
    found.isCut = pageEnd(file, last) > file.length;
  }
  return found;
};

/* The place behind the Ogg page at a place, by its table of the sizes of what it holds. */
const pageEnd = (file, at) => {
  const content = at + 27 + file.byte(at + 26);
  return file.bytes.subarray(at + 27, content).reduce((end, size) => end + size, content);
};

const lastPage = (file) => {
  for (let at = file.length - 27; at > Math.max(0, file.length - SEARCH); at -= 1) {
    if (file.byte(at) === 0x4f && file.text(at, 4) === "OggS") return at;
  }
  return -1;
};

/* The boxes of an MP4 file between two places: [type, place of the content, place behind it]. */
const boxes = function* (file, from, to) {
  for (let at = from; at + 8 <= to;) {
    let size = file.number(at, 4);
    let header = 8;
    if (size === 1) {
      size = file.number(at + 8, 8);
      header = 16;
    } else if (size === 0) size = to - at;
    if (size < header) return;
    yield [file.text(at + 4, 4), at + header, Math.min(at + size, to)];
    at += size;
  }
};

const boxOf = (file, [, from, to] = [], type) => {
  for (const box of from === undefined ? [] : boxes(file, from, to)) if (box[0] === type) return box;
  return undefined;
};

/* The place of the content of a box that must be there; behind the end, where all is 0, without it. */
const placeOf = (file, box) => box?.[1] ?? file.length;

const mp4 = (file) => {
  if (!["ftyp", "moov", "mdat", "wide", "styp"].includes(file.text(4, 4))) return null;
  const found = { kind: "mp4", hasSound: false, nTracks: 0 };
  const movie = boxOf(file, ["", 0, file.length], "moov");
  if (!movie) return { ...found, isComplete: false };
  for (const track of boxes(file, movie[1], movie[2])) {
    const media = track[0] === "trak" ? boxOf(file, track, "mdia") : undefined;
    if (!media) continue;
    const type = file.text(placeOf(file, boxOf(file, media, "hdlr")) + 8, 4);
    if (type === "vide") found.hasVideo = true;
    if (type === "soun") found.nTracks += 1;
    if (type !== "soun" || found.hasSound) continue;
    const time = placeOf(file, boxOf(file, media, "mdhd"));
    const isLong = file.byte(time) === 1;
    const scale = file.number(time + (isLong ? 20 : 12), 4);
    const duration = file.number(time + (isLong ? 24 : 16), isLong ? 8 : 4);
    const tables = boxOf(file, boxOf(file, media, "minf"), "stbl");
    const entry = placeOf(file, boxOf(file, tables, "stsd"));
    const codec = file.text(entry + 12, 4);
    Object.assign(found, { hasSound: true, count: file.number(entry + 32, 2),
      rate: codec === "Opus" ? OPUS_RATE : soundRate(file, entry, scale),
      durationS: duration && scale ? duration / scale : undefined });
  }
  return found;
};

/* The rate of a sound track: that of its description, unless it has no room for it. */
const soundRate = (file, entry, scale) => file.number(entry + 40, 2) || scale;

/* The elements of a Matroska file between two places: [id, place of the content, place behind it]. */
const elements = function* (file, from, to) {
  for (let at = from; at < to;) {
    const idLength = Math.clz32(file.byte(at)) - 23;
    const sizeAt = at + idLength;
    const sizeLength = Math.clz32(file.byte(sizeAt)) - 23;
    if (idLength > 4 || sizeLength > 8) return;
    const top = file.byte(sizeAt) & (0xff >> sizeLength);
    const low = file.number(sizeAt + 1, sizeLength - 1);
    const size = top * 256 ** (sizeLength - 1) + low;
    const content = sizeAt + sizeLength;
    const isUnknown = size >= 2 ** (7 * sizeLength) - 1;
    const end = isUnknown ? to : Math.min(content + size, to);
    yield [file.number(at, idLength), content, end];
    at = end;
  }
};

const matroska = (file) => {
  if (file.number(0, 4) !== 0x1a45dfa3) return null;
  const found = { kind: "webm", hasSound: false, nTracks: 0 };
  const visit = ([id, from, to]) => {
    if ([0x18538067, 0x1654ae6b, 0x1549a966].includes(id)) return walk(from, to); // Segment, Tracks, Info
    if (id === 0xae) track(from, to);
    if (id === 0x2ad7b1) found.scale = file.number(from, to - from);
    if (id === 0x4489) found.duration = float(file, from, to);
    return id !== 0x1f43b675; // a Cluster: what follows is sound
  };
  const walk = (from, to) => {
    for (const element of elements(file, from, to)) if (visit(element) === false) return false;
    return true;
  };
  const track = (from, to) => {
    const fields = Object.fromEntries([...elements(file, from, to)].map(([id, ...place]) => [id, place]));
    const type = file.byte(fields[0x83]?.[0]);
    if (type === VIDEO) found.hasVideo = true;
    if (type === AUDIO) found.nTracks += 1;
    if (type !== AUDIO || found.hasSound) return;
    const codec = fields[0x86] ? file.text(fields[0x86][0], fields[0x86][1] - fields[0x86][0]) : "";
    const audio = Object.fromEntries([...elements(file, ...fields[0xe1] ?? [0, 0])].map(([id, ...place]) => [id, place]));
    const rate = audio[0x78b5] ?? audio[0xb5];
    Object.assign(found, { hasSound: true, count: audio[0x9f] ? file.byte(audio[0x9f][0]) : 1,
      rate: codec.startsWith("A_OPUS") ? OPUS_RATE : Math.round(rate ? float(file, ...rate) : 8000) });
  };
  walk(0, file.length);
  const { scale = 1e6, duration, ...known } = found;
  return { ...known, durationS: duration ? (duration * scale) / 1e9 : undefined };
};

const float = (file, from, to) => {
  if (to - from === 8) return file.view.getFloat64(from);
  return to - from === 4 ? file.view.getFloat32(from) : 0;
};

/* { length (bytes), samples, rate, count, bits (kbit/s) } of the MPEG audio frame at a place, or null. */
const mpegFrame = (file, at) => {
  const version = (file.byte(at + 1) >> 3) & 3; // 3 for 1, 2 for 2, 0 for 2.5
  const layer = 4 - ((file.byte(at + 1) >> 1) & 3);
  const index = file.byte(at + 2) >> 4;
  const rateIndex = (file.byte(at + 2) >> 2) & 3;
  const isSync = file.byte(at) === 0xff && (file.byte(at + 1) & 0xe0) === 0xe0;
  if (!isSync || version === 1 || layer === 4 || [0, 15].includes(index) || rateIndex === 3) return null;
  const rate = MPEG_RATES[rateIndex] / { 3: 1, 2: 2, 0: 4 }[version];
  const kbits = BITRATES[version === 3][layer][index - 1];
  const padding = (file.byte(at + 2) >> 1) & 1;
  const samples = layer === 1 ? 384 : layer === 3 && version !== 3 ? 576 : 1152;
  const length = layer === 1 ? (Math.floor((12_000 * kbits) / rate) + padding) * 4
    : Math.floor(((samples / 8) * 1000 * kbits) / rate) + padding;
  return { length, samples, rate, kbits, layer, count: file.byte(at + 3) >> 6 === 3 ? 1 : 2, isFirst: version === 3 };
};

const mpeg = (file, start) => {
  for (let at = start; at < Math.min(start + SEARCH, file.length); at += 1) {
    const frame = mpegFrame(file, at);
    let next = at;
    for (let i = 0; frame && next >= 0 && i < MIN_FRAMES; i += 1) {
      const following = mpegFrame(file, next);
      next = following?.rate === frame.rate ? next + following.length : -1;
    }
    if (frame && next > 0) return ofFrames(file, at, frame);
  }
  return null;
};

/* By the first frame, which may hold information about the others: how many there are. */
const ofFrames = (file, at, { layer, rate, count, samples, kbits, isFirst }) => {
  const side = isFirst ? 32 : 17; // bytes in front of it; about half for one channel
  const info = at + 4 + (count === 2 ? side : (side + 2) >> 1);
  let frames = 0;
  if (["Xing", "Info"].includes(file.text(info, 4)) && file.byte(info + 7) & 1) frames = file.number(info + 8, 4);
  if (file.text(at + 36, 4) === "VBRI") frames = file.number(at + 50, 4);
  return { kind: layer === 3 ? "mp3" : "other", hasSound: true, rate, count,
    durationS: frames ? (frames * samples) / rate : undefined,
    estimateS: (file.length - at) / (125 * kbits) };
};

const adts = (file, start) => {
  if (file.byte(start) !== 0xff || (file.byte(start + 1) & 0xf6) !== 0xf0) return null;
  const rate = AAC_RATES[(file.byte(start + 2) >> 2) & 15];
  let frames = 0;
  for (let at = start; file.byte(at) === 0xff; frames += 1) {
    const length = ((file.byte(at + 3) & 3) << 11) + (file.byte(at + 4) << 3) + (file.byte(at + 5) >> 5);
    if (length < 7) break;
    at += length;
  }
  return { kind: "aac", hasSound: true, rate, estimateS: (frames * 1024) / rate };
};
