/* Answers as files, made in this page when they are pressed: whoever answered keeps nothing. */
import { zipped } from "../shell/js/zip.js";
import {
  TIMELINES, baseName, cuesCsv, filesCsv, isAnswered, segmentsCsv, stemOf, toJson, toRttm, uniqueStems,
} from "./documents.js";

const ALL = "serdemo"; // the name of files that hold all answers
const TITLES = {
  srt: "Subtitles (SRT)",
  vtt: "Subtitles (WebVTT)",
  textgrid: "Praat TextGrid",
  audacity: "Audacity labels",
  rttm: "RTTM",
};

/* A file to save: what it is, its name, and a function that makes its parts, texts or bytes. */
const file = (title, name, text) => ({ title, name, parts: () => [text()] });

/* The files of one answer; none without a prediction. */
export const filesOf = (answer) => {
  if (!isAnswered(answer)) return [];
  const stem = stemOf(answer.name.replaceAll("\\", "/")) || ALL;
  const timelines = Object.entries(TIMELINES).map(([kind, { suffix, text }]) =>
    file(TITLES[kind], stem + suffix, () => text(answer)));
  return [
    file("Segments (CSV)", `${stem}.csv`, () => segmentsCsv([answer])),
    file("JSON", `${stem}.json`, () => toJson([answer])),
    ...timelines,
    ...(answer.cues.length ? [file("Cues (CSV)", `${stem}-cues.csv`, () => cuesCsv([answer]))] : []),
  ];
};

/* The timeline of each answer in each format, by its path below a folder for each format. */
const timelinesOf = (answers) => {
  const stems = uniqueStems(answers.map(({ name }) => baseName(name)));
  return Object.fromEntries(answers.flatMap((answer, index) =>
    ["srt", "vtt", "textgrid", "audacity"].map((kind) =>
      [`${kind}/${stems[index]}${TIMELINES[kind].suffix}`, TIMELINES[kind].text(answer)])));
};

/* The files of several answers at once; none where there is no answer. */
export const filesOfAll = (answers) => {
  const answered = answers.filter(isAnswered);
  if (answers.length < 2 || !answered.length) return [];
  return [
    file("Segments (CSV)", `${ALL}.csv`, () => segmentsCsv(answered)),
    file("A row a file (CSV)", `${ALL}-files.csv`, () => filesCsv(answers)),
    file("JSON", `${ALL}.json`, () => toJson(answered)),
    file(TITLES.rttm, `${ALL}.rttm`, () => toRttm(answered)),
    {
      title: "SRT, WebVTT, TextGrid and Audacity of each (ZIP)",
      name: `${ALL}.zip`,
      parts: () => zipped(timelinesOf(answered)),
    },
  ];
};

const TYPES = { json: "application/json", csv: "text/csv", zip: "application/zip" };

/* A file's content. */
export const blobOf = ({ name, parts }) =>
  new Blob(parts(), { type: TYPES[name.split(".").at(-1)] || "text/plain" });
