/* The timeline of the last minute: waveform, stretches of one emotion, axis. Times are in seconds
   since Start. */
const BAR_S = 0.3;
const JOIN_S = 0.6; // shorter pauses do not part a stretch
// The speech indicator needs a moment to be sure, and stays on for a moment.
const VOICE_ON_S = 0.5;
const VOICE_OFF_S = 0.2;
const SVG = "http://www.w3.org/2000/svg";

/* Turns scored windows and the times of speech into stretches of one label that do not overlap:
   at each moment of speech the window counts whose middle is nearest, as with a recording. */
const stretches = (segments, voiced) => {
  const scored = segments.filter((segment) => segment.speech > 0);
  const found = [];
  for (const [from, to] of voiced) {
    scored.forEach((segment, i) => {
      const middle = (other) => (other.start_s + other.end_s + segment.start_s + segment.end_s) / 4;
      const start = Math.max(from, i ? middle(scored[i - 1]) : segment.start_s);
      const end = Math.min(to, i + 1 < scored.length ? middle(scored[i + 1]) : segment.end_s);
      if (end - start < 0.01) return;
      const last = found[found.length - 1];
      if (last && last.label === segment.label && start - last.end < 0.01) last.end = end;
      else found.push({ start, end, label: segment.label, confidence: segment.confidence });
    });
  }
  return found;
};

/* The last minute: it fills from the left, then moves. */
class Timeline {
  constructor() {
    this.root = part("timeline");
    this.wave = this.root.querySelector(".sd-wave");
    this.spans = this.root.querySelector(".sd-spans");
    this.axis = this.root.querySelector(".sd-axis");
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.clear();
  }

  clear() {
    this.now = 0;
    this.peaks = new Map(); // number of the bar -> peak in it
    this.voiced = []; // [from, to] where someone spoke
    this.heard = 0;
    this.segments = new Map(); // end of the window -> what it says
    this.draw();
  }

  get start() {
    return Math.max(0, this.now - KEPT_S);
  }

  sound(block, rate) {
    const from = this.now;
    block.forEach((value, i) => {
      const bar = Math.floor((from + i / rate) / BAR_S);
      const level = Math.abs(value) / 32768;
      if (level >= (this.peaks.get(bar) || 0)) this.peaks.set(bar, level);
    });
    this.now = from + block.length / rate;
    for (const bar of this.peaks.keys()) {
      if ((bar + 1) * BAR_S >= this.start) break;
      this.peaks.delete(bar);
    }
  }

  // What the server says: whether someone spoke up to `heard`, and the newest windows.
  answers(heard, speaking, segments) {
    const from = Math.max(0, this.heard - VOICE_ON_S);
    const to = Math.max(0, heard - VOICE_OFF_S);
    const last = this.voiced[this.voiced.length - 1];
    if (speaking && last && from - last[1] < JOIN_S) last[1] = to;
    else if (speaking) this.voiced.push([from, to]);
    this.heard = heard;
    for (const segment of segments) this.segments.set(segment.end_s, segment);
    this.voiced = this.voiced.filter((voice) => voice[1] > this.start);
    for (const end of this.segments.keys()) {
      if (end < this.start) this.segments.delete(end);
    }
  }

  list() {
    return [...this.segments.values()].sort((a, b) => a.end_s - b.end_s);
  }

  draw() {
    const begin = this.still.matches ? Math.floor(this.start) : this.start;
    const place = (seconds) => Math.min(1, Math.max(0, (seconds - begin) / KEPT_S));
    const shown = stretches(this.list(), this.voiced).filter((span) => span.end > begin);
    this.drawWave(shown, place);
    this.drawSpans(shown, place);
    this.drawAxis(begin, place);
    this.root.dataset.start = this.start;
  }

  drawWave(shown, place) {
    const strokes = {};
    for (const [bar, level] of this.peaks) {
      const middle = (bar + 0.5) * BAR_S;
      const span = shown.find((other) => other.start <= middle && middle < other.end);
      const height = Math.max(1, 46 * Math.sqrt(level));
      const label = span ? span.label : "";
      strokes[label] = `${strokes[label] || ""}M${(1000 * place(middle)).toFixed(1)} ${
        (50 - height).toFixed(1)}V${(50 + height).toFixed(1)}`;
    }
    const kept = [...this.wave.children];
    const labels = Object.keys(strokes);
    labels.forEach((label, i) => {
      const path = kept[i] || this.wave.appendChild(document.createElementNS(SVG, "path"));
      path.setAttribute("d", strokes[label]);
      path.style.setProperty("--c", label ? look(label).colour : "var(--sd-silent)");
    });
    kept.slice(labels.length).forEach((path) => path.remove());
    const told = shown.map((span) => `${span.label} from ${clock(span.start)} to ${clock(span.end)}`);
    const described = `The last minute. ${told.join("; ") || "No emotion heard yet"}.`;
    if (this.described !== described) this.wave.setAttribute("aria-label", described);
    this.described = described;
  }

  // Each stretch keeps its button while it lasts, so that the keyboard's place is not lost.
  drawSpans(shown, place) {
    const kept = [...this.spans.children];
    shown.forEach((span, i) => {
      const button = kept[i] || this.spans.appendChild(this.spanButton());
      button.dataset.start = Math.max(0, span.start - this.start).toFixed(3);
      button.style.left = `${100 * place(span.start)}%`;
      button.style.width = `${100 * (place(span.end) - place(span.start))}%`;
      const told = `${span.label}, ${clock(span.start)} to ${clock(span.end)}, ${
        percent(span.confidence)}. Play from here`;
      if (button.title !== told) {
        button.title = told;
        button.setAttribute("aria-label", told);
      }
      if (button.dataset.label !== span.label) {
        button.dataset.label = span.label;
        button.style.setProperty("--c", look(span.label).colour);
        button.firstElementChild.innerHTML = `${look(span.label).marker}<span>${span.label}</span>`;
      }
    });
    kept.slice(shown.length).forEach((button) => button.remove());
    if (shown.length && !this.spans.querySelector("[tabindex='0']")) {
      this.spans.firstElementChild.tabIndex = 0;
    }
  }

  spanButton() {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sd-span";
    button.tabIndex = -1;
    button.innerHTML = '<span class="sd-span-name"></span>';
    return button;
  }

  drawAxis(begin, place) {
    const step = this.root.clientWidth < 480 ? 20 : 10;
    const ticks = [];
    for (let at = Math.ceil(begin / step) * step; at < begin + KEPT_S; at += step) {
      if (place(at) < 0.95) ticks.push(at);
    }
    const kept = [...this.axis.children];
    ticks.forEach((at, i) => {
      const mark = kept[i] || this.axis.appendChild(document.createElement("span"));
      put(mark, clock(at).slice(0, -2));
      mark.style.left = `${100 * place(at)}%`;
    });
    kept.slice(ticks.length).forEach((mark) => mark.remove());
  }
}
