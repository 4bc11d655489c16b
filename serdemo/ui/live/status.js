/* Where the Live tab stands, and what it says of that: a note, a line and the details. */
const SILENT_PEAK = 11; // -70 dBFS
const SILENT_S = 3;
const DELAYS = 20;
const WARN_MS = 1000;

const HINTS = {
  idle: "Press Start, allow the microphone, and speak: the answer follows your voice.",
  starting: "If the browser asks, allow the microphone. The first time, the model has to wake up.",
  live: "Each colour is an emotion. Press any of them to hear that moment again.",
  paused: "Paused: nothing is heard now. Press the waveform to listen from there.",
  stopping: "Answering what is left.",
  stopped: "Stopped. The last minute stays in this page until you leave it or start again.",
};

const RELOAD = "The connection was lost for a while, and the page has to be loaded anew: save what you "
  + "want of this minute, then reload it or choose another tab.";

const timeline = new Timeline();
const meter = new LevelMeter();
const speak = speaker(part("spoken"));
const root = element.querySelector(".sd-live");
const audio = element.querySelector("audio");
let state = "idle";
let link = null;
let started = null;
let fault = "";
let connected = true;
let waiting = false; // gradio, to load the page anew
let warning = "";
let heard = { warning: "", at: 0 };
let silentSamples = 0;
let soundAt = 0;
let newestEnd = 0;
let delays = [];

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

// What the server warns of counts once it has lasted: a note that only flashes up cannot be read.
const heed = (sentence) => {
  const now = performance.now();
  if (sentence !== heard.warning) heard = { warning: sentence, at: now };
  if (now - heard.at > WARN_MS) warning = sentence;
};

const stalled = () => performance.now() - soundAt > 1000 * SILENT_S;

const note = () => {
  let sentence = fault || warning;
  if (!connected) {
    sentence = "The connection is lost: trying again. What you say meanwhile is kept and sent later.";
  } else if (state === "live" && (silentSamples >= SILENT_S * link.rate || stalled())) {
    sentence = "The microphone gives no sound: check that it is not muted, or choose another one.";
  }
  const stopped = state === "idle" && timeline.now > 0;
  if (stopped && waiting && !sentence) sentence = RELOAD;
  showNote(sentence || HINTS[stopped ? "stopped" : state], Boolean(sentence));
  if (sentence) speak(sentence);
};

const status = () => {
  const lag = delays.length ? ` · answers lag ${median(delays).toFixed(1)} s` : "";
  const words = {
    idle: timeline.now ? `Stopped after ${clock(timeline.now)}` : "Not listening",
    starting: "Starting",
    live: `Listening${lag}`,
    paused: "Paused",
    stopping: "Stopping",
  };
  put(part("status"), words[state]);
};

const details = (told) => {
  const captured = link.sound.written;
  const facts = {
    captured: captured.toLocaleString("en"),
    received: link.received.toLocaleString("en"),
    lost: String(state === "idle" ? link.lost + captured - link.sent : link.lost),
    rate: `${link.rate.toLocaleString("en")} Hz, ${link.settings()}`,
    delay: delays.length
      ? `${median(delays).toFixed(2)} s at the median of the last ${delays.length}` : "–",
    windows: told ? `${told.scored} answered, ${told.skipped} left out` : undefined,
    streams: told ? String(told.streams) : undefined,
  };
  for (const [name, fact] of Object.entries(facts)) {
    if (fact !== undefined) put(part(`detail-${name}`), fact);
  }
};

const offer = () => {
  for (const name of ["play", "csv", "json", "wav"]) part(name).disabled = !timeline.now;
  root.toggleAttribute("data-kept", state !== "idle" || timeline.now > 0);
};

const showVoice = (speaking) => {
  part("voice").classList.toggle("sd-on", speaking);
  put(part("voice"), speaking ? "Voice" : "No voice");
};
