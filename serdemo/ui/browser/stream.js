/* A sound that arrives in pieces: windows to score, voice activity, and aggregation of the scores.

   A file is a stream pushed at once, so file and live sound share one resampler, one voice activity detector
   and one aggregation. No input or output here and no model: the caller takes the windows that are ready, has
   them scored and adds the scores. Segments and predictions have the form of their JSON. */
import { WindowAggregator } from "./aggregation.js";
import { SerdemoError, UsageError } from "./errors.js";
import { LevelMeter, NO_SPEECH_S } from "./quality.js";
import { round } from "./rounding.js";
import { Resampler, SAMPLE_RATE, concat, toFrames } from "./samples.js";
import { NO_SPEECH } from "./timeline.js";
import { CHUNK, SpeechSession, VAD_THRESHOLD, speechDurationS, speechShare } from "./vad.js";

export const WINDOW_S = 3;
export const HOP_S = 0.5;
export const WHOLE_S = 6; // a short sound is scored as one window
// Live sound comes in pieces of a tenth, a fifth or half a second, and a resampler keeps the last 40 ms
// back: a window ending just on a piece's end would have to wait for the next piece.
export const FIRST_S = 0.95;
export const RECENT_SAMPLES = 6 * SAMPLE_RATE; // kept for the estimate of a speaker offset
export const SPEAKING_CHUNKS = 10; // the last 0.3 s decide whether someone speaks now

const WINDOW_SIZE = WINDOW_S * SAMPLE_RATE;
const WHOLE_SIZE = WHOLE_S * SAMPLE_RATE;

/* The most probable label and its probability; "" and 0 for a model without labels. */
const bestOf = (labels, row) => {
  if (!labels.length) return ["", 0];
  const best = row.indexOf(Math.max(...row));
  return [labels[best], row[best]];
};

const named = (labels, row) => Object.fromEntries(labels.map((label, i) => [label, row[i]]));

/* One sound in progress: push samples, take the windows that are ready, add their scores.

   Windows end `firstS` after the beginning and every `hopS` from then on. They reach back to the beginning, at
   most 3 s. A window without speech is not scored: it gives a segment labelled `NO_SPEECH`. After `finish`
   comes one more window, aligned to the end, unless one ended there, and for a sound of up to 6 s one that
   holds all of it. Without `segments`, a sound of up to 6 s has that last window only, and its speech is not
   looked for. Scores do not depend on how the samples were cut.

   `rate` is that of the samples in Hz, `labels` name the probabilities of a window, and `unsureBelow` is the
   confidence below which the result is unsure. Segments are kept for `keepS`, samples until `readyWindows` has
   seen them and no window needs them any more. Wait for one call before the next. */
export class Stream {
  constructor(rate, options) {
    const { labels, detector, unsureBelow = 0, hopS = HOP_S, firstS = FIRST_S, keepS = 60, segments = true } = options;
    Object.assign(this, { labels, unsureBelow, keepS, rate });
    this.meter = new LevelMeter();
    this.finished = false;
    this.receivedSamples = 0; // at the source rate
    this.receivedS = 0;
    this.nScored = 0; // windows
    this.nSilent = 0; // windows without speech
    this.segments = []; // of the last `keepS` seconds, oldest first
    this.speech = new Float32Array(0); // probabilities up to the newest window, one per 32 ms
    this.hop = Math.round(hopS * SAMPLE_RATE);
    this.nextStop = Math.round(firstS * SAMPLE_RATE);
    this.hasTimeline = segments;
    this.resampler = new Resampler(rate);
    this.vad = new SpeechSession(detector);
    this.samples = new Float32Array(0);
    this.samplesStart = 0; // the number of the first sample in `samples`
    this.speechStart = 0; // the number of the first chunk in `speech`
    this.vadStop = 0; // samples before this were passed to the detector
    this.lastStop = 0; // of the newest window
    this.nWindows = 0;
    this.likeliest = null; // [likeness, window] while no window held speech
    this.aggregator = new WindowAggregator(labels.length);
    this.finalTaken = false; // whether `readyWindows` was called after `finish`
  }

  /* Appends mono samples, 16-bit or floats. Throws SerdemoError, and takes nothing, for samples that are no
     sound. */
  push(samples) {
    if (this.finished) throw new UsageError("This stream is finished: open another one.");
    const { frames, clipped } = toFrames(samples);
    if (!frames.length) return;
    const seconds = frames.length / this.rate;
    this.receivedSamples += frames.length;
    this.receivedS += seconds;
    const sound = this.resampler.push(frames);
    this.meter.update(sound, clipped / frames.length, seconds);
    this.append(sound);
  }

  /* Appends samples of a decoded recording, which need no check, resampling or level meter. */
  pushDecoded(samples) {
    this.receivedSamples += samples.length;
    this.receivedS += samples.length / SAMPLE_RATE;
    this.append(samples);
  }

  /* Marks the end of the sound: the remaining windows are ready now. */
  finish() {
    if (this.finished) return;
    this.append(this.resampler.finish());
    this.finished = true;
  }

  /* Windows with speech that were completed since the last call, in order. Give each to `addScores` in this
     order; one left out has no segment and counts for nothing. At the end of a short sound the window that
     holds all of it is ready, with speech or not; at that of a longer one without speech, the window most like
     speech. */
  async readyWindows() {
    const ready = [];
    const { end } = this;
    if (!this.hasTimeline && end <= WHOLE_SIZE) {
      if (this.finished && !this.finalTaken) ready.push(this.wholeWindow(1));
      this.finalTaken = this.finished;
      return ready;
    }
    if (this.nextStop <= end || this.finished) await this.detectSpeech(end);
    for (; this.nextStop <= end; this.nextStop += this.hop) {
      // The chunk that reaches beyond the window may not have come yet: it never counts.
      this.cut(this.nextStop, Math.floor(this.nextStop / CHUNK), ready);
    }
    if (this.finished && this.lastStop < end) this.cut(end, Math.ceil(end / CHUNK), ready);
    if (this.finished && !this.finalTaken) {
      this.finalTaken = true;
      if (this.nWindows > 1 && end <= WHOLE_SIZE) {
        ready.push(this.wholeWindow(speechShare(this.speech, 0, end)));
      } else if (!this.nScored && !ready.length && this.likeliest) {
        ready.push(this.likeliest[1]);
      }
    }
    this.forget(end);
    return ready;
  }

  /* Adds the probabilities of a window of `readyWindows`; returns its smoothed segment. */
  addScores(window, probabilities) {
    this.nScored += 1;
    const smoothed = this.aggregator.update(window, probabilities);
    const segment = this.segment(window, smoothed);
    if (!window.whole && smoothed) this.keep(segment);
    return segment;
  }

  /* Prediction for the whole stream so far: the speech-weighted mean of its windows or, once a short sound is
     finished, the scores of the one window that holds all of it. Throws SerdemoError while no window was
     scored. */
  result(name, warnings = []) {
    const whole = this.aggregator.mean;
    if (!whole) throw new SerdemoError(`No answer for ${name}: it holds no sound yet.`);
    const [label, confidence] = bestOf(this.labels, whole);
    return {
      file: name,
      duration_s: round(this.end / SAMPLE_RATE, 3),
      label,
      confidence,
      unsure: !this.aggregator.hasSpeech || confidence < this.unsureBelow,
      probabilities: named(this.labels, whole),
      segments: [...this.segments],
      warnings: [...warnings],
    };
  }

  /* Samples at 16 kHz so far. */
  get end() {
    return this.samplesStart + this.samples.length;
  }

  /* The newest samples at 16 kHz, at most 6 s of them, that windows were cut from. */
  get recent() {
    return this.samples.subarray(Math.max(0, this.samples.length - RECENT_SAMPLES));
  }

  /* Whether someone spoke at the end of the newest window. */
  get isSpeaking() {
    return speechDurationS(this.speech.slice(-SPEAKING_CHUNKS)) >= NO_SPEECH_S;
  }

  append(samples) {
    if (samples.length) this.samples = concat([this.samples, samples]);
  }

  /* Runs the detector on the samples since the last call; many chunks at once cost least. */
  async detectSpeech(end) {
    const fresh = this.samples.subarray(this.vadStop - this.samplesStart);
    const parts = [this.speech, await this.vad.push(fresh)];
    if (this.finished) parts.push(await this.vad.finish());
    this.speech = concat(parts);
    this.vadStop = end;
  }

  wholeWindow(speechRatio) {
    return { start: 0, stop: this.end, wave: this.samples, speechRatio, whole: true };
  }

  /* Cuts the window that ends at `stop`; appends it to `ready` if it holds speech. */
  cut(stop, lastChunk, ready) {
    const start = Math.max(0, stop - WINDOW_SIZE);
    const wave = this.samples.subarray(start - this.samplesStart, stop - this.samplesStart);
    const first = Math.floor(start / CHUNK) - this.speechStart;
    const chunks = this.speech.subarray(first, lastChunk - this.speechStart);
    const hasSpeech = speechDurationS(chunks) >= NO_SPEECH_S;
    const speechRatio = hasSpeech
      ? chunks.filter((value) => value >= VAD_THRESHOLD).length / chunks.length : 0;
    const window = { start, stop, wave, speechRatio, whole: false };
    this.lastStop = stop;
    this.nWindows += 1;
    if (hasSpeech) {
      ready.push(window);
      this.likeliest = null;
      return;
    }
    this.nSilent += 1;
    this.keep(this.segment(window, null));
    const likeness = chunks.length ? chunks.reduce((sum, value) => sum + value, 0) / chunks.length : 0;
    if (!this.nScored && (!this.likeliest || likeness > this.likeliest[0])) {
      this.likeliest = [likeness, window];
    }
  }

  /* Segment of a window with its probabilities, or null where it holds no speech. */
  segment(window, row) {
    const { labels } = this;
    const [label, confidence] = row ? bestOf(labels, row) : [NO_SPEECH, 0];
    return {
      start_s: round(window.start / SAMPLE_RATE, 3),
      end_s: round(window.stop / SAMPLE_RATE, 3),
      label,
      confidence,
      probabilities: named(labels, row || labels.map(() => 1 / labels.length)),
      speech: round(window.speechRatio, 3),
    };
  }

  keep(segment) {
    // Those without speech are known before the scores of windows before them.
    const after = this.segments.findLastIndex((other) => other.end_s <= segment.end_s);
    this.segments.splice(after + 1, 0, segment);
  }

  /* Drops what neither a later window nor the last `keepS` seconds need. */
  forget(end) {
    const needed = Math.max(this.samplesStart, end - Math.max(WINDOW_SIZE, WHOLE_SIZE, RECENT_SAMPLES));
    this.samples = this.samples.subarray(needed - this.samplesStart);
    if (this.finished) this.samples = this.samples.slice(); // not a view that holds the whole sound
    this.samplesStart = needed;
    const oldestS = end / SAMPLE_RATE - this.keepS;
    this.segments = this.segments.filter((segment) => segment.end_s > oldestS);
    const firstChunk = Math.floor(Math.max(0, Math.min(needed, oldestS * SAMPLE_RATE)) / CHUNK);
    if (firstChunk > this.speechStart) {
      this.speech = this.speech.slice(firstChunk - this.speechStart);
      this.speechStart = firstChunk;
    }
  }
}
