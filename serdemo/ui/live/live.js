/* The Live tab: start, pause, listen again, stop; and a sentence for whatever goes wrong.
   States: idle, starting, live, paused, stopping. */
import { clock, partFinder, percent, put } from "../shell/js/dom.js";
import { bindSwitch, pageModels } from "../shell/js/in_browser.js";
import { BrowserMicrophone, exampleVoice, refusal } from "../shell/js/microphone.js";
import { footerData } from "../shell/js/rpc.js";
import { wav } from "../shell/js/sound.js";
import { Answerers, BrowserAnswerer, ServerAnswerer } from "./answerers.js";
import { LOCAL, listDevices, listLocalDevices } from "./devices.js";
import { ANSWER_TIMEOUT_MS, BrowserLink, CALL_TIMEOUT_MS } from "./link.js";
import { LocalLink } from "./local_microphone.js";
import { DOWNLOADS, lastMinute } from "./save.js";
import { SILENT_PEAK, SILENT_S, debounceWarning, detailsOf, noteOf, statusOf } from "./status.js";
import { Timeline } from "./timeline.js";
import { AnswerView, LevelMeter, announcer } from "./view.js";
import { Voice } from "./voice.js";

const MAX_DELAYS = 20; // of which the median is shown

/* Segments of a stream that began at `base` seconds, in seconds since Start. */
const shifted = (segments, base) => segments.map((segment) => ({
  ...segment, start_s: segment.start_s + base, end_s: segment.end_s + base,
}));

class LiveTab {
  constructor({ element, server, getModels = pageModels, chosenModel }) {
    const part = partFinder(element);
    Object.assign(this, { element, part });
    this.root = element.querySelector(".sd-live");
    this.audio = element.querySelector("audio");
    this.answerers = new Answerers(
      server ? new ServerAnswerer(server.live, ANSWER_TIMEOUT_MS) : null,
      new BrowserAnswerer(getModels, chosenModel, (share) => this.onLoading(share)),
    );
    this.ask = this.answerers.ask;
    this.timeline = new Timeline(part("timeline"));
    this.view = new AnswerView(part);
    this.meter = new LevelMeter(part);
    this.announce = announcer(part("spoken"));
    this.voice = new Voice(part, (call, fields) => this.ask(call, fields, CALL_TIMEOUT_MS));
    this.link = null;
    this.started = null;
    this.reloadDue = false; // gradio waits to reload the page
    this.resetSession();
    this.setState("idle");
    this.view.showAnswer("Ready when you are");
  }

  resetSession() {
    this.fault = this.warning = "";
    this.suspended = false; // the browser pauses its sound
    this.debounce = debounceWarning();
    this.connected = true;
    this.silentSamples = 0;
    this.newestEnd = 0;
    this.delays = [];
  }

  get isStalled() {
    return performance.now() - this.soundAt > 1000 * SILENT_S;
  }

  /* Whether there is a stream, of which the server may be asked something. */
  get isOpen() {
    return Boolean(this.link?.stream) && (this.state === "live" || this.state === "paused");
  }

  get now() {
    return this.timeline.data.now;
  }

  setState(state) {
    this.state = state;
    this.soundAt = performance.now();
    this.root.dataset.state = state;
    const { part } = this;
    put(part("start-label"), { idle: "Start listening", starting: "Cancel" }[state] || "Stop");
    part("start").setAttribute("aria-disabled", String(state === "stopping"));
    part("pause").disabled = state !== "live" && state !== "paused";
    put(part("pause"), state === "paused" ? "Go on listening" : "Pause");
    part("example").disabled = state !== "idle";
    this.voice.enable(state === "live");
    this.enableDownloads();
    if (state !== "live") {
      this.meter.reset();
      this.view.showVoice(false);
    }
    this.showStatus();
    this.showNote();
  }

  enableDownloads() {
    for (const name of ["play", "csv", "json", "wav"]) this.part(name).disabled = !this.now;
    this.root.toggleAttribute("data-kept", this.state !== "idle" || this.now > 0);
  }

  showStatus() {
    put(this.part("status"), statusOf(this.state, this.now, this.delays, this.suspended));
  }

  showNote() {
    const { state, fault, warning, connected, suspended, reloadDue } = this;
    const silent = state === "live"
      && (this.silentSamples >= SILENT_S * this.link.rate || this.isStalled);
    const hasSound = this.now > 0;
    const instead = this.link?.instead;
    const note = noteOf({
      state, fault, warning, instead, connected, silent, suspended, reloadDue, hasSound,
    });
    this.view.showNote(note.sentence, note.isFault);
    if (note.isFault) this.announce(note.sentence);
  }

  showDetails(answer) {
    const details = detailsOf(this.link, this.state, this.delays, answer);
    for (const [name, text] of Object.entries(details)) put(this.part(`detail-${name}`), text);
  }

  showAnswer(answer) {
    this.view.showAnswer(answer.says, answer.labels, answer.shares);
    if (answer.labels.length) this.view.showBars(answer.probabilities);
  }

  unloadPlayer() {
    this.audio.pause();
    if (this.audio.src) URL.revokeObjectURL(this.audio.src);
    this.audio.removeAttribute("src");
  }

  /* Gives the last minute as it stands now to the page's own player. */
  loadPlayer() {
    this.unloadPlayer();
    this.audio.src = URL.createObjectURL(wav(lastMinute(this.link), this.link.rate));
    this.timeline.draw();
  }

  /* Lets the map in the tab Explore follow the voice too: `detail` has a block of sound, its rate and
     stream, and whether this browser answers it; null ends that. */
  publishSound(detail) {
    dispatchEvent(new CustomEvent("sd-sound", { detail }));
  }

  onSound(block) {
    const { rate, stream } = this.link;
    this.soundAt = performance.now();
    this.timeline.data.addSound(block, rate);
    this.enableDownloads();
    if (this.state !== "live") return;
    this.publishSound({ block, rate, stream, isHere: this.answerers.isHere });
    this.meter.update(block);
    const silent = block.every((value) => Math.abs(value) < SILENT_PEAK);
    this.silentSamples = silent ? this.silentSamples + block.length : 0;
    put(this.part("now"), clock(this.now));
    put(this.part("total"), clock(this.now));
    if (!document.hidden && this.element.offsetParent) this.timeline.draw();
    this.showNote();
  }

  onAnswer(answer, base) {
    const segments = shifted(answer.segments, base);
    this.timeline.data.addAnswer(base + answer.received_s, answer.speech, segments);
    const ends = segments.filter(({ speech, end_s: end }) => speech > 0 && end > this.newestEnd)
      .map(({ end_s: end }) => end);
    if (ends.length) {
      this.newestEnd = Math.max(...ends);
      this.delays = [...this.delays, this.link.age(this.newestEnd, answer)].slice(-MAX_DELAYS);
    }
    this.view.showVoice(answer.speech && this.state === "live");
    this.voice.follow(this.link, answer);
    this.warning = this.debounce(answer.warnings[0] || "");
    this.showAnswer(answer);
    if (answer.labels.length && !this.warning) this.announce(answer.says);
    this.showStatus();
    this.showDetails(answer);
  }

  /* A link to the chosen microphone, or to the example voice. */
  makeLink(isExample) {
    const isOwn = () => this.link === link;
    const on = {
      sound: (block) => isOwn() && this.onSound(block),
      answer: (answer, base) => isOwn() && this.onAnswer(answer, base),
      connection: (isThere) => {
        this.connected = isThere;
        this.showNote();
      },
      suspended: (is) => isOwn() && this.onSuspended(is),
      trouble: (sentence) => isOwn() && this.end(sentence),
    };
    const api = {
      ask: this.ask,
      leave: (stream) => this.answerers.leave(stream),
      context: () => ({ adapt: this.voice.on, visitor: footerData().visitor }),
      opened: (response) => this.voice.begin(link, response),
    };
    const isLocal = this.part("device").value.startsWith(LOCAL) && !isExample;
    const Microphone = isExample ? exampleVoice(this.ask) : BrowserMicrophone;
    const link = isLocal ? new LocalLink(on, api) : new BrowserLink(on, api, Microphone);
    return link;
  }

  async start(isExample) {
    this.resetSession();
    this.unloadPlayer();
    this.timeline.clear();
    put(this.part("scope"), "Now");
    this.started = new Date();
    this.answerers.choose();
    this.setState("starting");
    this.view.showAnswer("Starting");
    const link = this.makeLink(isExample);
    this.link = link;
    try {
      await link.open(this.part("device").value.replace(LOCAL, ""), this.part("clean").checked);
    } catch (error) {
      link.leave();
      if (this.link === link) this.finish(refusal(error));
      return;
    }
    if (this.link !== link) return link.leave(); // cancelled meanwhile
    this.view.showAnswer(isExample ? "Listening" : "Say something");
    this.setState("live");
    if (this.suspended) this.onSuspended(true);
    if (navigator.mediaDevices) listDevices(this.part("device"));
  }

  /* A model of this browser is loaded, `share` of it so far. */
  onLoading(share) {
    if (this.state === "starting") this.view.showAnswer(`Loading ${percent(share)}`);
  }

  finish(sentence) {
    this.publishSound(null);
    this.fault = sentence || "";
    this.setState("idle");
    if (!this.now) this.view.showAnswer(this.fault ? "It could not start" : "Ready when you are");
  }

  /* Stops; `sentence` is the fault that is the reason, or "". */
  async end(sentence) {
    if (this.state === "idle" || this.state === "stopping") return;
    if (this.state === "starting") {
      this.link = null;
      return this.finish(sentence);
    }
    this.setState("stopping");
    this.warning = "";
    if (!sentence) await this.voice.save(this.link);
    const answer = await this.link.close();
    if (answer?.segments) {
      const base = this.link.base / this.link.rate;
      this.timeline.data.addAnswer(this.now, false, shifted(answer.segments, base));
      this.showAnswer(answer);
      put(this.part("scope"), this.link.isRenewed ? `From ${clock(base)} on, taken as a whole` : "Taken as a whole");
      if (!sentence) this.announce(`Stopped. Taken as a whole: ${answer.says}`);
    }
    this.connected = true;
    this.suspended = false;
    this.finish(sentence);
    this.showDetails();
    this.loadPlayer();
  }

  pause() {
    if (this.state !== "live") return;
    this.setState("paused");
    this.loadPlayer();
    this.link.pause();
  }

  /* The browser has paused all sound of the page, or lets it run again. */
  onSuspended(is) {
    this.suspended = is;
    if (is && this.state === "live") {
      this.setState("paused");
      this.loadPlayer();
    } else if (!is && this.state === "paused") {
      this.listenAgain();
    }
  }

  listenAgain() {
    this.unloadPlayer();
    this.silentSamples = 0;
    this.setState("live");
  }

  async resume() {
    const { link } = this;
    this.unloadPlayer();
    this.part("pause").disabled = true;
    let runs;
    try {
      runs = await link.resume();
    } catch (error) {
      if (this.link === link) this.end(refusal(error));
      return;
    }
    if (this.link !== link || this.state !== "paused") return; // stopped meanwhile
    this.suspended = runs === false;
    if (!this.suspended) return this.listenAgain();
    this.setState("paused");
    this.loadPlayer();
  }

  /* Another device or other processing takes effect at once; the change from the browser's microphones
     to the machine's, or back, at the next Start. */
  async changeDevice() {
    const running = this.state === "live" || this.state === "paused";
    if (!running || this.part("device").value.startsWith(LOCAL)) return;
    const { link } = this;
    try {
      await link.change(this.part("device").value, this.part("clean").checked);
      if (this.state === "paused") await link.pause();
    } catch (error) {
      if (this.link === link) this.end(refusal(error));
    }
  }

  onClick(event) {
    const button = event.target.closest("button");
    if (!button) return;
    const act = button.dataset.act || (button.classList.contains("sd-span") && "play");
    // The page's own player plays, once there is something loaded: nobody is to hear themselves.
    if (act === "play") this.pause();
    if (act === "start") this.state === "idle" ? this.start(false) : this.end("");
    if (act === "example") {
      this.part("start").focus(); // the button pressed cannot keep it
      this.start(true);
    }
    if (act === "pause") this.state === "live" ? this.pause() : this.resume();
    if (act === "forget") this.voice.forget(this.link, this.isOpen);
    if (act === "calibrate") {
      const { link } = this;
      this.voice.calibrate(link, () => this.link === link && this.state === "live");
    }
    if (DOWNLOADS[act]) DOWNLOADS[act](this);
  }

  onPageHide() {
    if (!this.link || this.state === "idle") return;
    this.link.leave();
    this.finish("");
  }

  onReloadDue() {
    if (this.reloadDue) return;
    this.reloadDue = true;
    this.showNote();
  }
}

/* `server` is null on a page without one, else `megabytes` are loaded to answer in the browser; `getModels` and
   `chosenModel` are those of `BrowserAnswerer`, by default the models of gradio's page. */
export const mount = (options) => {
  const { element, labels } = options;
  const tab = new LiveTab(options);
  const { part } = tab;
  element.addEventListener("click", (event) => tab.onClick(event));
  part("device").addEventListener("change", () => tab.changeDevice());
  part("clean").addEventListener("change", () => tab.changeDevice());
  part("adapt").addEventListener("change", () => tab.voice.change(tab.link, tab.isOpen));
  part("remember").addEventListener("change", ({ target }) => {
    tab.voice.store.remembers = target.checked;
  });
  part("megabytes").textContent = options.megabytes;
  bindSwitch(part("in-browser"));
  part("where").hidden = !tab.answerers.server;
  addEventListener("pagehide", () => tab.onPageHide());
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && tab.suspended && tab.state === "paused") tab.resume();
  });
  tab.root.addEventListener("sd-waiting", () => tab.onReloadDue());
  setInterval(() => tab.state === "live" && tab.isStalled && tab.showNote(), 1000);
  tab.view.showBars(Object.fromEntries(labels.map((label) => [label, null])));
  if (tab.answerers.server) listLocalDevices(part("device"), tab.ask);
  if (!navigator.mediaDevices) return;
  navigator.mediaDevices.addEventListener("devicechange", () => listDevices(part("device")));
  listDevices(part("device"));
};
