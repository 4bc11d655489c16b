/* Recordings of one person: each is scored with the offset estimated from all of them. */
import { SerdemoError, UsageError } from "./errors.js";
import { warnings } from "./quality.js";
import { estimateOffset, speechSeconds } from "./speaker_adaptation.js";
import { requirePrior } from "./speaker_prior.js";

/* Predicts recordings of one person, without a label of any, as { predictions, speechS }: the predictions in
   order, and the seconds of speech that the speaker's offset was estimated from. A recording that could not be
   read is given as its SerdemoError, which keeps its place. `options` are those of `Predictor.embedClip`;
   `progress` counts the seconds of all recordings. Throws UsageError for fewer than two recordings, SerdemoError
   for a model that cannot get used to a voice. */
export const predictSameSpeaker = async (predictor, recordings, { progress = () => {}, ...options } = {}) => {
  const prior = await requirePrior(predictor, { unlabelled: true });
  if (recordings.length < 2) {
    throw new UsageError("One recording tells nothing of a person: give two or more of the same.");
  }
  const readable = recordings.filter((recording) => !(recording instanceof SerdemoError));
  const total = readable.reduce((sum, { durationS }) => sum + durationS, 0);
  const clips = new Map();
  let before = 0;
  for (const recording of readable) {
    const done = (seconds) => progress(before + seconds, total);
    clips.set(recording, await predictor.embedClip(recording.samples, { ...options, progress: done }));
    before += recording.durationS;
  }
  const embedded = [...clips.values()];
  const seconds = embedded.map(({ windows }) => speechSeconds(windows));
  const offset = estimateOffset(prior, embedded.map(({ embedding }) => embedding), seconds);
  const predictions = [];
  for (const recording of recordings) {
    if (clips.has(recording)) {
      const { stream } = await predictor.score(clips.get(recording), offset);
      predictions.push(stream.result(recording.name, warnings(recording, stream.speech)));
    } else {
      predictions.push(recording);
    }
  }
  return { predictions, speechS: seconds.reduce((sum, value) => sum + value, 0) };
};
