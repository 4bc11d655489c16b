/* "Your voice" in the Live tab: how long the model that answers has got used to it. What that takes is a
   few numbers and no sound; they are stored in this browser alone, and sent with each new stream. */
import { put, wait } from "../shell/js/dom.js";

const KEY = "serdemo-voice";
const MAX_MODELS = 4; // of which a state is stored, the latest
const SAVE_S = 3; // of speech between two savings
const RENEWED_S = 15; // of speech, for so long the line says that the voice is another
const NEUTRAL_S = 6;
const LITTLE_TRUST = 0.1; // a smaller share of a voice's difference changes hardly an answer
const HINT = "The longer you speak, the better it knows how you sound. Six seconds in your everyday, "
  + "unmoved voice are a quick beginning. It takes a few numbers and no sound; they stay in this tab, or "
  + "in this browser if you say so, and never on the server.";

/* States of the voice by the fingerprint of the model they belong to. They last as long as the tab; those
   that are to be remembered lie in `local` and last until they are forgotten. */
export class VoiceStore {
  constructor(session, local) {
    Object.assign(this, { session, local });
  }

  get remembers() {
    return this.read(this.local) !== null;
  }

  set remembers(on) {
    const states = this.states;
    this.write(on ? this.local : this.session, states);
    this.remove(on ? this.session : this.local);
  }

  get states() {
    return this.read(this.local) || this.read(this.session) || {};
  }

  /* Seconds of the state saved last, 0 for none. */
  get seconds() {
    return Object.values(this.states).pop()?.seconds || 0;
  }

  of(fingerprint) {
    return this.states[fingerprint] || null;
  }

  save(fingerprint, seconds, state) {
    const { [fingerprint]: old, ...others } = this.states;
    const entries = [...Object.entries(others), [fingerprint, { seconds, state }]];
    const states = Object.fromEntries(entries.slice(-MAX_MODELS));
    this.write(this.remembers ? this.local : this.session, states);
  }

  forget() {
    const { remembers } = this;
    this.remove(this.session);
    if (remembers) this.write(this.local, {});
  }

  /* The browser may forbid or clear its storage at any time: then nothing is remembered. */
  read(storage) {
    try {
      const states = JSON.parse(storage.getItem(KEY));
      return states && typeof states === "object" ? states : null;
    } catch {
      return null;
    }
  }

  write(storage, states) {
    try {
      storage.setItem(KEY, JSON.stringify(states));
    } catch { /* full or forbidden */ }
  }

  remove(storage) {
    try {
      storage.removeItem(KEY);
    } catch { /* forbidden */ }
  }
}

/* The line beside the answer: `seconds` of speech the model has got used to, after `changes` of voice, and the
   share `trust` of its difference from other voices that is taken away. */
export const voiceLine = ({ adapts, on, seconds, changes, trust }) => {
  if (!on) return "The same for every voice";
  const known = Math.floor(seconds);
  if (changes && known < RENEWED_S) return `Another voice: used to it for ${known} s`;
  if (known) return `${trust < LITTLE_TRUST ? "A little used" : "Used"} to your voice: ${known} s`;
  return adapts ? "Not used to your voice yet" : "Does not get used to voices";
};

const storageOf = (name) => {
  try {
    return window[name];
  } catch {
    return null;
  }
};

export class Voice {
  constructor(part, ask) {
    const store = new VoiceStore(storageOf("sessionStorage"), storageOf("localStorage"));
    Object.assign(this, { part, ask, store, seconds: store.seconds, savedAt: store.seconds, switching: Promise.resolve() });
    this.adapts = this.calibrates = true; // until a model says otherwise
    this.running = false;
    this.saving = null; // or the promise of the last saving
    this.forgotten = 0; // times
    this.changes = 0; // of voice, in this stream
    this.trust = 1; // until an answer says otherwise
    part("remember").checked = store.remembers;
    this.note("");
    this.show();
  }

  get on() {
    return this.part("adapt").checked;
  }

  show() {
    put(this.part("used"), voiceLine(this));
    this.part("forget").disabled = !this.seconds && !this.store.seconds;
  }

  note(sentence) {
    put(this.part("voice-note"), sentence || HINT);
  }

  enable(live) {
    this.part("calibrate").disabled = !live || this.running || !this.on || !this.calibrates;
  }

  /* Called with the response to the opening of a link's stream: brings what is stored of this voice along. */
  async begin(link, { model, voice, here }) {
    this.fingerprint = voice.fingerprint;
    this.adapts = voice.adapts;
    this.calibrates = voice.calibrates;
    put(this.part("model"), `Answered by ${model}${here ? " in this browser" : ""}`);
    await this.restore(link);
  }

  async restore({ stream }) {
    const stored = this.on ? this.store.of(this.fingerprint) : null;
    this.set(stored ? stored.seconds : 0);
    if (stored) {
      const { refused, unreached } = await this.ask("restore", { stream, voice: stored.state });
      if (refused && !unreached) {
        this.store.forget();
        this.set(0);
        this.note(refused);
      }
    }
  }

  /* Shows the seconds of what is stored or begun anew. */
  set(seconds) {
    this.seconds = this.savedAt = seconds;
    this.changes = 0;
    this.show();
  }

  /* Follows what an answer says of the voice, and saves now and then what they have taught. */
  follow(link, { adapted_s: seconds, voice_changes: changes, adaptation: trust }) {
    if (!this.on) return;
    Object.assign(this, { seconds, changes, trust });
    if (!this.saving && Math.abs(seconds - this.savedAt) >= SAVE_S) this.save(link);
    this.show();
  }

  /* Saves what is known by now, after a saving that is under way, and after the switch has taken effect: a
     stream that ends before would refuse what is stored, and have it forgotten. */
  async save(link) {
    const saving = Promise.all([this.saving, this.switching]).then(() => this.storeState(link));
    this.saving = saving;
    await saving;
    if (this.saving === saving) this.saving = null;
  }

  async storeState({ stream }) {
    if (!stream || !this.on) return;
    const { fingerprint, forgotten } = this;
    const { voice, adapted_s: seconds } = await this.ask("voice", { stream });
    if (!voice || !this.on || this.forgotten > forgotten) return;
    this.savedAt = seconds;
    this.store.save(fingerprint, seconds, voice);
  }

  async forget(link, live) {
    this.forgotten += 1;
    this.store.forget();
    this.set(0);
    const { refused } = live ? await this.ask("forget", { stream: link.stream }) : {};
    this.note(refused || "Your voice is forgotten.");
  }

  /* Counts the seconds down, then has the server take them for the visitor's neutral voice. */
  async calibrate(link, isLive) {
    this.running = true;
    this.enable(true);
    for (let left = NEUTRAL_S; left > 0; left -= 1) {
      this.note(`Go on speaking in your everyday voice: ${left} s more.`);
      await wait(1000);
      if (!isLive()) break;
    }
    const response = isLive() ? await this.ask("calibrate", { stream: link.stream }) : {};
    this.running = false;
    if (response.warnings) {
      this.note(response.warnings[0] || "Your everyday voice is known now.");
      this.follow(link, response);
      this.save(link);
    } else {
      this.note(response.refused || "Not finished: press it again while listening.");
    }
    this.enable(isLive());
  }

  /* Applies the switch, also to a running stream. */
  async change(link, live) {
    this.enable(live);
    this.set(this.on ? this.store.seconds : 0);
    if (!live) return;
    // One after another: a late "off" behind an "on" would have what is stored refused, and forgotten.
    this.switching = this.switching.then(() => this.apply(link));
    await this.switching;
  }

  async apply(link) {
    const { refused } = await this.ask("adapt", { stream: link.stream, adapt: this.on });
    if (refused) this.note(refused);
    else if (this.on) await this.restore(link);
  }
}
