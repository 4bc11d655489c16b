/* What the Live tab shows beside its timeline: answer, bars, note and input level. Everything has
   its place from the beginning, so that nothing jumps. */
import { percent, put, putAttribute } from "../shell/js/dom.js";
import { bar, marker } from "../shell/js/emotions.js";
import { FULL_SCALE, MIN_DB, drawLevel, levelDb } from "../shell/js/sound.js";

const CLIPPED = 0.999 * FULL_SCALE;
const CLIPPING_MS = 2000;
const MAX_FALL_DB = 3; // from block to block, slow enough for the eye
const ANNOUNCE_MS = 2000;

export class AnswerView {
  constructor(part) {
    this.part = part;
  }

  showAnswer(sentence, labels = [], shares = []) {
    const title = this.part("says");
    title.classList.toggle("sd-live-idle", !labels.length);
    put(title, sentence);
    const marks = this.part("marks");
    if (marks.dataset.labels !== labels.join()) {
      marks.dataset.labels = labels.join();
      marks.innerHTML = labels.map(marker).join("");
    }
    put(this.part("share"), shares.map(percent).join(" / "));
  }

  /* The share of each label, null for none. The rows never change places: ones that do so twice a
     second could not be read. */
  showBars(probabilities) {
    const list = this.part("bars");
    const labels = Object.keys(probabilities).sort();
    if (list.dataset.labels !== labels.join()) {
      list.dataset.labels = labels.join();
      list.innerHTML = labels.map((label) => bar(label, 0)).join("");
    }
    labels.forEach((label, row) => {
      const share = probabilities[label];
      list.children[row].querySelector(".sd-track span").style.width = percent(share || 0);
      put(list.children[row].querySelector(".sd-number"), share === null ? "–" : percent(share));
    });
  }

  showNote(sentence, isFault) {
    put(this.part("note"), sentence);
    this.part("note").classList.toggle("sd-live-fault", isFault);
  }

  showVoice(speaking) {
    this.part("voice").classList.toggle("sd-on", speaking);
    put(this.part("voice"), speaking ? "Voice" : "No voice");
  }
}

/* A function that announces a sentence to screen readers through `node`, at most every two seconds. */
export const announcer = (node) => {
  let next = "";
  let latest = "";
  let timer = null;
  const announce = () => {
    timer = null;
    if (!next || latest === next) return;
    node.textContent = latest = next;
    timer = setTimeout(announce, ANNOUNCE_MS);
  };
  return (sentence) => {
    next = sentence;
    if (!timer) announce();
  };
};

/* Input level in dB below full scale, and a mark that stays for a while after clipping. */
export class LevelMeter {
  constructor(part) {
    this.part = part;
    this.reset();
  }

  update(block) {
    if (block.some((value) => Math.abs(value) >= CLIPPED)) this.clippedAt = performance.now();
    this.db = Math.max(levelDb(block), this.db - MAX_FALL_DB);
    this.draw();
  }

  reset() {
    this.db = MIN_DB;
    this.clippedAt = -Infinity;
    this.draw();
  }

  draw() {
    const text = `${this.db.toFixed(0)} dB`;
    drawLevel(this.part("meter"), this.db);
    putAttribute(this.part("meter"), "aria-valuetext", text);
    put(this.part("level"), this.db > MIN_DB ? text.replace("-", "−") : "");
    const clipping = performance.now() - this.clippedAt < CLIPPING_MS;
    this.part("clipping").classList.toggle("sd-on", clipping);
  }
}
