/* Emotion over the waveform of a recording, with a player; pressing it plays from there. */
import { fixed, round } from "../browser/rounding.js";
import { caption, spans } from "../browser/timeline.js";
import { clock as clockOfTenths } from "../shell/js/dom.js";
import { marker, styleOf } from "../shell/js/emotions.js";
import { html } from "../shell/js/html.js";

export const WAVE_BARS = 150;
// Below this peak a recording is drawn as quiet as it is, instead of stretched to full height.
const QUIETEST_FULL_HEIGHT = 0.02;
const TICK_STEPS_S = [0.5, 1, 2, 5, 10, 30, 60, 300, 600, 1800];
const MAX_TICKS = 6; // in sight
export const SIGHT_S = 600; // of a longer recording are in sight at once; the rest is scrolled to
const LAST_TICK = 0.93; // of the width: a later one would be cut off at the edge
const MAX_DESCRIBED = 50; // stretches that the drawing's description names

/* Seconds as m:ss.s, to the nearest tenth; from an hour on as h:mm:ss.s. */
export const clock = (seconds) => clockOfTenths(round(10 * seconds) / 10);

/* How much wider than what is in sight the timeline of a recording is. */
const widthsOf = (durationS) => Math.max(1, durationS / SIGHT_S);

/* The peak of `samples` (N,) in each of the bars of a recording that lasts so long, in [0, 1]. */
export const waveLevels = (samples, durationS) => {
  const count = Math.round(WAVE_BARS * widthsOf(durationS));
  const levels = Array.from({ length: count }, (_, bar) => {
    const start = Math.min(Math.floor((bar * samples.length) / count), samples.length - 1);
    const end = Math.max(start + 1, Math.floor(((bar + 1) * samples.length) / count));
    let peak = 0;
    for (let i = start; i < end; i += 1) peak = Math.max(peak, Math.abs(samples[i]));
    return peak;
  });
  const highest = levels.reduce((most, level) => Math.max(most, level), QUIETEST_FULL_HEIGHT);
  return levels.map((level) => level / highest);
};

/* A path for the bars of each label, in a box of 1000 by 100. */
const wavePaths = (stretches, levels, durationS) => {
  const strokes = new Map();
  let next = 0;
  levels.forEach((level, bar) => {
    const middle = (bar + 0.5) / levels.length;
    while (next < stretches.length && stretches[next].start_s <= middle * durationS) next += 1;
    const span = stretches[next - 1];
    const label = span && middle * durationS < span.end_s ? span.label : "";
    const height = Math.max(level * 46, 1);
    const stroke = `M${fixed(middle * 1000, 1)} ${fixed(50 - height, 1)}V${fixed(50 + height, 1)}`;
    strokes.set(label, (strokes.get(label) || "") + stroke);
  });
  return [...strokes].map(([label, d]) =>
    html`<path d="${d}" style="--c:${label ? styleOf(label).colour : "var(--sd-silent)"}"/>`);
};

const axis = (durationS, widths) => {
  const step = TICK_STEPS_S.find((one) => durationS / one <= MAX_TICKS * widths) || 3600;
  const last = 1 - (1 - LAST_TICK) / widths;
  const ticks = [];
  for (let tick = 0; tick < durationS && tick / durationS < last; tick += step) ticks.push(tick);
  return ticks.map((tick) =>
    html`<span style="left:${fixed((100 * tick) / durationS, 2)}%">${clock(tick).replace(/\.0$/, "")}</span>`);
};

const spanButton = (span, index, durationS, sound) => {
  const { start_s: start, end_s: end, label } = span;
  const title = `${caption(span)}, ${fixed(start, 1)} to ${fixed(end, 1)} seconds${
    sound ? ". Play from here" : ""}`;
  const width = (Math.min(end, durationS) - start) / durationS;
  return html`<button type="button" class="sd-span" data-start="${fixed(start, 3)}" style="left:${
    fixed((100 * start) / durationS, 2)}%;width:${fixed(100 * width, 2)}%;--c:${
    styleOf(label).colour}" tabindex="${index ? -1 : 0}" aria-label="${title}" title="${
    title}"><span class="sd-span-name">${marker(label)}<span>${label || caption(span)}</span></span></button>`;
};

const player = (sound, durationS, hint) => html`<div class="sd-player"><button type="button" class="sd-play"
data-act="play" aria-label="Play"><svg viewBox="0 0 16 16" aria-hidden="true"><path class="sd-when-paused"
d="M3.5 1.5v13l11-6.5z"/><path class="sd-when-playing" d="M3 2h3.6v12H3zM9.4 2H13v12H9.4z"/></svg></button>
<span class="sd-time"><span data-now>0:00.0</span> / ${clock(durationS)}</span>
<span class="sd-hint">${hint}</span>
<audio preload="metadata" src="${sound}"></audio></div>`;

/* The waveform of an answer's `levels`, its stretches labelled; with a player where it has `sound`. */
export const timeline = ({ name, duration_s: durationS, levels, sound, prediction }) => {
  const stretches = prediction.dimensions ? [] : spans(prediction.segments);
  const widths = widthsOf(durationS);
  const described = stretches.slice(0, MAX_DESCRIBED).map((span) =>
    `${span.label || caption(span)} from ${fixed(span.start_s, 1)} to ${fixed(span.end_s, 1)} seconds`);
  const region = html` tabindex="0" role="region" aria-label="Timeline, scrolled sideways"`;
  return html`<div class="sd-timeline" data-duration="${fixed(durationS, 3)}">
<div class="sd-wide"${widths > 1 && region}><div style="width:${fixed(100 * widths)}%">
<div class="sd-stage">
<svg class="sd-wave" viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" aria-label="Waveform of ${
  name}, ${fixed(durationS, 1)} seconds. ${described.join("; ") || "No emotion heard"}.">${
  wavePaths(stretches, levels, durationS)}</svg>
<div class="sd-spans" role="group" aria-label="Emotion over time">${
  stretches.map((span, index) => spanButton(span, index, durationS, sound))}</div>
<div class="sd-playhead" aria-hidden="true"></div></div>
<div class="sd-axis" aria-hidden="true">${axis(durationS, widths)}</div>
</div></div>
${widths > 1 && html`<p class="sd-hint">Ten minutes are in sight: scroll sideways for the rest.${
  !sound && " A recording this long is not played here."}</p>`}
${sound && player(sound, durationS, stretches.length ? "Press the waveform to hear from there." : "")}
</div>`;
};
