/* A newcomer on the map: a clip that is dropped, an example, or a live voice that leaves a trail. */
const TRAIL = 60; // places kept, half a second apart
const PIECE_S = 0.4;
const PROMPT = "Press Speak: your voice moves over the map and leaves a trail. Or drop a clip on the map.";
const UNHEARD = "No voice was heard: speak louder or nearer, then try again.";

/* What the tab Live hears, in the place of a microphone of one's own. */
class LiveSound {
  constructor(onblock, ontrouble) {
    this.hear = ({ detail }) => {
      if (!detail) ontrouble("");
      else if (this.wanted) onblock(detail.block);
    };
  }

  async open(rate) {
    this.rate = rate;
    addEventListener("sd-sound", this.hear);
  }

  begin() {
    this.wanted = true;
  }

  async close() {
    removeEventListener("sd-sound", this.hear);
  }
}

// Nobody wants to know any more where a voice was, and the server forgets it.
const forsake = (voice) => voice && beacon("explore", { call: "leave", voice });

class Newcomer {
  constructor(clips, changed) {
    Object.assign(this, { clips, changed, trail: [], here: null, rows: [], link: null });
  }

  get live() {
    return Boolean(this.link);
  }

  say(sentence) {
    put(part("you"), sentence);
  }

  forget() {
    this.trail = [];
    this.here = null;
    this.rows = [];
    this.list();
    this.changed();
  }

  // Takes the turn: answers to what was asked for earlier are shown no more.
  turn() {
    const own = (this.latest = {});
    return () => this.latest === own;
  }

  async place(call, asked, name) {
    const current = this.turn();
    await this.end(current);
    if (!current()) return;
    this.forget();
    this.say(`Listening to ${name}`);
    const answer = await ask(call, { map: this.clips.key, ...(await asked) });
    if (!current()) return;
    if (answer.refused) return this.say(answer.refused);
    this.put(answer);
    this.say(`${answer.name}: ${this.sentence(answer)}`);
  }

  put(answer) {
    this.here = answer.at;
    this.rows = answer.rows;
    this.similarities = answer.similarities;
    this.list();
    this.changed();
  }

  sentence(answer) {
    const emotions = answer.rows.map((row) => this.clips.name("emotion", row));
    const tally = new Map();
    for (const name of emotions) tally.set(name, (tally.get(name) || 0) + 1);
    const [most] = [...tally].sort((a, b) => b[1] - a[1]);
    const near = `${most[1]} of the ${answer.rows.length} nearest clips are ${most[0]}`;
    return answer.label ? `sounds ${answer.label} (${percent(answer.share)}); ${near}.` : `${near}.`;
  }

  list() {
    const list = part("near");
    list.hidden = !this.rows.length;
    renew(list, "row", this.rows.slice(0, 5).map((row, i) => `<li><button type="button" data-row="${row}">
      ${clean(this.clips.names[row])}</button> <span>${clean(this.clips.name("emotion", row))},
      alike ${this.similarities[i].toFixed(2)}</span></li>`).join(""));
  }

  // Listens until it is stopped; each piece waits for the answer to the one before.
  async speak(Sound = BrowserMicrophone, source = "") {
    this.turn();
    this.forget();
    const link = { samples: [], count: 0, over: false, source };
    this.link = link;
    this.say(source ? "Following what Live hears." : "If the browser asks, allow the microphone.");
    this.changed();
    const fail = (sentence) => this.link === link && this.stop(sentence);
    link.microphone = new Sound((block) => {
      link.samples.push(block);
      link.count += block.length;
      this.send(link);
    }, fail);
    try {
      await link.microphone.open(source, false);
    } catch (error) {
      return fail(refusal(error));
    }
    const opened = await ask("follow", { map: this.clips.key, rate: link.microphone.rate });
    link.voice = opened.voice;
    if (this.link !== link) return forsake(link.voice); // stopped meanwhile
    if (opened.refused) return fail(opened.refused);
    this.say("Speak: the ring is your voice now, the line where it was.");
    link.microphone.begin();
    return undefined;
  }

  async send(link, rest = false) {
    if (link.busy || link.over || (!rest && link.count < PIECE_S * link.microphone.rate)) return;
    const whole = new Int16Array(link.count);
    let at = 0;
    for (const block of link.samples) {
      whole.set(block, at);
      at += block.length;
    }
    link.samples = [];
    link.count = 0;
    link.busy = true;
    const answer = await ask("voice", { voice: link.voice, samples: toBase64(whole) });
    link.busy = false;
    if (this.link !== link) return;
    if (answer.refused) {
      this.stop(answer.refused);
    } else if (answer.at) {
      this.trail = [...this.trail, answer.at].slice(-TRAIL);
      this.put(answer);
    }
  }

  stop(sentence = "") {
    return this.end(this.turn(), sentence);
  }

  // Ends what is live; where the voice was over all is shown if it is still anyone's turn.
  async end(current, sentence = "") {
    const { link } = this;
    if (!link) return;
    await this.cut();
    const answer = link.voice && !sentence ? await ask("leave", { voice: link.voice }) : {};
    if (sentence) forsake(link.voice);
    if (!current()) return;
    if (answer.at) {
      this.put(answer);
      this.say(`Your voice as a whole: ${this.sentence(answer)}`);
    } else {
      this.say(sentence || answer.refused || (link.voice ? UNHEARD : PROMPT));
    }
  }

  cut() {
    const { link } = this;
    this.link = null;
    link.over = true;
    this.changed();
    return link.microphone.close().catch(() => {});
  }

  // The end without an answer: another map comes, or the page is left.
  leave() {
    this.turn();
    const { link } = this;
    if (!link) return;
    this.cut();
    forsake(link.voice);
  }

  // Over the points: the trail, lines to the nearest, and a ring where the newcomer is.
  draw(pen, scatter, layout) {
    if (!this.here || !this.here[layout.name]) return;
    const axes = layout.axes;
    const at = (place) => scatter.screen(place[layout.name].slice(0, axes));
    const ink = getComputedStyle(element).getPropertyValue("--body-text-color") || "#000";
    const [x, y] = at(this.here);
    pen.strokeStyle = ink;
    pen.lineCap = pen.lineJoin = "round";
    pen.lineWidth = 1;
    pen.globalAlpha = 0.45;
    for (const row of this.rows.slice(0, 5)) {
      pen.beginPath();
      pen.moveTo(x, y);
      pen.lineTo(...scatter.screen(scatter.placeOf(row)));
      pen.stroke();
    }
    const places = this.trail.map(at);
    pen.lineWidth = 2.5;
    for (let i = 1; i < places.length; i++) {
      pen.globalAlpha = 0.15 + (0.85 * i) / places.length;
      pen.beginPath();
      pen.moveTo(...places[i - 1]);
      pen.lineTo(...places[i]);
      pen.stroke();
    }
    pen.globalAlpha = 1;
    for (const [size, colour, width] of [[9, "#ffffff", 5], [9, "#b3273f", 3]]) {
      pen.beginPath();
      pen.arc(x, y, size, 0, 7);
      pen.strokeStyle = colour;
      pen.lineWidth = width;
      pen.stroke();
    }
    pen.font = "600 13px system-ui, sans-serif";
    pen.lineWidth = 4;
    pen.strokeStyle = "#ffffff";
    pen.fillStyle = "#b3273f";
    pen.strokeText("you", x + 14, y + 4);
    pen.fillText("you", x + 14, y + 4);
  }
}
