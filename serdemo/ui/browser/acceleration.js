/* A graphics processor in place of WebAssembly, where it is measured to be faster. */
export const MIN_GAIN = 1.5; // times as fast: a window of another length costs it some extra time
export const MAX_ERROR = 1e-3; // of an embedding's numbers
const ROUNDS = 3;
const WARM_UP = 2; // its programs are compiled in the first runs

/* Lets `model` embed by the session of `candidate`, a model of the same checkpoint on a graphics processor, if that
   is faster and as exact. Resolves to the seconds of a window `before` and `after`, and whether it `isUsed`. */
export const accelerate = async (model, candidate, now = () => performance.now() / 1000) => {
  const slow = await measure(model, now);
  const fast = await measure(candidate, now);
  const error = Math.max(...slow.row.map((value, i) => Math.abs(value - fast.row[i])));
  const isUsed = error < MAX_ERROR && slow.seconds > MIN_GAIN * fast.seconds;
  if (isUsed) model.session = new Replaceable(candidate.session, model.session);
  else await candidate.session.release();
  return { before: slow.seconds, after: fast.seconds, isUsed };
};

const measure = async (model, now) => {
  // Three seconds of a hum; what a network computes takes the same time for any sound.
  const wave = Float32Array.from({ length: 48_000 }, (_, i) => 0.1 * Math.sin(i / 10));
  let seconds = Infinity;
  let row;
  for (let round = 0; round < WARM_UP + ROUNDS; round += 1) {
    const began = now();
    [row] = await model.embeddings([wave]);
    if (round >= WARM_UP) seconds = Math.min(seconds, now() - began);
  }
  return { row, seconds };
};

/* A session on a graphics processor, which a browser may take away at any time: then `other` goes on. */
class Replaceable {
  constructor(session, other) {
    this.session = session;
    this.other = other;
  }

  async run(inputs, outputs) {
    const { session } = this;
    try {
      return await session.run(inputs, outputs);
    } catch {
      this.session = this.other;
      return this.other.run(inputs, outputs);
    }
  }
}
