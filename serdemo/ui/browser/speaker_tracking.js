/* The speaker of a live stream: an estimate that grows while one speaks, and starts anew with another voice,
   which the embedding of a speaker model detects. */
import { roundValues } from "./novelty.js";
import { SpeakerAdapter, newSpeechS, readValues } from "./speaker_adaptation.js";
import { dot, norm } from "./speaker_prior.js";

export const MIN_VOICE_RATIO = 0.5; // speech in a window that tells voices apart
export const RECENT_VOICES = 2; // windows whose mean is compared
export const MAX_VOICE_SIZE = 4096; // of a speaker embedding in a saved state
export const MIN_SIMILARITY = 0.3; // cosine below which the recent windows are of another voice

/* A vector scaled to length 1. */
const unit = (vector) => {
  const length = norm(vector) + 1e-9;
  return vector.map((value) => value / length);
};

const add = (a, b) => a.map((value, i) => value + b[i]);

/* Detector of a change of voice, from speaker embeddings of windows: the recent ones are compared with the
   sum of those before them. */
export class VoiceGuard {
  constructor() {
    this.reference = null; // sum of unit vectors
    this.recent = [];
  }

  /* Adds a window's embedding; whether the voice has changed, after which it starts anew. */
  update(voice) {
    this.recent.push(unit(Float64Array.from(voice)));
    if (this.recent.length < RECENT_VOICES) return false;
    const recent = this.recent.reduce(add);
    if (this.reference && this.reference.length !== recent.length) this.reference = null;
    if (this.reference && dot(unit(recent), unit(this.reference)) < MIN_SIMILARITY) {
      this.reference = recent;
      this.recent = [];
      return true;
    }
    const oldest = this.recent.shift();
    this.reference = this.reference ? add(this.reference, oldest) : oldest;
    return false;
  }
}

/* The estimate of a stream's speaker, in windows' order. With `grows` each window adds to it. `changes` counts
   the changes of voice. */
export class SpeakerTracker {
  constructor(prior, grows = true) {
    this.adapter = new SpeakerAdapter(prior);
    this.guard = new VoiceGuard();
    this.grows = grows && prior.unlabelled;
    this.changes = 0;
    this.stop = this.voiceStop = 0; // samples before these have been used
  }

  /* Whether `update` needs the speaker embedding of this window. */
  wantsVoice(window) {
    const wanted = this.grows && !window.whole
      && window.speechRatio >= MIN_VOICE_RATIO && window.start >= this.voiceStop;
    if (wanted) this.voiceStop = window.stop;
    return wanted;
  }

  /* Adds a scored window with its embedding and, where there is one, its speaker embedding. */
  update(window, embedding, voice) {
    if (!this.grows || window.whole) return;
    if (voice && this.guard.update(voice)) {
      this.changes += 1;
      this.adapter.reset();
    }
    this.adapter.update(embedding, newSpeechS(window, this.stop));
    this.stop = Math.max(this.stop, window.stop);
  }

  /* The estimate and the sum of the speaker embeddings, for a browser to hold. */
  toJson() {
    const { reference } = this.guard;
    return { ...this.adapter.toJson(), voice: reference ? roundValues(reference) : [] };
  }

  /* Inverse of `toJson`; throws SerdemoError for anything else, or of another model. */
  static fromJson(prior, values, grows) {
    const tracker = new SpeakerTracker(prior, grows);
    tracker.adapter = SpeakerAdapter.fromJson(prior, values);
    const { voice } = values;
    if (Array.isArray(voice) && voice.length && voice.length <= MAX_VOICE_SIZE) {
      tracker.guard.reference = readValues(voice, voice.length);
    }
    return tracker;
  }
}
