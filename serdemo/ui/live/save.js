/* Files of the last minute: its answers and its sound, all made in this page. */
import { saveBlob } from "../shell/js/dom.js";
import { wav } from "../shell/js/sound.js";

export const lastMinute = ({ sound }) => sound.read(sound.first, sound.written);

/* A row for each window: start_s, end_s, label, confidence, speech, and one column per label. */
export const toCsv = (segments) => {
  const labels = segments.length ? Object.keys(segments[0].probabilities) : [];
  const header = ["start_s", "end_s", "label", "confidence", "speech", ...labels];
  const rows = segments.map((segment) => [
    ...header.slice(0, 5).map((name) => segment[name]),
    ...labels.map((label) => segment.probabilities[label]),
  ]);
  return [header, ...rows].map((cells) => `${cells.join(",")}\r\n`).join("");
};

/* The stretches and windows of the last minute, and from when to when its sound goes. */
export const toJson = (link, data, started) => JSON.stringify({
  started: started.toISOString(),
  sound_start_s: link.sound.first / link.rate,
  sound_end_s: link.sound.written / link.rate,
  stretches: data.stretches,
  segments: data.segments,
}, null, 2);

export const DOWNLOADS = {
  csv: ({ timeline }) =>
    saveBlob(new Blob([toCsv(timeline.data.segments)], { type: "text/csv" }), "serdemo-live.csv"),
  json: ({ link, timeline, started }) => {
    const text = toJson(link, timeline.data, started);
    saveBlob(new Blob([text], { type: "application/json" }), "serdemo-live.json");
  },
  wav: ({ link }) => saveBlob(wav(lastMinute(link), link.rate), "serdemo-live.wav"),
};
