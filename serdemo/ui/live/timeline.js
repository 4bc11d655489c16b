/* The timeline of the last minute: waveform, stretches of one emotion, axis. Times are in seconds
   since Start. */
import { clock, escapeHtml, percent, put, putAttribute } from "../shell/js/dom.js";
import { styleOf } from "../shell/js/emotions.js";
import { FULL_SCALE, WINDOW_S } from "../shell/js/sound.js";

const BAR_S = 0.3;
const JOIN_S = 0.6; // a shorter pause does not end a stretch
const MIN_STRETCH_S = 0.01;
// The voice activity detector needs a moment to be sure, and stays on for a moment.
const VOICE_ON_S = 0.5;
const VOICE_OFF_S = 0.2;
const NARROW_PX = 480;
const MAX_TICK = 0.95; // of the width: a later label would be cut off
const SVG = "http://www.w3.org/2000/svg";

/* Stretches of one label that do not overlap, from scored windows and the times of speech, which are
   pairs [from, to]: at each moment of speech the window counts whose middle is nearest, as with a
   recording. */
export const stretches = (segments, voiced) => {
  const scored = segments.filter((segment) => segment.speech > 0);
  const result = [];
  for (const [from, to] of voiced) {
    scored.forEach((segment, i) => {
      const middle = (other) => (other.start_s + other.end_s + segment.start_s + segment.end_s) / 4;
      const start = Math.max(from, i ? middle(scored[i - 1]) : segment.start_s);
      const end = Math.min(to, i + 1 < scored.length ? middle(scored[i + 1]) : segment.end_s);
      if (end - start < MIN_STRETCH_S) return;
      const last = result[result.length - 1];
      if (last && last.label === segment.label && start - last.end < MIN_STRETCH_S) last.end = end;
      else result.push({ start, end, label: segment.label, confidence: segment.confidence });
    });
  }
  return result;
};

/* What is known of the last minute: peaks of the sound, times of speech, scored windows. */
export class TimelineData {
  constructor() {
    this.clear();
  }

  clear() {
    this.now = 0;
    this.peaks = new Map(); // number of the bar -> peak in it
    this.voiced = []; // [from, to] of each stretch of speech
    this.scoredUntil = 0;
    this.windows = new Map(); // end of the window -> its segment
  }

  get start() {
    return Math.max(0, this.now - WINDOW_S);
  }

  addSound(block, rate) {
    const from = this.now;
    block.forEach((value, i) => {
      const bar = Math.floor((from + i / rate) / BAR_S);
      const level = Math.abs(value) / FULL_SCALE;
      if (level >= (this.peaks.get(bar) || 0)) this.peaks.set(bar, level);
    });
    this.now = from + block.length / rate;
    for (const bar of this.peaks.keys()) {
      if ((bar + 1) * BAR_S >= this.start) break;
      this.peaks.delete(bar);
    }
  }

  /* The server's answer: whether someone speaks at `until`, and the newest windows. */
  addAnswer(until, speaking, segments) {
    const from = Math.max(0, this.scoredUntil - VOICE_ON_S);
    const to = Math.max(0, until - VOICE_OFF_S);
    const last = this.voiced[this.voiced.length - 1];
    if (speaking && last && from - last[1] < JOIN_S) last[1] = to;
    else if (speaking) this.voiced.push([from, to]);
    this.scoredUntil = until;
    for (const segment of segments) this.windows.set(segment.end_s, segment);
    this.voiced = this.voiced.filter(([, end]) => end > this.start);
    for (const end of this.windows.keys()) {
      if (end < this.start) this.windows.delete(end);
    }
  }

  get segments() {
    return [...this.windows.values()].sort((a, b) => a.end_s - b.end_s);
  }

  get stretches() {
    return stretches(this.segments, this.voiced);
  }
}

/* Draws the last minute: it fills from the left, then moves. */
export class Timeline {
  constructor(root) {
    Object.assign(this, { root, data: new TimelineData() });
    this.wave = root.querySelector(".sd-wave");
    this.spans = root.querySelector(".sd-spans");
    this.axis = root.querySelector(".sd-axis");
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.draw();
  }

  clear() {
    this.data.clear();
    this.draw();
  }

  draw() {
    const begin = this.still.matches ? Math.floor(this.data.start) : this.data.start;
    const position = (seconds) => Math.min(1, Math.max(0, (seconds - begin) / WINDOW_S));
    const spans = this.data.stretches.filter((span) => span.end > begin);
    this.drawWave(spans, position);
    this.drawSpans(spans, position);
    this.drawAxis(begin, position);
    this.root.dataset.start = this.data.start;
  }

  drawWave(spans, position) {
    const strokes = {};
    for (const [bar, level] of this.data.peaks) {
      const middle = (bar + 0.5) * BAR_S;
      const span = spans.find(({ start, end }) => start <= middle && middle < end);
      const height = Math.max(1, 46 * Math.sqrt(level));
      const label = span ? span.label : "";
      strokes[label] = `${strokes[label] || ""}M${(1000 * position(middle)).toFixed(1)} ${
        (50 - height).toFixed(1)}V${(50 + height).toFixed(1)}`;
    }
    const paths = [...this.wave.children];
    const labels = Object.keys(strokes);
    labels.forEach((label, i) => {
      const path = paths[i] || this.wave.appendChild(document.createElementNS(SVG, "path"));
      path.setAttribute("d", strokes[label]);
      path.style.setProperty("--c", label ? styleOf(label).colour : "var(--sd-silent)");
    });
    paths.slice(labels.length).forEach((path) => path.remove());
    const sentences = spans.map(({ label, start, end }) => `${label} from ${clock(start)} to ${clock(end)}`);
    const description = `The last minute. ${sentences.join("; ") || "No emotion heard yet"}.`;
    putAttribute(this.wave, "aria-label", description);
  }

  /* Each stretch has its button as long as it lasts, so that the keyboard's place is not lost. */
  drawSpans(spans, position) {
    const buttons = [...this.spans.children];
    spans.forEach((span, i) => {
      const button = buttons[i] || this.spans.appendChild(this.spanButton());
      button.dataset.start = Math.max(0, span.start - this.data.start).toFixed(3);
      button.style.left = `${100 * position(span.start)}%`;
      button.style.width = `${100 * (position(span.end) - position(span.start))}%`;
      const title = `${span.label}, ${clock(span.start)} to ${clock(span.end)}, ${
        percent(span.confidence)}. Play from here`;
      for (const name of ["title", "aria-label"]) putAttribute(button, name, title);
      if (button.dataset.label !== span.label) {
        const style = styleOf(span.label);
        button.dataset.label = span.label;
        button.style.setProperty("--c", style.colour);
        button.firstElementChild.innerHTML = `${style.marker}<span>${escapeHtml(span.label)}</span>`;
      }
    });
    buttons.slice(spans.length).forEach((button) => button.remove());
    if (spans.length && !this.spans.querySelector("[tabindex='0']")) {
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

  drawAxis(begin, position) {
    const step = this.root.clientWidth < NARROW_PX ? 20 : 10;
    const ticks = [];
    for (let at = Math.ceil(begin / step) * step; at < begin + WINDOW_S; at += step) {
      if (position(at) < MAX_TICK) ticks.push(at);
    }
    const marks = [...this.axis.children];
    ticks.forEach((at, i) => {
      const mark = marks[i] || this.axis.appendChild(document.createElement("span"));
      put(mark, clock(at).slice(0, -2));
      mark.style.left = `${100 * position(at)}%`;
    });
    marks.slice(ticks.length).forEach((mark) => mark.remove());
  }
}
