/* The Live tab's course: start, pause, listen again, stop; and a sentence for whatever goes wrong.
   States: idle, starting, live, paused, stopping. */
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
};

const showVoice = (speaking) => {
  part("voice").classList.toggle("sd-on", speaking);
  put(part("voice"), speaking ? "Voice" : "No voice");
};

const enter = (next) => {
  state = next;
  soundAt = performance.now();
  root.dataset.state = state;
  const on = state === "live" || state === "paused";
  put(part("start-label"), { idle: "Start listening", starting: "Cancel" }[state] || "Stop");
  part("start").setAttribute("aria-disabled", String(state === "stopping"));
  part("pause").disabled = !on;
  put(part("pause"), state === "paused" ? "Go on listening" : "Pause");
  part("example").disabled = state !== "idle";
  neutral.offer(state === "live");
  offer();
  if (state !== "live") {
    meter.rest();
    showVoice(false);
  }
  status();
  note();
};

const hush = () => {
  audio.pause();
  if (audio.src) URL.revokeObjectURL(audio.src);
  audio.removeAttribute("src");
};

// The last minute as it stands now, for the page's own player.
const load = () => {
  hush();
  audio.src = URL.createObjectURL(wav(lastMinute(), link.rate));
  timeline.draw();
};

const onSound = (block) => {
  soundAt = performance.now();
  timeline.sound(block, link.rate);
  offer();
  if (state !== "live") return;
  meter.update(block);
  const silent = block.every((value) => Math.abs(value) < SILENT_PEAK);
  silentSamples = silent ? silentSamples + block.length : 0;
  put(part("now"), clock(timeline.now));
  put(part("total"), clock(timeline.now));
  if (!document.hidden && element.offsetParent) timeline.draw();
  note();
};

const onAnswers = (told, base) => {
  const segments = told.segments.map((segment) => ({
    ...segment, start_s: segment.start_s + base, end_s: segment.end_s + base,
  }));
  timeline.answers(base + told.heard_s, told.speech, segments);
  const answered = segments.filter((segment) => segment.speech > 0 && segment.end_s > newestEnd);
  if (answered.length) {
    newestEnd = Math.max(...answered.map((segment) => segment.end_s));
    delays = [...delays, link.age(newestEnd, told)].slice(-DELAYS);
  }
  showVoice(told.speech && state === "live");
  heed(told.warnings[0] || "");
  showAnswer(told.says, told.labels, told.shares);
  if (told.labels.length) showBars(told.probabilities);
  if (told.labels.length && !warning) speak(told.says);
  status();
  details(told);
};

const begin = async (example) => {
  const chosen = part("device").value;
  fault = warning = "";
  connected = true;
  silentSamples = newestEnd = 0;
  delays = [];
  hush();
  timeline.clear();
  put(part("scope"), "Now");
  started = new Date();
  enter("starting");
  showAnswer("Starting", [], []);
  const on = {
    sound: (block) => link === own && onSound(block),
    answers: (told, base) => link === own && onAnswers(told, base),
    connection: (there) => { connected = there; note(); },
    trouble: (sentence) => link === own && end(sentence),
  };
  const desk = chosen.startsWith(DESK) && !example;
  const own = desk ? new DeskLink(on) : new BrowserLink(on, example ? ExampleVoice : BrowserMicrophone);
  link = own;
  try {
    await own.open(chosen.replace(DESK, ""), part("clean").checked);
  } catch (error) {
    own.leave();
    if (link === own) finish(refusal(error));
    return;
  }
  if (link !== own) return own.leave(); // cancelled meanwhile
  showAnswer(example ? "Listening" : "Say something", [], []);
  enter("live");
  listDevices();
};

const finish = (sentence) => {
  fault = sentence || "";
  enter("idle");
  if (!timeline.now) showAnswer(fault ? "It could not start" : "Ready when you are", [], []);
};

const end = async (sentence) => {
  if (state === "idle" || state === "stopping") return;
  if (state === "starting") {
    link = null;
    return finish(sentence);
  }
  enter("stopping");
  warning = "";
  const told = await link.close();
  if (told && told.segments) {
    const base = link.base / link.rate;
    timeline.answers(timeline.now, false, told.segments.map((segment) => ({
      ...segment, start_s: segment.start_s + base, end_s: segment.end_s + base,
    })));
    showAnswer(told.says, told.labels, told.shares);
    if (told.labels.length) showBars(told.probabilities);
    put(part("scope"), "Taken as a whole");
    if (!sentence) speak(`Stopped. Taken as a whole: ${told.says}`);
  }
  connected = true;
  finish(sentence);
  details();
  load();
};

const hold = () => {
  if (state !== "live") return;
  enter("paused");
  load();
  link.pause();
};

const goOn = async () => {
  hush();
  await link.resume();
  silentSamples = 0;
  enter("live");
};

// Another device or treatment takes effect at once; from one side to the other, at the next Start.
const change = async () => {
  if ((state !== "live" && state !== "paused") || part("device").value.startsWith(DESK)) return;
  try {
    await link.change(part("device").value, part("clean").checked);
    if (state === "paused") await link.pause();
  } catch (error) {
    end(refusal(error));
  }
};

element.addEventListener("click", (event) => {
  const pressed = event.target.closest("button");
  if (!pressed) return;
  const act = pressed.dataset.act || (pressed.classList.contains("sd-span") && "play");
  // The page's own player plays, once there is something loaded: one does not hear oneself.
  if (act === "play") hold();
  if (act === "start") state === "idle" ? begin(false) : end("");
  if (act === "example") {
    part("start").focus(); // the button pressed cannot keep it
    begin(true);
  }
  if (act === "pause") state === "live" ? hold() : goOn();
  if (act === "calibrate") {
    const own = link;
    neutral.calibrate(own, () => link === own && state === "live");
  }
  if (downloads[act]) downloads[act]();
});
part("device").addEventListener("change", change);
part("clean").addEventListener("change", change);
part("neutral").addEventListener("change", () => link && link.stream && neutral.apply(link));
addEventListener("pagehide", () => {
  if (!link || state === "idle") return;
  link.leave();
  finish("");
});
setInterval(() => state === "live" && stalled() && note(), 1000);
showBars(Object.fromEntries(LABELS.map((label) => [label, null])));
neutral.tell("");
enter("idle");
showAnswer("Ready when you are", [], []);
listDesk();
if (navigator.mediaDevices) {
  navigator.mediaDevices.addEventListener("devicechange", listDevices);
  listDevices();
}
