/* Between the microphone and the server. Pieces are numbered and sent one after another, each again
   until the server confirms it, so nothing is lost on a bad connection. */
import { wait } from "../shell/js/dom.js";
import { LastMinute } from "../shell/js/sound.js";

export const ANSWER_TIMEOUT_MS = 5000;
export const CALL_TIMEOUT_MS = 40_000; // of what is asked once: a busy server answers first what it has
export const OPEN_TIMEOUT_MS = 90_000; // the first visitor waits for the model
const RETRY_MS = 700;
// Where answers are late, pieces that come less often cost less, and delay them by a quarter more at most.
const PACE = 0.25;
const MAX_PACE_S = 0.5;
const MAX_PIECE_S = 4;
const MAX_OFFLINE_MS = 50_000; // shorter than the sound that is held
const MAX_TRY_MS = 2 * ANSWER_TIMEOUT_MS; // what takes longer is sleep, in which no sound comes
const OVERLAP_S = 5; // answers may come out of order by so much
const DRAIN_MS = 3000;
const POLL_MS = 50;
const OFFLINE = "The connection was lost for too long: press Start when it is back.";
const RENEWED = "The server had let the stream go: nothing you said is lost, but the whole counts from there on.";
const HOLD_MS = 20_000; // the server lets a stream go to which nothing comes for a minute
const MAX_HOLDS = 45; // of a pause: a place is not held for ever
const MAX_RENEWALS = 5; // in RENEWALS_MS
const RENEWALS_MS = 60_000;
const SCATTERED = "Several servers answer this page, and none knows the streams of another: switch Answer in this "
  + "browser on, then press Start.";

const PROCESSING = {
  autoGainControl: "gain control",
  noiseSuppression: "noise suppression",
  echoCancellation: "echo cancellation",
};

/* What both links share. A link has its sound, counts of samples (`sent`, `received`, `lost`), and the
   server's stream, which began at sample `base`.

   `on` has the handlers sound(block), answer(response, baseSeconds), connection(isThere),
   suspended(isSuspended) of the browser's sound, and trouble(sentence), after which the link is over. `api` has ask(call, fields, timeoutMs),
   leave(stream), context(), the fields with which a stream is opened, and opened(response). */
export class Link {
  constructor(on, api) {
    Object.assign(this, { on, api, stream: "", sound: null, over: false, isRenewed: false });
    this.base = this.sent = this.received = this.lost = 0;
    this.offlineAt = this.offlineMs = 0;
    this.newest = 0; // end of the newest window in seconds of the stream
  }

  /* Opens a stream of the server by `call`; returns the response. */
  async openStream(call, fields) {
    const response = await this.api.ask(call, { ...fields, ...this.api.context() }, OPEN_TIMEOUT_MS);
    if (response.refused) return response;
    this.stream = response.stream;
    this.instead = response.instead;
    this.newest = 0;
    await this.api.opened(response);
    return response;
  }

  get since() {
    return Math.max(0, this.newest - OVERLAP_S);
  }

  noteAnswer(response) {
    this.received = this.base + response.received;
    for (const { end_s: end } of response.segments) this.newest = Math.max(this.newest, end);
    this.on.answer(response, this.base / this.rate);
  }

  /* The server did not answer: tells so, and gives up after a while. */
  noteOffline(sentence) {
    const now = performance.now();
    this.offlineMs += Math.min(MAX_TRY_MS, now - (this.offlineAt || now));
    this.offlineAt = now;
    this.on.connection(false);
    if (this.offlineMs > MAX_OFFLINE_MS) this.fail(sentence);
  }

  noteOnline() {
    if (this.offlineAt) this.on.connection(true);
    this.offlineAt = this.offlineMs = 0;
  }

  fail(sentence) {
    this.over = true;
    this.on.trouble(sentence);
  }

  /* Resolves to the answer for the whole, where there is one. */
  closeStream(wasOver) {
    if (!this.stream) return undefined;
    if (wasOver) return this.api.leave(this.stream);
    return this.api.ask("close", { stream: this.stream, since: this.newest }, CALL_TIMEOUT_MS);
  }

  leave() {
    this.over = true;
    if (this.stream) this.api.leave(this.stream);
  }
}

/* A microphone of the browser, whose sound is sent to the server. */
export class BrowserLink extends Link {
  constructor(on, api, Microphone) {
    super(on, api);
    this.microphone = new Microphone((block) => this.take(block), on.trouble, on.suspended);
    this.piece = null;
    this.busy = false;
    this.renewals = []; // when
    this.holds = 0; // since sound was sent
  }

  async open(device, cleaned) {
    await this.microphone.open(device, cleaned);
    this.sound = new LastMinute(this.rate);
    const refusal = await this.begin();
    if (refusal) throw new Error(refusal);
    this.microphone.start();
    this.holding = setInterval(() => this.hold(), HOLD_MS);
  }

  get rate() {
    return this.microphone.rate;
  }

  /* Opens a stream that begins with the first sample not sent yet; resolves to a refusal or "". */
  async begin() {
    const { refused } = await this.openStream("open", { rate: this.rate });
    if (refused) return refused;
    this.base = this.sent;
    this.sequence = 0;
    return "";
  }

  /* The server has no such stream any more, as after its restart or a very long pause: opens another, which
     begins with the first sample that no answer covers. Resolves as `begin`. */
  async renew() {
    const now = performance.now();
    this.renewals = [...this.renewals.filter((at) => now - at < RENEWALS_MS), now];
    if (this.renewals.length > MAX_RENEWALS) {
      this.fail(SCATTERED);
      return "";
    }
    const answered = this.base + Math.round(this.newest * this.rate);
    this.sent = Math.min(this.sent, Math.max(this.sound.first, answered));
    const refusal = await this.begin();
    if (!refusal) Object.assign(this, { isRenewed: true, instead: RENEWED });
    return refusal;
  }

  take(block) {
    if (this.over) return;
    this.sound.push(block);
    this.on.sound(block);
    this.pump();
  }

  async pump() {
    if (this.busy) return;
    this.busy = true;
    while (!this.over && (this.piece || this.sent < this.sound.written)) {
      const response = await this.send();
      if (response.busy) {
        await wait(RETRY_MS); // the sound waits here
      } else if (response.unreached || (response.gone && (await this.renew()))) {
        if (this.sent < this.sound.written) this.noteOffline(OFFLINE); // a pause needs no connection
        await wait(RETRY_MS);
      } else if (!response.refused) {
        this.noteOnline();
        this.accept(response);
        await wait(1000 * Math.min(MAX_PACE_S, PACE * (response.delay_s || 0)));
      } else if (!response.gone) {
        this.fail(response.refused);
      }
    }
    this.busy = false;
  }

  /* Sends the next piece. One that was not answered goes out again as it was: the server may have it
     already. */
  async send() {
    if (!this.piece || this.piece.stream !== this.stream) {
      const from = Math.max(this.sent, this.sound.first);
      this.lost += from - this.sent;
      const to = Math.min(this.sound.written, from + MAX_PIECE_S * this.rate);
      this.piece = { stream: this.stream, to, samples: this.sound.read(from, to) };
    }
    const { stream, samples } = this.piece;
    return this.api.ask("push", { stream, samples, sequence: this.sequence, since: this.since });
  }

  accept(response) {
    const { to, samples } = this.piece;
    this.sent = to;
    this.piece = null;
    this.sequence += 1;
    if (samples.length) Object.assign(this, { holds: 0, isHeard: true });
    this.noteAnswer(response);
  }

  /* Seconds since the sound at `seconds` reached this page. */
  age(seconds) {
    return this.microphone.age(seconds * this.rate);
  }

  change(device, cleaned) {
    return this.microphone.change(device, cleaned);
  }

  pause() {
    return this.microphone.pause();
  }

  resume() {
    return this.microphone.resume();
  }

  /* In a pause: sends a piece without sound, so that the server keeps the stream. */
  async hold() {
    if (this.over) return clearInterval(this.holding);
    const wasHeard = this.isHeard;
    this.isHeard = false;
    if (wasHeard || this.busy || this.sent < this.sound.written || this.holds === MAX_HOLDS) return undefined;
    this.holds += 1;
    this.piece = { stream: this.stream, to: this.sent, samples: new Int16Array(0) };
    return this.pump();
  }

  async close() {
    clearInterval(this.holding);
    await this.microphone.close();
    // A slow server gets all that was said; one that does not answer is waited for only a moment.
    for (let ms = 0; !this.over && this.busy && (!this.offlineAt || ms < DRAIN_MS); ms += POLL_MS) {
      await wait(POLL_MS);
    }
    const { over } = this;
    this.over = true;
    const answer = await this.closeStream(over);
    if (answer?.segments) this.received = this.base + answer.received;
    return answer;
  }

  /* The browser's own processing of the sound, in words. */
  processing() {
    const settings = this.microphone.settings();
    const on = Object.keys(PROCESSING).filter((name) => settings[name]);
    return on.length
      ? `with the browser's ${on.map((name) => PROCESSING[name]).join(", ")}`
      : "untouched by the browser";
  }

  leave() {
    super.leave();
    clearInterval(this.holding);
    this.microphone.close();
  }
}
