/* The Live tab's course: start, pause, listen again, stop; and a sentence for whatever goes wrong.
   States: idle, starting, live, paused, stopping. */
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

// The map in the tab Explore follows the voice too; null says that it has ended.
const tellMap = (detail) => dispatchEvent(new CustomEvent("sd-sound", { detail }));

const onSound = (block) => {
  soundAt = performance.now();
  timeline.sound(block, link.rate);
  offer();
  if (state !== "live") return;
  tellMap({ block, rate: link.rate });
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
  tellMap(null);
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
  const own = link;
  hush();
  part("pause").disabled = true;
  try {
    await own.resume();
  } catch (error) {
    if (link === own) end(refusal(error));
    return;
  }
  if (link !== own || state !== "paused") return; // stopped meanwhile
  silentSamples = 0;
  enter("live");
};

// Another device or treatment takes effect at once; from one side to the other, at the next Start.
const change = async () => {
  if ((state !== "live" && state !== "paused") || part("device").value.startsWith(DESK)) return;
  const own = link;
  try {
    await own.change(part("device").value, part("clean").checked);
    if (state === "paused") await own.pause();
  } catch (error) {
    if (link === own) end(refusal(error));
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
root.addEventListener("sd-waiting", () => {
  if (waiting) return;
  waiting = true;
  note();
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
