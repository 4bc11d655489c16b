/* A newcomer on the map: a dropped clip, an example, or a live voice that leaves a trail. */
import { escapeHtml, percent, put, replaceKeepingFocus } from "../shell/js/dom.js";
import { BrowserMicrophone, refusal } from "../shell/js/microphone.js";
import { concat, toBase64 } from "../shell/js/sound.js";
import { translate } from "../shell/js/translate.js";

const MAX_TRAIL = 60; // places, half a second apart
const PIECE_S = 0.4;
const MAX_NEIGHBOURS = 5; // that are listed and linked
const PROMPT = "Press Speak: your voice moves over the map and leaves a trail. Or drop a clip on the map.";
const NO_VOICE = "No voice was heard: speak louder or nearer, then try again.";

/* The sound that the tab Live publishes, in place of a microphone; `open` takes the first event's
   detail, with the rate, the stream and who answers it. It ends where this browser takes over from the
   server: then the voice does not go there. */
export class LiveSound {
  constructor(onBlock, onTrouble) {
    this.onSound = ({ detail }) => {
      if (!detail || (detail.isHere && !this.isHere)) return onTrouble("");
      this.stream = detail.stream;
      if (this.passing) onBlock(detail.block);
    };
  }

  async open({ rate, stream, isHere }) {
    Object.assign(this, { rate, stream, isHere });
    addEventListener("sd-sound", this.onSound);
  }

  start() {
    this.passing = true;
  }

  async close() {
    removeEventListener("sd-sound", this.onSound);
  }
}

export class Newcomer {
  /* `currentPlacer()` is who places what comes now, see placers.js, and `onChange` is called when the map is
     to be drawn again. */
  constructor(clips, part, currentPlacer, onChange) {
    Object.assign(this, { clips, part, currentPlacer, onChange });
    Object.assign(this, { trail: [], place: null, rows: [], link: null, isPrompting: true });
    this.list();
    this.prompt();
  }

  get isLive() {
    return Boolean(this.link);
  }

  say(sentence) {
    this.isPrompting = false;
    put(this.part("you"), sentence);
  }

  /* Says what can be done, where nothing else is said. */
  prompt() {
    if (!this.isPrompting) return;
    this.say(`${PROMPT} ${this.currentPlacer().note}`.trim());
    this.isPrompting = true;
  }

  /* Another placer answers from now on: a voice is not sent to the old one any more. */
  changePlacer() {
    this.prompt();
    if (this.link && this.link.placer !== this.currentPlacer()) this.stop();
  }

  reset() {
    this.trail = [];
    this.place = null;
    this.rows = [];
    this.list();
    this.onChange();
  }

  /* Starts a new request; the returned function tells whether it is still the latest. */
  startRequest() {
    const request = (this.latest = {});
    return () => this.latest === request;
  }

  /* Places a clip by the call that `request(placer)` gives; `name` is for the status. */
  async placeClip(name, request, placer = this.currentPlacer()) {
    const isLatest = this.startRequest();
    await this.end(isLatest);
    if (!isLatest()) return;
    this.reset();
    this.say(`Listening to ${name}`);
    const response = await this.request(placer, isLatest, ...request(placer));
    if (!isLatest()) return;
    if (response.refused) return this.say(response.refused);
    this.show(response);
    this.say(`${response.name}: ${this.summary(response)}`);
  }

  /* A placer's response to a call, once it is ready and has the `fields`, which may be a promise. */
  async request(placer, isLatest, call, fields) {
    const onLoading = (share) => isLatest() && this.say(`Loading the model: ${percent(share)}`);
    const [ready, sent] = await Promise.all([placer.prepare(this.clips, onLoading), fields]);
    if (ready.refused || sent.refused) return { refused: ready.refused || sent.refused };
    return placer.ask(call, { map: this.clips.key, ...sent });
  }

  show({ at, rows, similarities }) {
    Object.assign(this, { place: at, rows, similarities });
    this.list();
    this.onChange();
  }

  summary({ rows, label, share }) {
    const counts = new Map();
    for (const row of rows) {
      const emotion = this.clips.name("emotion", row);
      counts.set(emotion, (counts.get(emotion) || 0) + 1);
    }
    const [[emotion, n]] = [...counts].sort((a, b) => b[1] - a[1]);
    const near = `${n} of the ${rows.length} nearest clips are ${emotion}`;
    return label ? `sounds ${label} (${percent(share)}); ${near}.` : `${near}.`;
  }

  /* Lists the nearest clips. */
  list() {
    const list = this.part("near");
    list.hidden = !this.rows.length;
    const items = this.rows.slice(0, MAX_NEIGHBOURS).map((row, i) => `<li>
      <button type="button" translate="no" data-row="${row}">${escapeHtml(this.clips.clip(row))}</button>
      <span>${escapeHtml(this.clips.name("emotion", row))}, alike ${this.similarities[i].toFixed(2)}</span></li>`);
    replaceKeepingFocus(list, "row", items.join(""));
  }

  /* Follows a voice until it is stopped; each piece waits for the answer to the one before. `source` is
     what the sound's `open` takes: for LiveSound an event's detail. */
  async speak(Sound = BrowserMicrophone, source = "", placer = this.currentPlacer()) {
    this.startRequest();
    this.reset();
    const link = { placer, blocks: [], count: 0, over: false };
    this.link = link;
    this.say(source ? "Following what Live hears." : "If the browser asks, allow the microphone.");
    this.onChange();
    const fail = (sentence) => this.link === link && this.stop(sentence);
    link.microphone = new Sound((block) => {
      link.blocks.push(block);
      link.count += block.length;
      this.send(link);
    }, fail);
    try {
      await link.microphone.open(source, false);
    } catch (error) {
      return fail(refusal(error));
    }
    const response = await this.follow(link);
    if (this.link !== link) return this.letGo(link); // stopped meanwhile
    if (response.refused) return fail(response.refused);
    this.say("Speak: the ring is your voice now, the line where it was.");
    link.microphone.start();
    return undefined;
  }

  /* Has the placer follow the voice; the windows of a stream of Live are shared where they can be. */
  async follow(link) {
    const { rate, stream = "" } = link.microphone;
    const response =
      await this.request(link.placer, () => this.link === link, "follow", { rate, stream });
    Object.assign(link, { voice: response.voice, shared: response.shared, stream });
    return response;
  }

  /* Sends the sound, if there is enough of it. That of a shared stream is there already. */
  async send(link) {
    if (link.busy || link.over || link.count < PIECE_S * link.microphone.rate) return;
    const samples = link.shared ? "" : toBase64(concat(link.blocks));
    link.blocks = [];
    link.count = 0;
    link.busy = true;
    const renewed = link.shared && link.stream !== link.microphone.stream;
    const refused = renewed && (await this.follow(link)).refused;
    const response = refused ? { refused } : await link.placer.ask("voice", { voice: link.voice, samples });
    link.busy = false;
    if (this.link !== link) return;
    if (response.refused) {
      this.stop(response.refused);
    } else if (response.at) {
      this.trail = [...this.trail, response.at].slice(-MAX_TRAIL);
      this.show(response);
    }
  }

  stop(sentence = "") {
    return this.end(this.startRequest(), sentence);
  }

  /* Ends a live voice; its place over all is shown if the request is still the latest. */
  async end(isLatest, sentence = "") {
    const { link } = this;
    if (!link) return;
    await this.cut();
    const response = link.voice && !sentence ? await link.placer.ask("leave", { voice: link.voice }) : {};
    if (sentence) this.letGo(link);
    if (!isLatest()) return;
    if (response.at) {
      this.show(response);
      this.say(`Your voice as a whole: ${this.summary(response)}`);
    } else {
      this.say(sentence || response.refused || (link.voice ? NO_VOICE : PROMPT));
    }
  }

  cut() {
    const { link } = this;
    this.link = null;
    link.over = true;
    this.onChange();
    return link.microphone.close().catch(() => {});
  }

  /* Ends without an answer: another map comes, or the page is left. */
  leave() {
    this.startRequest();
    const { link } = this;
    if (!link) return;
    this.cut();
    this.letGo(link);
  }

  letGo({ placer, voice }) {
    if (voice) placer.abandon(voice);
  }

  /* Draws, over the points, the trail, lines to the nearest, and a ring at the newcomer's place. */
  draw(pen, scatter, layout, ink) {
    if (!this.place?.[layout.name]) return;
    const screen = (place) => scatter.screen(place[layout.name].slice(0, layout.axes));
    const [x, y] = screen(this.place);
    pen.strokeStyle = ink;
    pen.lineCap = pen.lineJoin = "round";
    const line = (from, to) => {
      pen.beginPath();
      pen.moveTo(...from);
      pen.lineTo(...to);
      pen.stroke();
    };
    pen.lineWidth = 1;
    pen.globalAlpha = 0.45;
    for (const row of this.rows.slice(0, MAX_NEIGHBOURS)) {
      line([x, y], scatter.screen(scatter.placeOf(row)));
    }
    const trail = this.trail.map(screen);
    pen.lineWidth = 2.5;
    for (let i = 1; i < trail.length; i++) {
      pen.globalAlpha = 0.15 + (0.85 * i) / trail.length;
      line(trail[i - 1], trail[i]);
    }
    pen.globalAlpha = 1;
    for (const [colour, width] of [["#ffffff", 5], ["#b3273f", 3]]) {
      pen.beginPath();
      pen.arc(x, y, 9, 0, 7);
      pen.strokeStyle = colour;
      pen.lineWidth = width;
      pen.stroke();
    }
    pen.font = "600 13px system-ui, sans-serif";
    pen.lineWidth = 4;
    pen.strokeStyle = "#ffffff";
    pen.fillStyle = "#b3273f";
    pen.strokeText(translate("you"), x + 14, y + 4);
    pen.fillText(translate("you"), x + 14, y + 4);
  }
}
