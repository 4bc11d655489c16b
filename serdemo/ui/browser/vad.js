/* Voice activity detection by silero-vad, for whole clips and streams. */
import { SAMPLE_RATE, concat } from "./samples.js";

export const CHUNK = 512; // samples (32 ms) per speech probability
export const VAD_THRESHOLD = Math.fround(0.3); // a chunk at or above this probability counts as speech
export const PAUSE_THRESHOLD = Math.fround(0.2); // a chunk below this probability is a pause

const CONTEXT = 64; // samples before each chunk that the network reads too
const BATCH = 1024; // chunks per run of the network, which bounds the memory
const CELLS = 128;

const zeros = () => ({ data: new Float32Array(CELLS), dims: [1, 1, CELLS] });

/* Speech probabilities by the network for sequences: chunks as one batch, then the recurrent cell over
   them. `session` is that of `OnnxRuntime.createSession`. It holds no state of a sound. */
export class SpeechDetector {
  constructor(session) {
    this.session = session;
  }

  /* Speech probabilities, one per 512 samples at 16 kHz; the last chunk is padded with zeros. */
  async probabilities(samples) {
    const session = new SpeechSession(this);
    return concat([await session.push(samples), await session.finish()]);
  }

  /* Resolves to { probabilities (n), state } for 64 + 512 n samples, of which the first 64 are the end of
     the previous call's. `state` is what that call returned, null at the beginning of a sound. */
  async score(samples, state) {
    const n = (samples.length - CONTEXT) / CHUNK;
    const width = CONTEXT + CHUNK;
    const chunks = new Float32Array(n * width);
    for (let i = 0; i < n; i += 1) chunks.set(samples.subarray(i * CHUNK, i * CHUNK + width), i * width);
    const { h, c } = state ?? { h: zeros(), c: zeros() };
    const output = await this.session.run({ input: { data: chunks, dims: [n, width] }, h, c });
    return { probabilities: output.speech_probs.data, state: { h: output.hn, c: output.cn } };
  }
}

/* Speech detection on a sound that arrives in pieces; the cuts do not change the result.

   One session per sound. Wait for one call before the next. */
export class SpeechSession {
  constructor(detector) {
    this.detector = detector;
    this.past = new Float32Array(CONTEXT);
    this.rest = new Float32Array(0);
    this.state = null;
  }

  /* Appends samples at 16 kHz; resolves to the probabilities of the chunks now complete. */
  async push(samples) {
    const sound = this.rest.length ? concat([this.rest, samples]) : samples;
    const nChunks = Math.floor(sound.length / CHUNK);
    this.rest = sound.slice(nChunks * CHUNK);
    const result = new Float32Array(nChunks);
    for (let first = 0; first < nChunks; first += BATCH) {
      const last = Math.min(first + BATCH, nChunks);
      const part = concat([this.past, sound.subarray(first * CHUNK, last * CHUNK)]);
      const { probabilities, state } = await this.detector.score(part, this.state);
      result.set(probabilities, first);
      this.state = state;
      this.past = part.slice(-CONTEXT);
    }
    return result;
  }

  /* Probability of an incomplete last chunk, padded with zeros: one, or none without one. */
  finish() {
    const missing = (CHUNK - (this.rest.length % CHUNK)) % CHUNK;
    return this.push(new Float32Array(missing));
  }
}

const speechCount = (probabilities) => {
  let count = 0;
  for (const value of probabilities) if (value >= VAD_THRESHOLD) count += 1;
  return count;
};

/* Share in [0, 1] of speech among the chunks that overlap samples `start` to `stop`. */
export const speechShare = (probabilities, start, stop) => {
  const chunks = probabilities.subarray(Math.floor(start / CHUNK), Math.ceil(stop / CHUNK));
  return chunks.length ? speechCount(chunks) / chunks.length : 0;
};

/* Seconds of speech; below `NO_SPEECH_S` a recording counts as silent. */
export const speechDurationS = (probabilities) => (speechCount(probabilities) * CHUNK) / SAMPLE_RATE;
