/* Teach it your voice: takes from the microphone, and the buttons of the panel. The panel is made
   anew by the server after each press, so everything listens here and finds its place by name. */
const LONGEST_S = 15;
const LISTENING = "Stop";

const part = (name) => element.querySelector(`[data-part="${name}"]`);
const find = (act) => element.querySelector(`[data-act="${act}"]`);
const root = () => element.querySelector(".sd-voice");
let microphone = null;
let pieces = [];
let last = null; // the last take sent: its sound, and what it was meant as
let busy = false;
let lastEmotion = "";
let pressed = "";
let wanted = null; // emotions ticked while the server was still busy with those before
let waiting = false; // Record was pressed meanwhile

const seconds = () => pieces.reduce((sum, piece) => sum + piece.length, 0) / microphone.rate;

const trouble = (sentence) => {
  const told = part("trouble");
  if (!told) return;
  told.textContent = sentence.replace("press Start", "press Record");
  told.hidden = !sentence;
};

const send = (act, more) => {
  busy = true;
  pressed = act;
  root().setAttribute("aria-busy", "true");
  if (act === "teach") trigger("apply", {});
  else trigger("submit", { act, ...more });
};

const sendTake = (anyway) => {
  last.anyway = anyway;
  send("take", { emotion: last.emotion, rate: last.rate, samples: toBase64(last.sound), anyway });
};

const level = (block) => {
  const power = block.reduce((sum, value) => sum + (value / 32768) ** 2, 0) / block.length;
  const db = Math.max(-60, 10 * Math.log10(power + 1e-12));
  const meter = part("meter");
  meter.firstElementChild.style.width = `${(100 * (db + 60)) / 60}%`;
  meter.setAttribute("aria-valuenow", db.toFixed(0));
  part("clock").textContent = `${seconds().toFixed(1)} s`;
};

const stop = async () => {
  const ended = microphone;
  await ended.close();
  microphone = null;
  const sound = new Int16Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    sound.set(piece, at);
    at += piece.length;
  }
  pieces = [];
  find("record").classList.remove("sd-on");
  part("record").textContent = "Record";
  if (!sound.length) return trouble("The microphone gave no sound: check that it is not muted.");
  last = { sound, rate: ended.rate, emotion: ended.emotion };
  sendTake(false);
};

const start = async () => {
  trouble("");
  if (part("told")) part("told").remove(); // it was about the take before
  const opened = new BrowserMicrophone((block) => {
    pieces.push(block);
    if (opened !== microphone || opened.ending) return;
    level(block);
    if (seconds() >= LONGEST_S) finish();
  }, trouble);
  opened.emotion = root().dataset.due;
  microphone = opened;
  part("record").textContent = "Wait";
  try {
    await opened.open("", false);
  } catch (error) {
    microphone = null;
    part("record").textContent = "Record";
    await opened.close();
    return trouble(refusal(error));
  }
  opened.begin();
  opened.ready = true;
  find("record").classList.add("sd-on");
  part("record").textContent = LISTENING;
};

const finish = () => {
  if (!microphone || !microphone.ready || microphone.ending) return;
  microphone.ending = true;
  stop();
};

const listen = () => {
  const sound = new Audio(URL.createObjectURL(wav(last.sound, last.rate)));
  sound.onended = () => URL.revokeObjectURL(sound.src);
  sound.play().catch(() => {});
};

const choose = (emotions) => {
  wanted = busy ? emotions : null;
  if (busy) return;
  busy = true;
  trigger("submit", { act: "choose", emotions });
};

element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-act]");
  if (!button) return;
  const act = button.dataset.act;
  waiting = busy && act === "record" && pressed.startsWith("choose-");
  if (busy) return;
  if (act === "record") return microphone ? finish() : start();
  if (microphone) return;
  if (act === "listen") return last && listen();
  if (act === "anyway") return last && sendTake(true);
  if (act === "delete" && !confirm("Delete your recordings and the model they taught?")) return;
  const emotion = act === "again" ? root().dataset.last || lastEmotion : root().dataset.due;
  send(act, { emotion });
});

element.addEventListener("change", (event) => {
  if (!event.target.matches("[data-act=choose]")) return;
  if (microphone || (busy && !pressed.startsWith("choose-"))) {
    event.target.checked = !event.target.checked; // one thing at a time
    return;
  }
  const ticked = [...element.querySelectorAll("[data-act=choose]:checked")];
  pressed = `choose-${event.target.value}`;
  choose(ticked.map((box) => box.value));
});

// The button pressed is another one now: whoever uses the keyboard goes on from its place.
const NEXT = { take: "record", again: "record", skip: "record", anyway: "record" };
watch("value", () => {
  const share = element.querySelector(".sd-voice-lesson progress");
  busy = Boolean(share);
  if (wanted && !busy) {
    for (const box of element.querySelectorAll("[data-act=choose]"))
      box.checked = wanted.includes(box.value);
    choose(wanted);
  }
  if (!pressed) return;
  const lost = document.activeElement === document.body || !document.activeElement;
  const box = pressed.startsWith("choose-")
    ? element.querySelector(`[data-act=choose][value="${pressed.slice(7)}"]`) : null;
  const places = [box, find(NEXT[pressed] || pressed), find("record"), find("teach"), find("use")];
  const place = places.find((node) => node && !node.disabled);
  if (lost && place) place.focus({ preventScroll: true });
  if (busy) return;
  pressed = "";
  if (waiting) start();
  waiting = false;
});
