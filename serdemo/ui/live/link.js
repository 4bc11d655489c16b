/* Between the microphone and the server. Pieces are numbered and sent one after another, each
   again until the server says that it has it, so nothing is lost on a bad connection. */
const ANSWER_MS = 5000;
const WAKE_MS = 90_000; // the first visitor waits for the model
const AGAIN_MS = 700;
const MOST_S = 4; // of sound in one piece
const GIVE_UP_S = 50; // shorter than what is kept
const SINCE_S = 5; // answers may come out of order by so much

const rest = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const UNREACHED =
  "The server cannot be reached: check the connection, then press Start again.";

// What the server says, or undefined when it cannot be reached in time.
const ask = (name, asked, ms = ANSWER_MS) =>
  Promise.race([server.live({ call: name, ...asked }), rest(ms)]);

const leave = (stream) => beacon("live", { call: "close", stream });

/* What a microphone of the browser hears, sent to the server. `on` has the handlers: `sound(block)`,
   `answers(told, base)` with the seconds at which the server's stream began, `connection(there)`
   and `trouble(sentence)`, after which it is over. */
class BrowserLink {
  constructor(on, Microphone) {
    this.on = on;
    this.microphone = new Microphone((block) => this.take(block), on.trouble);
    this.sent = 0; // samples that the server has
    this.before = 0; // of them, those that earlier streams had
    this.received = 0; // samples that the server says it has
    this.lost = 0;
    this.piece = null;
    this.newest = 0;
    this.busy = false;
    this.over = false;
  }

  async open(device, cleaned) {
    await this.microphone.open(device, cleaned);
    this.sound = new LastMinute(this.microphone.rate);
    const refused = await this.begin();
    if (refused) throw new Error(refused);
    this.microphone.begin();
  }

  get rate() {
    return this.microphone.rate;
  }

  // A stream on the server that begins with the first sample not sent yet.
  async begin() {
    const { model } = foot();
    const told = await ask("open", { rate: this.rate, ...asker() }, WAKE_MS);
    if (!told) return UNREACHED;
    if (told.refused) return told.refused;
    this.stream = told.stream;
    this.model = model;
    this.base = this.sent;
    this.before = this.sent;
    this.sequence = 0;
    this.newest = 0;
    return "";
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
    let lostAt = 0;
    while (!this.over && this.sent < this.sound.written) {
      const told = await this.send();
      if (told && told.refused && !told.gone) {
        this.fail(told.refused);
      } else if (!told || (told.gone && (await this.begin()))) {
        lostAt = lostAt || performance.now();
        this.on.connection(false);
        if (performance.now() - lostAt > 1000 * GIVE_UP_S) {
          this.fail("The connection was lost for too long: press Start when it is back.");
        }
        await rest(AGAIN_MS);
      } else if (!told.gone) {
        if (lostAt) this.on.connection(true);
        lostAt = 0;
        this.accept(told);
      }
    }
    this.busy = false;
  }

  // A piece that was not answered goes out again as it was: the server may have it already.
  async send() {
    if (!this.piece || this.piece.stream !== this.stream) {
      const from = Math.max(this.sent, this.sound.first);
      this.lost += from - this.sent;
      const to = Math.min(this.sound.written, from + MOST_S * this.rate);
      this.piece = { stream: this.stream, to, samples: toBase64(this.sound.read(from, to)) };
    }
    const { stream, samples } = this.piece;
    const since = Math.max(0, this.newest - SINCE_S);
    return ask("push", { stream, samples, sequence: this.sequence, since });
  }

  accept(told) {
    this.sent = this.piece.to;
    this.piece = null;
    this.sequence += 1;
    this.received = this.before + told.received;
    for (const segment of told.segments) this.newest = Math.max(this.newest, segment.end_s);
    this.on.answers(told, this.base / this.rate);
  }

  fail(sentence) {
    this.over = true;
    this.on.trouble(sentence);
  }

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

  // Gives the answer for the whole, where there is one.
  async close() {
    await this.microphone.close();
    for (let wait = 0; !this.over && this.busy && wait < 3000; wait += 50) await rest(50);
    const over = this.over;
    this.over = true;
    if (!this.stream) return undefined;
    if (!over) await this.settle();
    return over ? leave(this.stream) : ask("close", { stream: this.stream, since: this.newest });
  }

  // Until the server has looked at all that it has: only then the counts of both sides compare.
  async settle() {
    for (let times = 0; times < 20 && this.received < this.sent; times += 1) {
      const { stream, sequence } = this;
      const told = await ask("push", { stream, sequence, samples: "", since: this.newest });
      if (!told || told.refused) return;
      this.sequence += 1;
      this.received = this.before + told.received;
      await rest(50);
    }
  }

  // What the browser itself does to the sound, as it says.
  settings() {
    const set = this.microphone.settings();
    const names = {
      autoGainControl: "gain control",
      noiseSuppression: "noise suppression",
      echoCancellation: "echo cancellation",
    };
    const on = Object.keys(names).filter((name) => set[name]).map((name) => names[name]);
    return on.length ? `with the browser's ${on.join(", ")}` : "untouched by the browser";
  }

  leave() {
    this.over = true;
    if (this.stream) leave(this.stream);
    this.microphone.close();
  }
}
