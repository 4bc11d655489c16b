/* Answers as documents, equal to those of serdemo/inference/answers.py to the letter: tables, JSON, and
   the formats of other programs. An answer is one of the page's: { name, refusal, prediction, cues }. */
import { fixed, floatText, round } from "../browser/rounding.js";
import { NO_SPEECH, caption, spans } from "../browser/timeline.js";
import { hasSpeech } from "../browser/prediction.js";

const FORMULA_STARTS = /^[=+\-@\t\r\n]/;
// What Python takes for white space.
const SPACE = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
const SPACES = new RegExp(`${SPACE}+`, "g");
const EDGES = new RegExp(`^${SPACE}+|${SPACE}+$`, "g");
const SHORTEST_S = 0.001;

export const isAnswered = ({ prediction }) => Boolean(prediction);

const strip = (text) => text.replace(EDGES, "");
const oneLine = (text) => strip(text.replace(SPACES, " "));
const word = (text) => oneLine(text).replaceAll(" ", "_") || "_";

/* Whether a cue has an answer. */
export const isScored = (cue) => cue.label !== undefined;

/* Whether a cue has a label of which the model is not sure. */
export const isUnsure = (cue) => Boolean(cue.confidence && cue.unsure);

const spansOf = ({ prediction, cues }) => {
  if (cues.length) return cues.filter(isScored);
  return prediction ? spans(prediction.segments) : [];
};

/* The cues with what stands before their text, such as "[angry?]", or the stretches as cues. */
const captionsOf = (answer) => {
  if (!answer.cues.length) return spansOf(answer).map((span) => [{ ...span, text: caption(span) }, ""]);
  const prefix = (cue) => `[${cue.label || caption(cue)}${isUnsure(cue) ? "?" : ""}]`;
  return answer.cues.map((cue) => [cue, isScored(cue) ? prefix(cue) : ""]);
};

/* JSON as Python writes it: all numbers here are its floats, and letters beyond ASCII are escaped. */
const jsonText = (value, margin = "") => {
  if (typeof value === "number") return floatText(value);
  if (typeof value === "string") {
    return JSON.stringify(value).replace(/[^ -~]/g, (letter) =>
      `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`);
  }
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const inner = `${margin} `;
  const isList = Array.isArray(value);
  const items = isList
    ? value.map((one) => jsonText(one, inner))
    : Object.entries(value).map(([key, one]) => `${jsonText(key)}: ${jsonText(one, inner)}`);
  const [open, close] = isList ? "[]" : "{}";
  if (!items.length) return open + close;
  return `${open}\n${inner}${items.join(`,\n${inner}`)}\n${margin}${close}`;
};

const cueJson = ({ markup, kind, settings, ...values }) => values;

const answerJson = ({ name, refusal, prediction, cues }) => {
  const values = { ...prediction, file: name };
  if (cues.length) Object.assign(values, { duration_s: prediction?.duration_s || 0, cues: cues.map(cueJson) });
  return refusal ? { ...values, error: refusal } : values;
};

/* One JSON list. */
export const toJson = (answers) => `${jsonText(answers.map(answerJson))}\n`;

const cell = (value) => {
  if (value === undefined) return "";
  if (typeof value === "number") return floatText(value);
  if (typeof value === "boolean") return String(value);
  const text = FORMULA_STARTS.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

/* CSV of rows, each an object by column. Text that a spreadsheet would run as a formula gets an
   apostrophe before it. */
const toCsv = (columns, rows) => [columns, ...rows.map((row) => columns.map((name) => row[name]))]
  .map((cells) => `${cells.map(cell).join(",")}\n`).join("");

const TAKEN = new Set([
  "file", "duration_s", "start_s", "end_s", "text", "label", "confidence", "unsure", "warnings", "error",
  "speech",
]);

/* The columns of all labels and dimensions of what was scored, and a function that gives their values. A
   label that is called like another column gets "p_" before its name. */
const scoreColumns = (scored) => {
  const scoresOf = ({ probabilities, dimensions }) => Object.entries({ ...probabilities, ...dimensions })
    .map(([name, value]) => [TAKEN.has(name) ? `p_${name}` : name, value]);
  const names = new Set(scored.flatMap(scoresOf).map(([name]) => name));
  return [[...names], (one) => Object.fromEntries(scoresOf(one))];
};

/* Without speech the label means nothing. */
const labelOf = (isSpeech, { label, confidence, unsure }) =>
  (isSpeech ? { label, confidence, unsure } : { label: NO_SPEECH, confidence: 0, unsure: true });

/* A row for each recording, read or not. */
export const filesCsv = (answers) => {
  const [names, scoresOf] = scoreColumns(answers.filter(isAnswered).map((answer) => answer.prediction));
  const rows = answers.map(({ name, refusal, prediction }) => ({
    ...(prediction && {
      duration_s: prediction.duration_s,
      ...labelOf(hasSpeech(prediction), prediction),
      ...scoresOf(prediction),
      warnings: prediction.warnings.join(" "),
    }),
    file: name,
    error: refusal,
  }));
  const columns = ["file", "duration_s", "label", "confidence", "unsure", ...names, "warnings", "error"];
  return toCsv(columns, rows);
};

/* A row for each segment of each recording. */
export const segmentsCsv = (answers) => {
  const answered = answers.filter(isAnswered);
  const [names, scoresOf] = scoreColumns(answered.flatMap(({ prediction }) => prediction.segments));
  const rows = answered.flatMap(({ name, prediction }) =>
    prediction.segments.map((part) => ({ ...part, ...scoresOf(part), file: name })));
  return toCsv(["file", "start_s", "end_s", "label", "confidence", ...names, "speech"], rows);
};

/* A row for each cue of each recording. */
export const cuesCsv = (answers) => {
  const all = answers.flatMap(({ name, cues }) => cues.map((cue) => ({ file: name, cue })));
  const [names, scoresOf] = scoreColumns(all.map(({ cue }) => cue).filter(isScored));
  const rows = all.map(({ file, cue: { start_s, end_s, text, error = "", ...cue } }) => ({
    file, start_s, end_s, text, error,
    ...(isScored(cue) && { ...labelOf(cue.label !== NO_SPEECH, cue), ...scoresOf(cue) }),
  }));
  const failed = answers.filter(({ refusal }) => refusal)
    .map(({ name, refusal }) => ({ file: name, error: refusal }));
  const columns = ["file", "start_s", "end_s", "text", "label", "confidence", "unsure", ...names, "error"];
  return toCsv(columns, [...rows, ...failed]);
};

/* Seconds as HH:MM:SS and milliseconds, with `mark` between. */
const cueClock = (seconds, mark) => {
  const milliseconds = round(seconds * 1000);
  const two = (number) => String(number).padStart(2, "0");
  const whole = Math.floor(milliseconds / 1000);
  return `${two(Math.floor(whole / 3600))}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}${mark}${
    String(milliseconds % 1000).padStart(3, "0")}`;
};

/* Prefix and text without blank lines, which would end the cue. */
const joined = (prefix, text) => strip(`${prefix} ${text}`).split(/\r\n|\r|\n/)
  .filter((line) => strip(line)).join("\n");

const times = ({ start_s: start, end_s: end }, mark) => `${cueClock(start, mark)} --> ${cueClock(end, mark)}`;

const toSrt = (answer) => captionsOf(answer).map(([cue, prefix], index) =>
  `${index + 1}\n${times(cue, ",")}\n${joined(prefix, cue.kind === "srt" ? cue.markup : cue.text)}\n`).join("\n");

const vttText = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

const toVtt = (answer) => ["WEBVTT\n", ...captionsOf(answer).map(([cue, prefix]) => {
  const isVtt = cue.kind === "vtt";
  const settings = isVtt && cue.settings ? ` ${cue.settings}` : "";
  const text = isVtt ? cue.markup : vttText(cue.text);
  return `${times(cue, ".")}${settings}\n${joined(vttText(prefix), text)}\n`;
})].join("\n");

const toAudacity = (answer) => spansOf(answer).map((span) =>
  `${fixed(span.start_s, 6)}\t${fixed(span.end_s, 6)}\t${oneLine(caption(span))}\n`).join("");

/* RTTM of any number of recordings, each under its `uniqueStems`: the label takes the place of the
   speaker. */
export const toRttm = (answers) => {
  const stems = uniqueStems(answers.map(({ name }) => name));
  const values = (dimensions) => Object.entries(dimensions).map(([name, value]) => `${name}=${fixed(value, 3)}`);
  return answers.flatMap((answer, index) => spansOf(answer).map((span) => {
    const { start_s: start, end_s: end, label, confidence, dimensions } = span;
    const [name, sure] = dimensions ? [values(dimensions).join(","), "<NA>"] : [label, fixed(confidence, 3)];
    return `SPEAKER ${word(stems[index])} 1 ${fixed(start, 3)} ${fixed(end - start, 3)} <NA> <NA> ${
      word(name)} ${sure} <NA>\n`;
  })).join("");
};

/* [start, end, span or null where there is none], without gaps from 0 to the duration. A gap below a
   millisecond is closed. */
const tiled = (stretches, durationS) => {
  const ordered = [...stretches].sort((a, b) => a.start_s - b.start_s);
  const tiles = [];
  let position = 0;
  ordered.forEach((span, place) => {
    const next = ordered[place + 1]?.start_s ?? Infinity;
    const start = round(Math.max(span.start_s, position), 3);
    const end = round(Math.min(span.end_s, durationS, next), 3);
    if (end - start < SHORTEST_S / 2) return;
    if (start - position >= SHORTEST_S / 2) tiles.push([position, start, null]);
    tiles.push([start, end, span]);
    position = end;
  });
  if (durationS - position >= SHORTEST_S / 2) tiles.push([position, durationS, null]);
  return tiles;
};

/* A TextGrid of Praat in its long form: the tiers "emotion" and "confidence", or one for each dimension. */
const toTextgrid = (answer) => {
  const tiles = tiled(spansOf(answer), Math.max(round(answer.prediction?.duration_s || 0, 3), SHORTEST_S));
  const names = new Set(tiles.flatMap(([, , span]) => Object.keys(span?.dimensions || {})));
  const tiers = [...names].map((name) => {
    const value = (span) => span?.dimensions?.[name];
    return [name, ([, , span]) => (value(span) === undefined ? "" : fixed(value(span), 3))];
  });
  if (!tiers.length) {
    tiers.push(["emotion", ([, , span]) => span?.label || ""]);
    tiers.push(["confidence", ([, , span]) => (span ? fixed(span.confidence, 3) : "")]);
  }
  const quoted = (text) => oneLine(text).replaceAll('"', '""');
  const xmax = fixed(tiles.at(-1)[1], 3);
  const head = `File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = ${
    xmax}\ntiers? <exists>\nsize = ${tiers.length}\nitem []:\n`;
  const intervals = (textOf) => tiles.map((tile, place) => `        intervals [${place + 1}]:
            xmin = ${fixed(tile[0], 3)}
            xmax = ${fixed(tile[1], 3)}
            text = "${quoted(textOf(tile))}"
`).join("");
  return head + tiers.map(([name, textOf], number) => `    item [${number + 1}]:
        class = "IntervalTier"
        name = "${quoted(name)}"
        xmin = 0
        xmax = ${xmax}
        intervals: size = ${tiles.length}
${intervals(textOf)}`).join("");
};

/* The formats of one recording's timeline, by the suffix of the file. */
export const TIMELINES = {
  srt: { suffix: ".srt", text: toSrt },
  vtt: { suffix: ".vtt", text: toVtt },
  textgrid: { suffix: ".TextGrid", text: toTextgrid },
  audacity: { suffix: ".txt", text: toAudacity },
  rttm: { suffix: ".rttm", text: (answer) => toRttm([answer]) },
};

/* The name of a file without its folders. */
export const baseName = (file) => file.replace(/\/+$/, "").split("/").at(-1);

/* The name of a file without folders and suffix. */
export const stemOf = (file) => baseName(file).replace(/(?<=.)\.[^.]+$/s, "");

/* A name without suffix for the output of each file; where two files share one, all are named with their
   suffix, and a file that is there twice gets a number. */
export const uniqueStems = (files) => {
  const stems = files.map(stemOf);
  if (new Set(stems.map((stem) => stem.toLowerCase())).size === stems.length) return stems;
  const taken = new Set();
  return files.map((file) => {
    let name = file;
    for (let number = 2; taken.has(name.toLowerCase()); number += 1) name = `${file}-${number}`;
    taken.add(name.toLowerCase());
    return name;
  });
};
