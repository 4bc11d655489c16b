/* Decoded recordings as mono sound at 16 kHz. */
import { ChannelAnalysis, Mix } from "./channels.js";
import { AudioError, Resampler, SAMPLE_RATE, concat, toFrames } from "./samples.js";

export const BLOCK_VALUES = 2 ** 18; // values in one block, all channels together

/* Resolves to { name, samples (mono, 16 kHz), durationS, sourceRate, channels, clipped, notes } for a file of
   `decodeFile`, { name, rate, channels: [Float32Array], notes }. `clipped` is the share in [0, 1] of source
   samples at full scale; `notes` are sentences about what could not be read and which channels were used. The
   `detector` finds the channels that hold a voice. `checkCancelled` is called between blocks, and waited for.
   Throws AudioError for what is no sound. */
export const readRecording = async (decoded, detector, { checkCancelled = async () => {} } = {}) => {
  try {
    return await read(decoded, detector, checkCancelled);
  } catch (error) {
    if (error instanceof AudioError) throw new AudioError(error.predicate, decoded.name);
    throw error;
  }
};

const read = async ({ name, rate, channels, notes = [] }, detector, checkCancelled) => {
  const resampler = new Resampler(rate);
  const count = channels.length;
  const length = count ? channels[0].length : 0;
  const step = Math.max(1, Math.floor(BLOCK_VALUES / count));
  const block = (from) => channels.map((channel) => channel.subarray(from, from + step));
  const analysis = new ChannelAnalysis(rate, count, detector);
  let nClipped = 0;
  for (let from = 0; from < length; from += step) {
    await checkCancelled();
    const frames = block(from).map((channel) => {
      const { frames: checked, clipped } = toFrames(channel);
      nClipped += clipped;
      return checked;
    });
    if (count > 1) await analysis.push(frames);
  }
  const mix = count > 1 ? analysis.decide() : new Mix();
  const parts = [];
  for (let from = 0; from < length; from += step) {
    await checkCancelled();
    parts.push(resampler.push(mix.apply(block(from))));
  }
  const samples = concat([...parts, resampler.finish()]);
  if (!samples.length) throw new AudioError("holds no sound: record it or save it again.");
  return {
    name,
    samples,
    durationS: samples.length / SAMPLE_RATE,
    sourceRate: rate,
    channels: count,
    clipped: nClipped / (length * count),
    notes: mix.note ? [mix.note, ...notes] : [...notes],
  };
};
