/* Teach it your voice: takes from the microphone, and the buttons of the panel. The server replaces
   the panel after each press, so everything listens here and finds its element by name. */
import { partFinder } from "../shell/js/dom.js";
import { BrowserMicrophone, refusal } from "../shell/js/microphone.js";
import { concat, drawLevel, levelDb, toBase64, wav } from "../shell/js/sound.js";

const MAX_TAKE_S = 15;
// After these acts the pressed button is gone: the focus goes to another one.
const FOCUS_AFTER = { take: "record", again: "record", skip: "record", anyway: "record" };

/* The sound of one take while it is recorded. */
class Recording {
  constructor(emotion, onBlock, onTrouble) {
    this.emotion = emotion;
    this.blocks = [];
    this.microphone = new BrowserMicrophone((block) => {
      this.blocks.push(block);
      if (!this.ending) onBlock(block);
    }, onTrouble);
    this.ready = false;
    this.ending = false;
  }

  get seconds() {
    return this.blocks.reduce((sum, block) => sum + block.length, 0) / this.microphone.rate;
  }

  async open() {
    await this.microphone.open("", false);
    this.microphone.start();
    this.ready = true;
  }

  async finish() {
    await this.microphone.close();
    return { emotion: this.emotion, rate: this.microphone.rate, sound: concat(this.blocks) };
  }
}

class TakesPanel {
  constructor({ element, trigger }) {
    Object.assign(this, { element, trigger, part: partFinder(element) });
    this.recording = null;
    this.take = null; // the last one sent
    this.busy = false; // with a press that the server has not answered
    this.pressed = "";
    this.queuedEmotions = null; // ticked while the server was busy with those before
    this.recordNext = false; // Record was pressed meanwhile
  }

  get root() {
    return this.element.querySelector(".sd-voice");
  }

  button(act) {
    return this.element.querySelector(`[data-act="${act}"]`);
  }

  showTrouble(sentence) {
    const node = this.part("trouble");
    if (!node) return;
    node.textContent = sentence.replace("press Start", "press Record");
    node.hidden = !sentence;
  }

  send(act, fields) {
    this.busy = true;
    this.pressed = act;
    this.root.setAttribute("aria-busy", "true");
    if (act === "teach") this.trigger("apply", {});
    else this.trigger("submit", { act, ...fields });
  }

  sendTake(anyway) {
    const { emotion, rate, sound } = this.take;
    this.send("take", { emotion, rate, samples: toBase64(sound), anyway });
  }

  showLevel(block) {
    drawLevel(this.part("meter"), levelDb(block));
    this.part("clock").textContent = `${this.recording.seconds.toFixed(1)} s`;
  }

  async startRecording() {
    this.showTrouble("");
    this.part("message")?.remove(); // it was about the take before
    const recording = new Recording(this.root.dataset.due, (block) => {
      if (recording !== this.recording) return;
      this.showLevel(block);
      if (recording.seconds >= MAX_TAKE_S) this.stopRecording();
    }, (sentence) => this.showTrouble(sentence));
    this.recording = recording;
    this.part("record").textContent = "Wait";
    try {
      await recording.open();
    } catch (error) {
      this.recording = null;
      this.part("record").textContent = "Record";
      await recording.microphone.close();
      return this.showTrouble(refusal(error));
    }
    this.button("record").classList.add("sd-on");
    this.part("record").textContent = "Stop";
  }

  async stopRecording() {
    const { recording } = this;
    if (!recording?.ready || recording.ending) return;
    recording.ending = true;
    const take = await recording.finish();
    this.recording = null;
    this.button("record").classList.remove("sd-on");
    this.part("record").textContent = "Record";
    if (!take.sound.length) {
      return this.showTrouble("The microphone gave no sound: check that it is not muted.");
    }
    this.take = take;
    this.sendTake(false);
  }

  playTake() {
    const audio = new Audio(URL.createObjectURL(wav(this.take.sound, this.take.rate)));
    audio.onended = () => URL.revokeObjectURL(audio.src);
    audio.play().catch(() => {});
  }

  chooseEmotions(emotions) {
    this.queuedEmotions = this.busy ? emotions : null;
    if (this.busy) return;
    this.busy = true;
    this.trigger("submit", { act: "choose", emotions });
  }

  onClick(event) {
    const button = event.target.closest("button[data-act]");
    if (!button) return;
    const { act } = button.dataset;
    this.recordNext = this.busy && act === "record" && this.pressed.startsWith("choose-");
    if (this.busy) return;
    if (act === "record") return this.recording ? this.stopRecording() : this.startRecording();
    if (this.recording) return;
    if (act === "listen") return this.take && this.playTake();
    if (act === "anyway") return this.take && this.sendTake(true);
    if (act === "delete" && !confirm("Delete your recordings and the model they taught?")) return;
    const { last, due } = this.root.dataset;
    this.send(act, { emotion: act === "again" ? last : due });
  }

  onChange(event) {
    const box = event.target;
    if (!box.matches("[data-act=choose]")) return;
    if (this.recording || (this.busy && !this.pressed.startsWith("choose-"))) {
      box.checked = !box.checked; // one thing at a time
      return;
    }
    const ticked = [...this.element.querySelectorAll("[data-act=choose]:checked")];
    this.pressed = `choose-${box.value}`;
    this.chooseEmotions(ticked.map(({ value }) => value));
  }

  /* The server has replaced the panel. */
  onPanel() {
    this.busy = Boolean(this.element.querySelector(".sd-voice-lesson progress"));
    if (this.queuedEmotions && !this.busy) {
      for (const box of this.element.querySelectorAll("[data-act=choose]")) {
        box.checked = this.queuedEmotions.includes(box.value);
      }
      this.chooseEmotions(this.queuedEmotions);
    }
    if (!this.pressed) return;
    this.restoreFocus();
    if (this.busy) return;
    this.pressed = "";
    if (this.recordNext) this.startRecording();
    this.recordNext = false;
  }

  restoreFocus() {
    if (document.activeElement && document.activeElement !== document.body) return;
    const box = this.pressed.startsWith("choose-")
      ? this.element.querySelector(`[data-act=choose][value="${this.pressed.slice(7)}"]`) : null;
    const acts = [FOCUS_AFTER[this.pressed] || this.pressed, "record", "teach", "use"];
    const candidates = [box, ...acts.map((act) => this.button(act))];
    candidates.find((node) => node && !node.disabled)?.focus({ preventScroll: true });
  }
}

export const mount = ({ element, trigger, watch }) => {
  const panel = new TakesPanel({ element, trigger });
  element.addEventListener("click", (event) => panel.onClick(event));
  element.addEventListener("change", (event) => panel.onChange(event));
  watch("value", () => panel.onPanel());
  panel.onPanel(); // the first panel may have come before this script
};
