/* The sentences of the Live tab about its state: note, status line and details. */
import { clock, count } from "../shell/js/dom.js";

export const SILENT_PEAK = 11; // -70 dB below full scale
export const SILENT_S = 3;
const WARN_MS = 1000;

const HINTS = {
  idle: "Press Start, allow the microphone, and speak: the answer follows your voice.",
  starting: "If the browser asks, allow the microphone. The first time, the model has to wake up.",
  live: "Each colour is an emotion. Press any of them to hear that moment again.",
  paused: "Paused: nothing is heard now. Press the waveform to listen from there.",
  stopping: "Answering what is left.",
  stopped: "Stopped. The last minute stays in this page until you leave it or start again.",
};
const DISCONNECTED =
  "The connection is lost: trying again. What you say meanwhile is kept and sent later.";
const SUSPENDED =
  "Paused by the browser, as for a call: press Go on listening. What was heard is kept.";
const NO_SOUND =
  "The microphone gives no sound: check that it is not muted, or choose another one.";
const RELOAD =
  "The connection was lost: save what you want of this page, then reload it or choose another tab.";

/* A function of the newest warning of the server that returns the one to show: a warning counts once
   it has lasted, as a note that only flashes up cannot be read. */
export const debounceWarning = () => {
  let shown = "";
  let candidate = { sentence: "", since: 0 };
  return (sentence, now = performance.now()) => {
    if (sentence !== candidate.sentence) candidate = { sentence, since: now };
    if (now - candidate.since > WARN_MS) shown = sentence;
    return shown;
  };
};

/* The note as { sentence, isFault }: one sentence at a time, the worst; a hint where nothing is wrong.
   While listening the hint is `instead`, if another model than usual answers. The page has room for 96
   characters: nothing below the note is to move. */
export const noteOf = (now) => {
  const { state, fault, warning, instead, connected, silent, suspended, reloadDue, hasSound } = now;
  const stopped = state === "idle" && hasSound;
  let sentence = fault || warning;
  if (!connected) sentence = DISCONNECTED;
  else if (state === "paused" && suspended) sentence = SUSPENDED;
  else if (state === "live" && silent) sentence = NO_SOUND;
  if (stopped && reloadDue && !fault) sentence = RELOAD;
  const hint = state === "live" && instead ? instead : HINTS[stopped ? "stopped" : state];
  return { sentence: sentence || hint, isFault: Boolean(sentence) };
};

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

/* The line above the answer; `delays` are the newest in seconds. */
export const statusOf = (state, now, delays, suspended) => ({
  idle: now ? `Stopped after ${clock(now)}` : "Not listening",
  starting: "Starting",
  live: `Listening${delays.length ? ` · answers lag ${median(delays).toFixed(1)} s` : ""}`,
  paused: suspended ? "Paused by the browser" : "Paused",
  stopping: "Stopping",
}[state]);

/* The rows of Details, by their names; `answer` is the server's newest, if there is one. */
export const detailsOf = (link, state, delays, answer) => {
  const captured = link.sound.written;
  const lost = state === "idle" ? link.lost + captured - link.sent : link.lost;
  const rows = {
    captured: count(captured),
    received: count(link.received),
    lost: String(lost),
    rate: `${count(link.rate)} Hz, ${link.processing()}`,
    delay: delays.length
      ? `${median(delays).toFixed(2)} s at the median of the last ${delays.length}` : "–",
  };
  if (!answer) return rows;
  const windows = `${answer.scored} answered, ${answer.skipped} left out`;
  return { ...rows, windows, streams: String(answer.streams) };
};
