/* The tab Recognise without a browser: pages of answers, timelines, zip files. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { pageHtml } from "./ui/recognise/answers.js";
import { stemOf, uniqueStems } from "./ui/recognise/documents.js";
import { timeline, waveLevels } from "./ui/recognise/timeline.js";
import { bars } from "./ui/shell/js/emotions.js";
import { html } from "./ui/shell/js/html.js";

const segment = (start_s, end_s, label, confidence = 0.7, speech = 1) =>
  ({ start_s, end_s, label, confidence, probabilities: { angry: 0.7, sad: 0.3 }, speech });

const prediction = (segments) => ({
  file: "x", duration_s: segments.at(-1).end_s, label: "angry", confidence: 0.7, unsure: false,
  probabilities: { angry: 0.7, sad: 0.3 }, segments, warnings: [],
});

const answer = (name, values = {}) => ({
  name, refusal: "", origin: "", prediction: prediction([segment(0, 2, "angry")]), duration_s: 2,
  levels: [0, 0.5, 1, 0.25], sound: "", cues: [], ...values,
});

const refused = (name) => answer(name, { prediction: null, refusal: `${name} is damaged.`, levels: [] });

const page = (answers, values = {}) =>
  pageHtml({ answers, note: "", same_person: null, waiting: null, ...values });

const all = (text, pattern) => [...text.matchAll(pattern)].map((match) => match.slice(1).join());

test("a template escapes what is put into it, but for other templates", () => {
  const list = [html`<b>${1}</b>`, "&"];
  assert.equal(String(html`<p title="${'"'}">${"<i>"}${list}${null}${false}${0}</p>`),
    '<p title="&#34;">&#60;i&#62;<b>1</b>&#38;0</p>');
});

test("names cannot become markup", () => {
  const name = '<img src=x onerror="alert(1)">.wav';
  const shown = page([answer(name), refused(name)]);
  assert.ok(!shown.includes("<img"));
  assert.ok(shown.includes("&#60;img"));
});

test("several answers show one and list all", () => {
  const shown = page([answer("0.wav"), refused("1.wav"), answer("2.wav")]);
  assert.deepEqual(all(shown, /data-index="(\d)"( hidden)?/g), ["0,", "1, hidden", "2, hidden"]);
  assert.equal(all(shown, /(data-pick)=/g).length, 3);
  assert.equal(all(shown, /(1\.wav is damaged)/g).length, 2);
  assert.ok(shown.includes("2 of 3 files answered."));
  assert.deepEqual(all(shown, /class="sd-says">([^<]*)</g),
    ["Sounds angry, fairly sure", "No answer", "Sounds angry, fairly sure"]);
  assert.ok(!page([answer("0.wav")]).includes("data-pick"));
  assert.ok(!page([refused("")]).includes("download="));
});

test("without speech no label is shown at all", () => {
  const silent = prediction([segment(0, 2, "angry", 0.7, 0)]);
  const shown = page([answer("quiet.wav", { prediction: silent })]);
  assert.ok(shown.includes("No speech found"));
  for (const sign of ["sd-bars", "sd-share", 'class="sd-span"', "Sounds "]) assert.ok(!shown.includes(sign));
});

test("long tables are cut and say so", () => {
  const parts = Array.from({ length: 205 }, (_, i) => segment(i, i + 1, "sad"));
  const shown = page([answer("long", { prediction: prediction(parts) })]);
  assert.equal(all(shown, /(<tr>)/g).length, 201);
  assert.ok(shown.includes("5 more segments are in the downloads."));
});

test("subtitles have their answer, or why there is none", () => {
  const cues = [
    { start_s: 0, end_s: 1, text: "<b>hi</b>", label: "sad", confidence: 0.5, unsure: true, probabilities: {} },
    { start_s: 9, end_s: 10, text: "late", error: "This cue begins after the end." },
  ];
  const shown = page([answer("a.mp4", { cues })]);
  assert.ok(shown.includes("&#60;b&#62;hi") && shown.includes("not sure: sad"));
  assert.ok(shown.includes('<td colspan="2">This cue begins after the end.</td>'));
});

test("the box for one person is there for several files", () => {
  const box = { same_person: { ticked: true, note: "Used to this voice." } };
  assert.match(page([answer("a"), answer("b")], box), /data-same-person[^>]* checked>/);
  assert.ok(!page([answer("a")], box).includes("data-same-person"));
});

test("waiting shows how far it is", () => {
  const waiting = (values) => page([], { waiting: { text: "x", done: 0, total: 0, share: null, ...values } });
  assert.ok(!waiting({}).includes("<progress"));
  assert.match(waiting({ done: 1, total: 3 }), /max="3" value="1".*data-act="stop"/);
  assert.match(waiting({ share: 0.0083 }), /max="1" value="0.008".*data-act="stop"/);
});

test("a timeline tells its stretches in words", () => {
  const two = prediction([segment(0, 1, "sad"), segment(1, 2, "angry", 0.9)]);
  const drawn = String(timeline(answer('a "b".wav', { prediction: two, sound: "blob:1" })));
  assert.ok(drawn.includes(
    "Waveform of a &#34;b&#34;.wav, 2.0 seconds. sad from 0.0 to 1.0 seconds; angry from 1.0 to 2.0 seconds."));
  assert.deepEqual(all(drawn, /data-start="([^"]*)"/g), ["0.000", "1.000"]);
  assert.ok(drawn.includes('src="blob:1"') && drawn.includes("Play from here"));
  assert.equal(all(drawn, /(<path d="M)/g).length, 4); // two labels, and the two signs of the player
});

test("a timeline of two hours is scrolled, and has hours on its axis", () => {
  const parts = Array.from({ length: 120 }, (_, i) => segment(60 * i, 60 * i + 60, i % 2 ? "sad" : "angry"));
  const drawn = String(timeline(answer("long", { prediction: prediction(parts), duration_s: 7200 })));
  assert.ok(drawn.includes("width:1200%") && drawn.includes('role="region"'));
  assert.ok(drawn.includes("1:55:00") && drawn.includes(">5:00<"));
  assert.ok(!drawn.includes("<audio") && drawn.includes("not played here"));
  assert.equal(all(drawn, /class="(sd-span)"/g).length, 120);
});

test("levels are peaks, and what is quiet stays quiet", () => {
  const samples = Float32Array.from({ length: 1500 }, (_, i) => (i === 700 ? -0.5 : 0.25));
  const levels = waveLevels(samples, 2);
  assert.equal(levels.length, 150);
  assert.deepEqual([levels[0], levels[70], levels[149]], [0.5, 1, 0.5]);
  assert.equal(waveLevels(new Float32Array(300).fill(0.002), 2)[0].toFixed(3), "0.100");
  assert.equal(waveLevels(samples, 1200).length, 300);
});

test("bars are sorted, named and numbered", () => {
  const drawn = String(bars({ sad: 0.25, angry: 0.705, "<b>": 0.045 }));
  assert.deepEqual(all(drawn, /sd-bar-name"[^>]*>([^<]*)</g), ["angry", "sad", "&#60;b&#62;"]);
  assert.deepEqual(all(drawn, /sd-number">([^<]*)</g), ["70%", "25%", "4%"]);
  assert.ok(drawn.includes("width:70.50%"));
});

test("names of outputs are those of Python", () => {
  assert.deepEqual(["a.b.wav", ".wav", "a", "x/b.mp3", "a."].map(stemOf), ["a.b", ".wav", "a", "b", "a."]);
  assert.deepEqual(uniqueStems(["a.wav", "b.wav"]), ["a", "b"]);
  assert.deepEqual(uniqueStems(["a.wav", "A.mp3", "a.wav"]), ["a.wav", "A.mp3", "a.wav-2"]);
});
