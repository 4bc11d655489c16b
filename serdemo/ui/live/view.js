/* What the Live tab shows beside its timeline: answer, bars, note and input level. Everything has
   its place from the beginning, so that nothing jumps. */
const part = (name) => element.querySelector(`[data-part=${name}]`);
const look = (label) => LOOKS[label] || LOOKS.other;
const percent = (share) => `${Math.round(100 * share)}%`;
const clock = (seconds) => {
  const tenths = Math.floor(10 * seconds + 1e-6);
  const whole = String(Math.floor(tenths / 10) % 60).padStart(2, "0");
  return `${Math.floor(tenths / 600)}:${whole}.${tenths % 10}`;
};
const put = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};

const showAnswer = (says, labels, shares) => {
  const title = part("says");
  title.classList.toggle("sd-live-idle", !labels.length);
  put(title, says);
  const marks = part("marks");
  if (marks.dataset.labels !== labels.join()) {
    marks.dataset.labels = labels.join();
    marks.innerHTML = labels.map((label) => look(label).marker).join("");
  }
  put(part("share"), shares.map(percent).join(" / "));
};

// The rows keep their order: ones that change places twice a second could not be read.
const showBars = (probabilities) => {
  const list = part("bars");
  const labels = Object.keys(probabilities).sort();
  if (list.dataset.labels !== labels.join()) {
    list.dataset.labels = labels.join();
    list.innerHTML = labels.map((label) => `<li>${look(label).marker}
      <span class="sd-bar-name">${label}</span><span class="sd-track" aria-hidden="true">
      <span style="--c:${look(label).colour}"></span></span><span class="sd-number"></span></li>`).join("");
  }
  labels.forEach((label, row) => {
    const share = probabilities[label];
    list.children[row].querySelector(".sd-track span").style.width = percent(share || 0);
    put(list.children[row].querySelector(".sd-number"), share === null ? "–" : percent(share));
  });
};

// One sentence at a time, the worst; what else there is to know stands there otherwise.
const showNote = (sentence, fault) => {
  put(part("note"), sentence);
  part("note").classList.toggle("sd-live-fault", fault);
};

/* The screen reader is told what changed, at most every two seconds. */
const speaker = (node) => {
  let next = "";
  let timer = null;
  const tell = () => {
    timer = null;
    if (!next || node.textContent === next) return;
    node.textContent = next;
    timer = setTimeout(tell, 2000);
  };
  return (sentence) => {
    next = sentence;
    if (!timer) tell();
  };
};

/* Input level in dBFS from -60 to 0, and a mark that stays for two seconds after clipping. */
class LevelMeter {
  constructor() {
    this.clippedAt = -Infinity;
    this.shown = -60;
  }

  update(block) {
    let power = 0;
    for (const value of block) {
      const level = value / 32768;
      power += level * level;
      if (Math.abs(level) >= FULL_SCALE) this.clippedAt = performance.now();
    }
    const level = Math.max(-60, 10 * Math.log10(power / block.length + 1e-12));
    this.shown = Math.max(level, this.shown - 3); // it falls slowly enough for the eye
    this.draw();
  }

  draw() {
    const meter = part("meter");
    meter.firstElementChild.style.width = `${(100 * (this.shown + 60)) / 60}%`;
    meter.setAttribute("aria-valuenow", this.shown.toFixed(0));
    meter.setAttribute("aria-valuetext", `${this.shown.toFixed(0)} dB`);
    put(part("level"), this.shown > -60 ? `${this.shown.toFixed(0)} dB`.replace("-", "−") : "");
    const clipping = performance.now() - this.clippedAt < 2000;
    part("clipping").classList.toggle("sd-on", clipping);
  }

  rest() {
    this.shown = -60;
    this.clippedAt = -Infinity;
    this.draw();
  }
}
