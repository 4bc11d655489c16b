/* Colour and marker of each emotion, and bars of their probabilities. Colour is never the only sign:
   names, shapes and numbers say the same. */
import { fixed } from "../../browser/rounding.js";
import { percent } from "./dom.js";
import { html } from "./html.js";

const style = (colour, shape) => ({
  colour,
  marker: html`<svg class="sd-marker" viewBox="0 0 16 16" fill="${colour}" aria-hidden="true">${shape}</svg>`,
});

export const EMOTION_STYLES = {
  angry: style("#D55E00", html`<path d="M8 1.5 15 14H1z"/>`),
  disgust: style("#009E73", html`<path d="M2 2h12v12H2z"/>`),
  fear: style("#CC79A7", html`<path d="M8 .5 15.5 8 8 15.5.5 8z"/>`),
  happy: style("#E69F00", html`<circle cx="8" cy="8" r="7"/>`),
  neutral: style("#7F7F7F", html`<path d="M4 1.5h8L15.5 8 12 14.5H4L.5 8z"/>`),
  sad: style("#0072B2", html`<path d="M8 14.5 1 2h14z"/>`),
  surprise: style(
    "#56B4E9",
    html`<path d="m8 .5 2.2 5 5.4.5-4.1 3.6 1.2 5.4L8 12.2 3.3 15l1.2-5.4L.4 6l5.4-.5z"/>`,
  ),
  other: style("#A3A08F", html`<path d="M1 4 4 1l4 4 4-4 3 3-4 4 4 4-3 3-4-4-4 4-3-3 4-4z"/>`),
};

/* Style of any label; unknown ones share that of "other". */
export const styleOf = (label) =>
  (Object.hasOwn(EMOTION_STYLES, label) ? EMOTION_STYLES[label] : EMOTION_STYLES.other);

/* The label's shape in its colour. Hidden from screen readers: its name stands beside it. */
export const marker = (label) => styleOf(label).marker;

/* The row of one label: its name, bar and percentage. */
export const bar = (label, share) => html`<li>${marker(label)}<span class="sd-bar-name" title="${label}">${
  label}</span><span class="sd-track" aria-hidden="true"><span style="width:${
  fixed(100 * share, 2)}%;--c:${styleOf(label).colour}"></span></span><span class="sd-number">${
  percent(share)}</span></li>`;

/* A list of the labels, most probable first. */
export const bars = (probabilities) => html`<ul class="sd-bars" aria-label="Probability of each emotion">${
  Object.entries(probabilities).sort(([, a], [, b]) => b - a).map(([label, share]) => bar(label, share))
}</ul>`;
