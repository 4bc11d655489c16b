/* Live inference: the ready windows of all streams of a model are scored in one batch, and models side by side
   have a service each. */
import { SerdemoError } from "./errors.js";
import { LiveSession } from "./live_session.js";
import { requirePrior } from "./speaker_prior.js";
import { SpeakerTracker } from "./speaker_tracking.js";
import { estimateSpeakerOffset, withoutOffset } from "./speaker_adaptation.js";
import { HOP_S } from "./stream.js";

export const MAX_ROUND_S = 0.5; // of scoring at a time, so that no stream waits long for another
export const IDLE_S = 60; // a stream to which nothing was pushed for so long is dropped
export const MAX_STREAMS = 64;
export const MAX_DELAY_S = 0.6; // of a live answer: a model that is expected to be later does not keep up
export const PIECE_S = 0.15; // the sound comes in pieces of 0.1 s, each by a call
export const MODEL_FAILED = "The model could not answer this sound: stop and start again.";
export const CLOSED = "This live stream is closed: start it again.";

const clock = () => performance.now() / 1000;

/* Mean seconds from the end of a live window to its scores. A window takes `costS` seconds; `utilization` is
   the part of the time that scoring takes. Windows arrive independently of each other (queue M/D/1); infinite
   from a utilization of 1 on. */
export const expectedDelayS = (costS, utilization) =>
  (utilization >= 1 ? Infinity : PIECE_S + costS * (1 + utilization / (2 * (1 - utilization))));

/* A model of which the loading begins when it is first wanted; null until it is there, or if it cannot be
   read: nothing waits for it. */
export class LazyModel {
  constructor(load) {
    this.load = load;
    this.model = null;
    this.loading = null; // the promise of the loading
  }

  get() {
    this.loading ??= this.load().then((model) => { this.model = model; }, (problem) => console.warn(problem));
    return this.model;
  }
}

/* Live streams of one model.

   Sound is never dropped: when more windows are ready than can be scored in time, each stream's older ones are
   skipped in favour of its newest, and its state counts them and says so. `speakerModel`, a LazyModel, tells
   voices apart in streams that adapt: without it they do not start anew with another voice. */
export class LiveService {
  constructor(predictor, speakerModel, now = clock) {
    Object.assign(this, { predictor, speakerModel, now });
    this.sessions = new Map();
    this.isWorking = false;
    this.round = null; // the promise of the round in progress
    this.costS = 0; // running mean of the time to score one window
  }

  get size() {
    this.sweep();
    return this.sessions.size;
  }

  has(handle) {
    this.sweep();
    return this.sessions.has(handle);
  }

  /* Seconds to score a window: the running mean, measured before the first. */
  async windowCostS() {
    this.costS ||= await this.predictor.windowCostS();
    return this.costS;
  }

  /* Opens a stream of sound at `rate` Hz and returns its handle. With `adapt` the model gets used to the speaker,
     if it can. Throws SerdemoError when all places are taken, or for an impossible rate. */
  async open(rate, { adapt = false } = {}) {
    const tracker = adapt ? await this.newTracker() : null;
    const stream = this.predictor.stream(rate);
    if (this.size >= MAX_STREAMS) {
      throw new SerdemoError(`All ${MAX_STREAMS} places for live sound are taken: try again in a minute.`);
    }
    const handle = `${this.predictor.name}-${Math.random().toString(36).slice(2)}`;
    this.sessions.set(handle, new LiveSession(stream, rate, this.now(), tracker));
    return handle;
  }

  /* Adds mono samples, 16-bit or floats; returns at once. Pieces, numbered by `sequence` from 0, are put in order;
     one that comes twice is taken once, one that never comes is counted as lost. Throws SerdemoError for sound
     that comes too fast (the stream goes on), and for a stream that is closed or has failed. */
  push(handle, samples, sequence) {
    this.find(handle).receive(samples, sequence, this.now());
    this.wake();
  }

  /* Waits until all that was pushed in order is scored, or `timeoutS` is over. */
  async flush(handle, timeoutS = 1) {
    const session = this.find(handle);
    await this.workUntil(() => session.failure || !session.pending, timeoutS);
  }

  /* Current state of the stream, with the warnings of the time `now`. */
  state(handle, now = this.now()) {
    return this.find(handle).state(now);
  }

  /* Estimates the speaker's offset anew, from the last 6 s of the stream as neutral speech; returns warnings.
     Throws SerdemoError when they hold too little speech; the estimate in use stays. */
  async calibrate(handle) {
    const { stream } = this.find(handle);
    if (!stream.recent.length) {
      throw new SerdemoError("Nothing was heard yet: speak, then calibrate.");
    }
    const { adapter, warnings } = await estimateSpeakerOffset(this.predictor, stream.recent.slice());
    await this.setSpeakerState(handle, adapter.toJson());
    return warnings;
  }

  /* Lets the model get used to the stream's speaker, from nothing, or answer as for any voice. */
  async setAdapting(handle, on) {
    const tracker = on ? await this.newTracker() : null;
    this.find(handle).tracker = tracker;
  }

  /* The estimate of the stream's speaker for `setSpeakerState`; null for none. */
  speakerState(handle) {
    const { tracker } = this.find(handle);
    return tracker?.adapter.speechS ? tracker.toJson() : null;
  }

  /* Uses an estimate that `speakerState` gave; it grows on where the stream adapts. Null forgets the speaker.
     Throws SerdemoError for an estimate of another model. */
  async setSpeakerState(handle, state) {
    const session = this.find(handle);
    const grows = Boolean(session.tracker?.grows);
    const prior = state === null && !grows ? null : await requirePrior(this.predictor);
    if (state !== null) session.tracker = SpeakerTracker.fromJson(prior, state, grows);
    else session.tracker = prior && new SpeakerTracker(prior);
  }

  /* Scores the rest, closes the stream and returns the prediction for the whole of it. Throws SerdemoError when
     it holds no sound, it failed, or it takes too long. */
  async finish(handle, { name = "live", timeoutS = 30 } = {}) {
    const session = this.find(handle);
    session.end(this.now());
    this.wake();
    try {
      await this.workUntil(() => session.ended, timeoutS);
      if (!session.ended) throw new SerdemoError("This machine is too busy for the last answer: try again.");
      if (session.failure) throw session.failure;
      return session.stream.result(name);
    } finally {
      this.close(handle);
    }
  }

  /* Drops the stream and all it holds; nothing happens when it is closed already. */
  close(handle) {
    this.sessions.delete(handle);
  }

  find(handle) {
    if (!this.has(handle)) throw new SerdemoError(CLOSED);
    return this.sessions.get(handle);
  }

  /* Drops the streams to which nothing was pushed for long, and that were not scored meanwhile. */
  sweep() {
    const oldest = this.now() - IDLE_S;
    for (const [handle, session] of this.sessions) {
      const latest = Math.max(session.receivedAt, session.scoredAt);
      if (latest < oldest && !session.pending) this.sessions.delete(handle);
    }
  }

  async newTracker() {
    const prior = await this.predictor.prior;
    return prior?.unlabelled ? new SpeakerTracker(prior) : null;
  }

  wake() {
    if (!this.isWorking) this.work();
  }

  /* Answers in rounds all that is received, also while it works. */
  async work() {
    this.isWorking = true;
    try {
      const pending = () => [...this.sessions.values()].filter((session) => session.pending);
      for (let sessions = pending(); sessions.length; sessions = pending()) {
        this.round = this.score(sessions);
        await this.round;
      }
    } finally {
      this.isWorking = false;
    }
  }

  /* Waits for the rounds of the work until it is done, or `timeoutS` is over. */
  async workUntil(isDone, timeoutS) {
    const end = this.now() + timeoutS;
    while (this.isWorking && !isDone() && this.now() < end) await this.round;
  }

  /* Answers all that the sessions have received. */
  async score(sessions) {
    const ready = [];
    for (const session of sessions) {
      const windows = await this.feed(session);
      if (windows.length) ready.push([session, windows]);
    }
    if (ready.length) await this.scoreNewest(ready);
    for (const session of sessions) session.publish(this.now());
  }

  /* Pushes what came into a session's stream; a stream that cannot take it fails alone. */
  async feed(session) {
    const { ending } = session; // what comes while this waits is for the next round
    const pieces = session.collect();
    if (session.failure) return [];
    try {
      for (const samples of pieces) session.stream.push(samples);
      if (ending) session.stream.finish();
      return await session.stream.readyWindows();
    } catch (problem) {
      if (!(problem instanceof SerdemoError)) console.error(problem);
      session.fail(problem instanceof SerdemoError ? problem.message : MODEL_FAILED);
      return [];
    }
  }

  /* Scores as many of the newest ready windows as there is time for. */
  async scoreNewest(ready) {
    const started = this.now();
    const batch = [];
    for (const [session, windows] of ready) {
      const affordable = this.costS ? MAX_ROUND_S / ready.length / this.costS : windows.length;
      const skipped = Math.max(0, windows.length - Math.max(1, Math.floor(affordable)));
      if (skipped) session.skip(skipped, started);
      batch.push(...windows.slice(skipped).map((window) => ({ session, window })));
    }
    const embeddings = await this.embed(this.predictor, batch.map(({ window }) => window.wave));
    const voices = await this.embedVoices(batch);
    for (const [i, { session, window }] of batch.entries()) {
      try {
        const row = embeddings[i];
        if (!row) throw new SerdemoError(MODEL_FAILED);
        const [scores] = await this.predictor.classify(withoutOffset([row], session.speakerOffset));
        session.addScores(window, row, scores, this.now(), voices.get(i));
      } catch (problem) {
        console.error(problem);
        session.fail(MODEL_FAILED);
      }
    }
    const costS = (this.now() - started) / batch.length;
    this.costS = this.costS ? 0.8 * this.costS + 0.2 * costS : costS;
  }

  /* Speaker embeddings of the windows that need one, by their number in the batch. */
  async embedVoices(batch) {
    const numbers = [...batch.keys()].filter((i) => batch[i].session.tracker?.wantsVoice(batch[i].window));
    const model = numbers.length ? this.speakerModel.get() : null;
    if (!model) return new Map();
    const rows = await this.embed(model, numbers.map((i) => batch[i].window.wave));
    return new Map(numbers.map((number, i) => [number, rows[i]]));
  }

  /* Embedding of every window; null where the model fails. */
  async embed(model, waves) {
    try {
      return await model.embeddings(waves);
    } catch (problem) {
      console.error(problem);
      if (waves.length === 1) return [null];
      const rows = [];
      for (const wave of waves) rows.push(...await this.embed(model, [wave]));
      return rows;
    }
  }
}

/* The live services of several models, one each. `speakerModel` loads the model that tells voices apart. */
export class LiveServices {
  constructor(speakerModel, now = clock) {
    this.speakerModel = new LazyModel(speakerModel);
    this.now = now;
    this.services = new Map();
  }

  /* How many streams there are. */
  get size() {
    return [...this.services.values()].reduce((sum, service) => sum + service.size, 0);
  }

  has(handle) {
    return [...this.services.values()].some((service) => service.has(handle));
  }

  /* The service of a loaded model, started when there is none. */
  of(predictor) {
    if (!this.services.has(predictor)) {
      this.services.set(predictor, new LiveService(predictor, this.speakerModel, this.now));
    }
    return this.services.get(predictor);
  }

  /* Whether one more stream of a model would be answered within `MAX_DELAY_S` on average, beside the streams
     that are open. */
  async keepsUp(predictor) {
    const costS = await this.of(predictor).windowCostS();
    const busyS = [...this.services.values()].reduce((sum, { size, costS: each }) => sum + size * each, 0);
    return expectedDelayS(costS, (busyS + costS) / HOP_S) <= MAX_DELAY_S;
  }

  /* The service that has the stream; throws SerdemoError when it is closed. */
  find(handle) {
    const found = [...this.services.values()].find((service) => service.has(handle));
    if (!found) throw new SerdemoError(CLOSED);
    return found;
  }
}
