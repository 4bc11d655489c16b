/* Files as sound, on the page's main thread: WAV and AIFF by ourselves, all else by the browser.

   A browser resamples what it decodes to the rate of its context, in a way of its own: so the file's own rate
   is read first, and the context made with that. */
import { inspect } from "./containers.js";
import { SerdemoError } from "./errors.js";
import { UNREADABLE, decodePcm, lengthNotes } from "./pcm_file.js";
import { AudioError, MAX_RATE, MIN_RATE } from "./samples.js";

export const MAX_MB = 200;
export const MAX_VALUES = 100_000_000; // of all channels together: 400 MB of memory
export const MAX_S = 3600;
export const MAX_CHANNELS = 32; // that browsers decode

const USUAL_RATE = 48_000;
const DAMAGED = "is damaged or cut off: save it or copy it again.";
const UNSUPPORTED = "is in a format that this browser cannot read: convert it to WAV or MP3, or try another browser.";
const NO_SOUND = "holds no sound: record it or save it again.";
const ONLY_PICTURES = "holds no sound that can be read, only pictures: give a recording with a voice.";
const NO_INDEX = "is cut off before its index, without which it is lost: save or copy it again.";
// Kinds of which a browser that reads one reads all.
const TYPES = { flac: "audio/flac", mp3: "audio/mpeg", ogg: "audio/ogg" };

/* Resolves to { name, rate, channels: [Float32Array], notes } for a File or a Blob with a `name`. Throws
   SerdemoError for one that cannot be read as sound, or that is too large for a browser. */
export const decodeFile = async (file) => {
  const { name } = file;
  try {
    return { name, ...await decode(file) };
  } catch (error) {
    throw error instanceof AudioError ? new AudioError(error.predicate, name) : error;
  }
};

const decode = async (file) => {
  if (file.size > MAX_MB * 2 ** 20) {
    throw new AudioError(`is larger than ${MAX_MB} MB: cut it, or save it as MP3 or OGG.`);
  }
  const bytes = await contentOf(file);
  if (!bytes.length) throw new AudioError("is empty: record it or copy it again.");
  const found = inspect(bytes);
  refuse(found);
  if (found.pcm) {
    const sound = decodePcm(new DataView(bytes.buffer), found.pcm);
    refuseLength(sound.channels[0].length / sound.rate, sound.rate, found.count);
    return sound;
  }
  const { rate = USUAL_RATE } = found;
  const buffer = await decodeByBrowser(bytes.buffer, rate, found);
  refuseLength(buffer.duration, buffer.sampleRate, buffer.numberOfChannels);
  if (!buffer.length) throw new AudioError(NO_SOUND);
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, c) => buffer.getChannelData(c).slice());
  const notes = [...trackNotes(found.nTracks), ...lengthNotes(buffer.duration, found.durationS, found.isCut)];
  return { rate: buffer.sampleRate, channels, notes };
};

const contentOf = async (file) => {
  try {
    return new Uint8Array(await file.arrayBuffer());
  } catch {
    throw new AudioError("cannot be opened: check the file.");
  }
};

/* Throws for what a file's header tells already. */
const refuse = ({ kind, hasSound, hasVideo, isComplete, rate, count, durationS, estimateS }) => {
  if (isComplete === false) throw new AudioError(NO_INDEX);
  if (!hasSound) throw new AudioError(hasVideo ? ONLY_PICTURES : UNREADABLE);
  if (kind === "other") throw new AudioError(UNSUPPORTED);
  if (rate === 0 || count === 0) throw new AudioError(UNREADABLE);
  if (rate < MIN_RATE || rate > MAX_RATE) {
    throw new AudioError(`has a sample rate of ${rate} Hz: convert it to one between ${MIN_RATE / 1000} and ${MAX_RATE / 1000} kHz.`);
  }
  if (count > MAX_CHANNELS) throw new AudioError(`has ${count} channels: save it with at most ${MAX_CHANNELS}.`);
  refuseLength(durationS ?? estimateS ?? 0, rate ?? USUAL_RATE, count ?? 1);
};

const refuseLength = (seconds, rate, count) => {
  const limit = Math.min(MAX_S, MAX_VALUES / rate / count);
  if (seconds > limit) {
    throw new AudioError(`is ${Math.round(seconds / 60)} minutes long, and a browser holds at most ${Math.floor(limit / 60)} of such sound: cut it into shorter files.`);
  }
};

/* A sentence for a film of several sound tracks, of which the package uses the one with the voice. */
const trackNotes = (n = 1) =>
  (n > 1 ? [`Of the ${n} tracks the first is used: if it does not hold the voice, save the one that does by itself.`]
    : []);

/* The AudioBuffer of a file's bytes, which are gone then. */
const decodeByBrowser = async (buffer, rate, { kind }) => {
  try {
    return await contextOf(rate).decodeAudioData(buffer);
  } catch (error) {
    if (error instanceof SerdemoError) throw error;
    throw new AudioError(canRead(kind) ? DAMAGED : UNSUPPORTED);
  }
};

const canRead = (kind) => Boolean(TYPES[kind] && new Audio().canPlayType(TYPES[kind]));

/* A context of a rate, or of the usual one where the browser takes it for none. */
const contextOf = (rate) => {
  try {
    return new OfflineAudioContext(1, 1, rate);
  } catch {
    return new OfflineAudioContext(1, 1, USUAL_RATE);
  }
};
