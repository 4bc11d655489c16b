/* One live stream as the service keeps it: its inbox, its published state and its faults. Times are in seconds
   of one monotonic clock. */
import { SerdemoError } from "./errors.js";
import { CLIPPED_SHARE, QUIET_DBFS, SILENT_DBFS } from "./quality.js";
import { SAMPLE_RATE } from "./samples.js";

export const MAX_BACKLOG_S = 60; // of sound that was not scored yet
export const NO_SOUND_S = 2; // when nothing arrives for so long, something is wrong
export const SILENT_S = 2; // of digital silence, longer than a pause between words
export const WARNING_S = 5; // a warning is shown for so long after its cause
export const CLOCK_S = 10; // arrivals by which the time of speaking is estimated
export const MAX_REORDERED = 8; // pieces that may overtake a late one before that one counts as lost

const EMPTY_STATE = {
  label: "", confidence: 0, unsure: true, probabilities: {}, is_speaking: false, level_dbfs: -120, peak: 0,
  clipped: 0, delay_s: null, received_samples: 0, received_s: 0, lost_pieces: 0, n_scored: 0, n_silent: 0,
  n_skipped: 0, segments: [],
};
const NO_SEGMENT = { label: "", confidence: 0, probabilities: {}, speech: 0 };

/* A stream with its inbox and its faults. `tracker` is the SpeakerTracker of a stream that adapts. */
export class LiveSession {
  constructor(stream, rate, now, tracker = null) {
    Object.assign(this, { stream, rate, tracker });
    this.receivedAt = this.scoredAt = now; // when something last arrived, and was last scored
    this.ending = false; // nothing more will arrive
    this.ended = false; // all of it is scored, or it failed
    this.failure = null;
    this.inbox = [];
    this.collected = false; // the worker has pieces that are not scored yet
    this.backlogS = this.receivedS = 0;
    this.startEstimates = []; // [arrival, estimate]
    this.startedAt = now; // when the first sample was spoken
    this.expected = this.lost = this.skipped = 0;
    this.early = new Map();
    this.lostAt = this.skippedAt = -Infinity;
    this.loudS = 0; // where in the sound it was last not silent
    this.delayS = null;
    this.published = EMPTY_STATE;
  }

  /* Puts the numbered piece of samples into the inbox, in order. Throws SerdemoError, and takes nothing, for
     sound that comes too fast, and when the stream has failed. */
  receive(samples, sequence, now) {
    if (this.failure) throw this.failure;
    if (this.backlogS + samples.length / this.rate > MAX_BACKLOG_S) {
      throw new SerdemoError(
        "The sound comes faster than it can be answered: send it at the pace it is spoken.",
      );
    }
    this.receivedAt = now;
    if (sequence < this.expected) return;
    if (!this.early.has(sequence)) this.early.set(sequence, samples);
    this.release(MAX_REORDERED, now);
  }

  /* Marks the end: nothing more will arrive. */
  end(now) {
    this.ending = true;
    this.receivedAt = now;
    this.release(0, now);
  }

  /* Empties the inbox; returns its pieces. */
  collect() {
    const pieces = this.inbox;
    this.inbox = [];
    this.backlogS = 0;
    this.collected = true;
    return pieces;
  }

  /* Whether something was received that is not scored yet. */
  get pending() {
    return this.inbox.length > 0 || this.collected || (this.ending && !this.ended);
  }

  /* Stops scoring this stream; `sentence` is the error that its user gets. */
  fail(sentence) {
    this.failure = new SerdemoError(sentence);
    this.ended = true;
  }

  /* Counts ready windows that are left out. */
  skip(count, now) {
    this.skipped += count;
    this.skippedAt = now;
  }

  /* Offset to subtract from the embedding of the next window, null for none. */
  get speakerOffset() {
    return this.tracker ? this.tracker.adapter.offset : null;
  }

  /* Adds the scores of a window to the stream. `voice` is its speaker embedding, if there is one. */
  addScores(window, embedding, probabilities, now, voice) {
    this.stream.addScores(window, probabilities);
    this.tracker?.update(window, embedding, voice);
    this.delayS = Math.max(0, now - this.startedAt - window.stop / SAMPLE_RATE);
  }

  /* Makes the stream's state visible, after all that was collected is scored. */
  publish(now) {
    this.scoredAt = now;
    const { stream } = this;
    const { meter } = stream;
    if (meter.levelDbfs >= SILENT_DBFS) this.loudS = stream.receivedS;
    const newest = stream.segments.at(-1) || NO_SEGMENT;
    this.published = {
      label: newest.label,
      confidence: newest.confidence,
      unsure: newest.confidence < stream.unsureBelow || newest.speech === 0,
      probabilities: newest.probabilities,
      is_speaking: stream.isSpeaking,
      level_dbfs: meter.levelDbfs,
      peak: meter.peak,
      clipped: meter.clipped,
      delay_s: this.delayS,
      received_samples: stream.receivedSamples,
      received_s: stream.receivedS,
      lost_pieces: this.lost,
      n_scored: stream.nScored,
      n_silent: stream.nSilent,
      n_skipped: this.skipped,
      segments: [...stream.segments],
    };
    this.collected = false;
    if (stream.finished) this.ended = true;
  }

  /* The state published last, with the warnings and the adaptation of now. */
  state(now) {
    const { tracker } = this;
    return {
      ...this.published,
      adapted_s: tracker ? tracker.adapter.speechS : 0,
      adaptation: tracker ? tracker.adapter.trust : 0,
      voice_changes: tracker ? tracker.changes : 0,
      warnings: [...this.warnings(now)],
    };
  }

  append(samples, now) {
    const seconds = samples.length / this.rate;
    this.inbox.push(samples);
    this.backlogS += seconds;
    this.receivedS += seconds;
    // Nothing arrives before it is spoken, so the least late arrival tells the beginning.
    this.startEstimates.push([now, now - this.receivedS]);
    this.startEstimates = this.startEstimates.filter(([arrival]) => arrival >= now - CLOCK_S);
    this.startedAt = Math.min(...this.startEstimates.map(([, estimate]) => estimate));
  }

  /* Takes numbered pieces in order; with more than `maxWaiting`, gives up the missing one. */
  release(maxWaiting, now) {
    while (this.early.size && (this.early.has(this.expected) || this.early.size > maxWaiting)) {
      const first = Math.min(...this.early.keys());
      if (first > this.expected) {
        this.lost += first - this.expected;
        this.lostAt = now;
      }
      this.expected = first + 1;
      this.append(this.early.get(first), now);
      this.early.delete(first);
    }
  }

  * warnings(now) {
    const state = this.published;
    if (this.failure) {
      yield this.failure.message;
      return;
    }
    if (now - this.receivedAt > NO_SOUND_S) {
      yield "No sound arrives: check that the microphone is connected and allowed.";
    } else if (state.received_s - this.loudS >= SILENT_S) {
      yield "The microphone is silent: check that it is on and not muted.";
    }
    if (now - this.lostAt < WARNING_S) {
      yield "Some sound was lost on its way here: use a steadier connection.";
    }
    if (now - this.skippedAt < WARNING_S) {
      yield "This machine is busy: answers come later and some are left out.";
    }
    if (state.clipped > CLIPPED_SHARE) {
      yield "The sound is clipped: turn the microphone down or move away from it.";
    }
    if (state.is_speaking && state.level_dbfs < QUIET_DBFS) {
      yield "The voice is very quiet: turn the microphone up or move closer to it.";
    }
  }
}
