/* The answers for one recording or several: answer first, numbers after.

   A page is { answers, note, same_person: null or { ticked, note }, waiting: null or { text, done, total,
   share } }, an answer { name, refusal, origin, prediction, duration_s, levels, sound, cues }: `prediction`
   is that of `serdemo predict` or null, `levels` are the heights of the drawn bars in [0, 1], `sound` is an
   address of what is played or "", and a cue is its JSON with `markup`, `kind` and `settings` of its file. */
import { fixed } from "../browser/rounding.js";
import { hasSpeech, isMultiLabel, nearest, sentence } from "../browser/prediction.js";
import { caption, dimensionsText } from "../browser/timeline.js";
import { percent, saveBlob } from "../shell/js/dom.js";
import { bars, marker } from "../shell/js/emotions.js";
import { html, patch } from "../shell/js/html.js";
import { isScored, isUnsure } from "./documents.js";
import { blobOf, filesOf, filesOfAll } from "./saving.js";
import { clock, timeline } from "./timeline.js";

const MAX_TABLE_ROWS = 200; // longer tables make a page slow; the downloads hold every row

/* A page of which no more is given. */
export const pageOf = (values) => ({ answers: [], note: "", same_person: null, waiting: null, ...values });

/* The answer for something of that name: a sentence that says why there is none. */
export const refused = (name, refusal, origin = "") =>
  ({ name, refusal, origin, prediction: null, duration_s: 0, levels: [], sound: "", cues: [] });

const headline = ({ prediction }) => (prediction ? sentence(prediction) : "No answer");

/* Warnings about the recording, or its refusal. */
const notesOf = ({ prediction, refusal }) => (prediction ? prediction.warnings : [refusal]);

/* The labels that the headline names. */
const namedLabels = ({ prediction }) => {
  if (!prediction || !hasSpeech(prediction) || prediction.dimensions) return [];
  return nearest(prediction, prediction.unsure ? 2 : 1);
};

/* The name of a file as it is; that of a take or an example is the page's own. */
const nameHtml = (name) => (/\.\w+$/.test(name) ? html`<bdi translate="no">${name}</bdi>` : name);

const factsOf = ({ name, duration_s: seconds, origin }) => {
  const duration = seconds >= 60 ? clock(seconds) : `${fixed(seconds, 1)} s`;
  const facts = [seconds > 0 && duration, origin].filter(Boolean).join(" · ");
  return html`${nameHtml(name)}${name && facts && " · "}${facts}`;
};

const heading = (answer) => {
  const labels = namedLabels(answer);
  const shares = labels.map((label) => percent(answer.prediction.probabilities[label]));
  return html`<header class="sd-answer"><p class="sd-file">${factsOf(answer)}</p>
<h2>${labels.map(marker)}<span class="sd-says">${headline(answer)}</span>${
  labels.length > 0 && html`<span class="sd-share" title="Confidence">${shares.join(" / ")}</span>`}</h2></header>`;
};

const columnHeads = (...names) => html`<thead><tr>${
  names.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead>`;

const more = (all, noun) => all.length > MAX_TABLE_ROWS
  && html`<p>${all.length - MAX_TABLE_ROWS} more ${noun} are in the downloads.</p>`;

const segmentRow = ({ start_s: start, end_s: end, label, confidence, dimensions }) => html`<tr><td>${
  clock(start)}</td><td>${clock(end)}</td>${dimensions
  ? html`<td>${dimensionsText(dimensions)}</td><td></td>`
  : html`<td>${marker(label)}${label}</td><td class="sd-number">${percent(confidence)}</td>`}</tr>`;

const OVERLAP_NOTE =
  html`<p>The windows overlap; the waveform shows each up to the middle of the overlap.</p>`;

const segmentTable = ({ segments }) => html`<details class="sd-segments"><summary>Segments (${
  segments.length})</summary>
<div class="sd-scroll" tabindex="0" role="region" aria-label="Table of segments">
${segments.some(({ start_s: start }, i) => i > 0 && segments[i - 1].end_s > start) && OVERLAP_NOTE}
<table>${columnHeads("From", "To", "Sounds", "Confidence")}<tbody>
${segments.slice(0, MAX_TABLE_ROWS).map(segmentRow)}
</tbody></table>
${more(segments, "segments")}
</div></details>`;

const cueAnswer = (cue) => {
  if (!isScored(cue)) return html`<td colspan="2">${cue.error}</td>`;
  if (cue.dimensions) return html`<td colspan="2">${caption(cue)}</td>`;
  const sure = cue.confidence > 0;
  return html`<td>${sure && marker(cue.label)}${isUnsure(cue) && "not sure: "}${
    cue.label}</td><td class="sd-number">${sure && percent(cue.confidence)}</td>`;
};

const cueTable = (cues) => html`<h3>Emotion of each subtitle</h3>
<div class="sd-scroll" tabindex="0" role="region" aria-label="Table of subtitles">
<table class="sd-cues">${columnHeads("From", "Subtitle", "Sounds", "Confidence")}<tbody>
${cues.slice(0, MAX_TABLE_ROWS).map((cue) =>
    html`<tr><td>${clock(cue.start_s)}</td><td dir="auto" translate="no">${cue.text}</td>${cueAnswer(cue)}</tr>`)}
</tbody></table>
${more(cues, "subtitles")}
</div>`;

/* A menu of files, which are made when they are pressed: `data-of` is the number of their answer. */
const saveMenu = (title, files, of) => files.length > 0
  && html`<details class="sd-save"><summary class="sd-button">${title}</summary><ul>${files.map((file, index) =>
    html`<li><a download="${file.name}" href="#" data-save="${index}" data-of="${of}">${file.title}</a></li>`)
  }</ul></details>`;

const dimensionList = (dimensions) => html`<dl class="sd-dimensions">${
  Object.entries(dimensions).map(([name, value]) =>
    html`<dt>${name}</dt><dd class="sd-number">${fixed(value, 3)}</dd>`)}</dl>`;

const asAWhole = (prediction) => html`<h3>Taken as a whole</h3>
${prediction.dimensions
    ? dimensionList(prediction.dimensions)
    : html`${isMultiLabel(prediction) && html`<p>Each label by itself, as several may apply.</p>`}
${bars(prediction.probabilities)}`}
${segmentTable(prediction)}`;

const detail = (answer, index) => {
  const { prediction } = answer;
  const notes = notesOf(answer);
  const isDrawn = prediction && answer.levels.length > 0;
  return html`${heading(answer)}
${notes.length > 0 && html`<ul class="sd-notes" aria-label="About this recording">${
    notes.map((note) => html`<li>${note}</li>`)}</ul>`}
${isDrawn && html`<h3>${prediction.dimensions ? "Sound" : "Emotion over time"}</h3>${timeline(answer)}`}
${answer.cues.length > 0 && cueTable(answer.cues)}
${prediction && hasSpeech(prediction) && asAWhole(prediction)}
${saveMenu("Save this answer as", filesOf(answer), index)}`;
};

const samePersonBox = ({ ticked, note }) => html`<div class="sd-same-person"><label><input type="checkbox"
data-same-person aria-describedby="sd-same-person-note"${ticked && html` checked`}> All of one person</label>
<p id="sd-same-person-note">${note}</p></div>`;

const pickerRow = (answer, index) => {
  const { prediction } = answer;
  const isLabelled = prediction?.label && hasSpeech(prediction);
  const notes = notesOf(answer).join(" ");
  return html`<tr><th scope="row"><button type="button" data-pick="${index}" aria-pressed="${String(index === 0)}">${
    nameHtml(answer.name)}</button>${notes && html`<small>${notes}</small>`}</th>
<td>${isLabelled && marker(prediction.label)}${headline(answer)}</td>
<td class="sd-number">${isLabelled && percent(prediction.confidence)}</td></tr>`;
};

const picker = (answers) => html`<div class="sd-picker"><table><caption>Pick a file to see it in detail.</caption>
${columnHeads("File", "Answer", "Confidence")}<tbody>
${answers.map(pickerRow)}
</tbody></table></div>`;

/* The sentence for screen readers. */
const announcement = ({ answers, note }) => {
  if (answers.length === 1) return `${answers[0].name}: ${headline(answers[0])}`;
  const answered = answers.filter(({ prediction }) => prediction).length;
  return `${note} ${answered} of ${answers.length} files answered.`.trim();
};

const progressBar = ({ done, total, share }) => (share === null
  ? html`<progress max="${total}" value="${done}" aria-label="Files answered"></progress>`
  : html`<progress max="1" value="${fixed(share, 3)}" aria-label="Part of the recording that is answered"></progress>`);

/* The same shape without an answer, while `done` of `total` files are answered, or a `share` in [0, 1] of
   one long file. */
const waitingHtml = (waiting) => {
  const { text, total, share } = waiting;
  const stop = html`<button type="button" class="sd-button" data-act="stop">Stop</button>`;
  return html`<p class="sd-spoken" role="status">${text}</p>
<div class="sd-answers"><article class="sd-detail sd-waiting">
<header class="sd-answer"><p class="sd-file">${text}</p><div class="sd-progress">${
  (total > 1 || share !== null) && html`${progressBar(waiting)}${stop}`}
<span class="sd-bone sd-bone-title"></span></div></header>
<span class="sd-bone sd-bone-wave"></span>${
  Array.from({ length: 5 }, () => html`<span class="sd-bone"></span>`)}</article></div>
`;
};

const answersHtml = (page) => {
  const { answers, note, same_person: samePerson } = page;
  const several = answers.length > 1;
  return html`<p class="sd-spoken" role="status">${announcement(page)}</p>
<div class="sd-answers">
${note && html`<p class="sd-run-note">${note}</p>`}
${several && samePerson && samePersonBox(samePerson)}
${several && picker(answers)}
${several && saveMenu("Save all answers as", filesOfAll(answers), "all")}
${answers.map((answer, index) => html`<article class="sd-detail" data-index="${index}"${
    index > 0 && html` hidden`} aria-label="${answer.name}">${detail(answer, index)}</article>`)}
</div>`;
};

/* HTML of a page. */
export const pageHtml = (page) => String(page.waiting ? waitingHtml(page.waiting) : answersHtml(page));

/* Shows a page inside an element. */
export const renderPage = (element, page) => {
  patch(element, pageHtml(page));
  for (const link of element.querySelectorAll("[data-save]")) {
    link.onclick = (event) => {
      event.preventDefault();
      const { of, save } = link.dataset;
      const files = of === "all" ? filesOfAll(page.answers) : filesOf(page.answers[of]);
      saveBlob(blobOf(files[save]), link.download);
    };
  }
};
