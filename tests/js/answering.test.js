/* Requests of the tab Recognise that this browser answers, without a browser: the newest one is shown. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { SerdemoError } from "./ui/browser/errors.js";
import { mount as mountDrop } from "./ui/recognise/drop.js";
import { BrowserAnswers } from "./ui/recognise/in_browser/answering.js";
import { inBrowser } from "./ui/shell/js/in_browser.js";
import { wav } from "./ui/shell/js/sound.js";

const file = (name) => new File([wav(new Int16Array(16_000), 16_000)], name);

const prediction = { file: "", label: "sad", segments: [], probabilities: { sad: 1 }, warnings: [] };
const recording = { samples: new Float32Array(16_000), durationS: 1 };

/* Answers by a worker that ends a request when the test says so, or when it is cancelled. */
const made = () => {
  const pages = [];
  const asked = [];
  const models = {
    adapts: () => false,
    recognise: ({ name }, _, { signal }) => new Promise((resolve, reject) => {
      if (signal.aborted) return reject(new SerdemoError("It was cancelled."));
      signal.addEventListener("abort", () => reject(new SerdemoError("It was cancelled.")));
      asked.push({ name, end: () => resolve({ prediction, recording }) });
    }),
  };
  const answers = new BrowserAnswers({
    models: async () => models, modelName: () => "base", show: (page) => !page.waiting && pages.push(page),
  });
  const nextAsked = async (count) => {
    while (asked.length < count) await new Promise(setImmediate);
    return asked.at(-1);
  };
  return { answers, pages, nextAsked };
};

const withAddresses = (work) => async () => {
  const { createObjectURL, revokeObjectURL } = URL;
  const held = new Set();
  let count = 0;
  URL.createObjectURL = () => held.add(`blob:${count += 1}`) && `blob:${count}`;
  URL.revokeObjectURL = (address) => held.delete(address);
  await work(held);
  Object.assign(URL, { createObjectURL, revokeObjectURL });
};

test("a newer request ends the one before, and only sound that is shown is held", withAddresses(async (held) => {
  const { answers, pages, nextAsked } = made();
  const first = answers.answer([file("a.wav"), file("b.wav")]);
  (await nextAsked(1)).end();
  await nextAsked(2); // the first file is answered
  const second = answers.answer([file("c.wav")]);
  (await nextAsked(3)).end();
  await Promise.all([first, second]);
  assert.deepEqual(pages.map((page) => page.answers.map(({ name }) => name)), [["c.wav"]]);
  assert.deepEqual([...held], [pages[0].answers[0].sound]);
}));

test("a request that was stopped shows what there is, and one that was cancelled nothing", async () => {
  const { answers, pages, nextAsked } = made();
  const stopped = answers.answer([file("a.wav"), file("b.wav")]);
  (await nextAsked(1)).end();
  await nextAsked(2);
  answers.stop();
  await stopped;
  assert.deepEqual(pages.map(({ note }) => note), ["Stopped after 1 of 2 files."]);
  const cancelled = answers.answer([file("a.wav")]);
  await nextAsked(3);
  answers.cancel();
  await cancelled;
  assert.equal(pages.length, 1);
});

test("an example that does not arrive is a sentence, and not the answer to a file that came meanwhile", async () => {
  const { answers, pages, nextAsked } = made();
  const fetched = globalThis.fetch;
  let fail;
  globalThis.fetch = () => new Promise((_, reject) => { fail = () => reject(new TypeError("no network")); });
  const example = { name: "English", url: "http://localhost/voice.ogg" };
  const alone = answers.answer([example]);
  while (!fail) await new Promise(setImmediate);
  fail();
  await alone;
  assert.match(pages[0].answers[0].refusal, /^voice\.ogg could not be loaded/);
  const late = answers.answer([example]);
  const dropped = answers.answer([file("mine.wav")]);
  (await nextAsked(1)).end();
  await dropped;
  fail();
  await late;
  globalThis.fetch = fetched;
  assert.deepEqual(pages.slice(1).map((page) => page.answers[0].name), ["mine.wav"]);
});

test("files that were answered here are not sent when they are ticked as one person's", async () => {
  const page = new EventTarget();
  for (const name of ["addEventListener", "dispatchEvent"]) globalThis[name] = page[name].bind(page);
  globalThis.document = { querySelector: () => null };
  const part = () => Object.assign(new EventTarget(), { dataset: { maxFiles: 50, maxMb: 20 }, classList: new Set() });
  const parts = { input: part(), ".sd-drop": part(), ".sd-drop-status": part() };
  for (const { classList } of Object.values(parts)) classList.remove = classList.delete;
  const [sent, here] = [[], []];
  addEventListener("sd-answer-here", ({ detail }) => here.push(detail));
  mountDrop({
    element: { querySelector: (name) => parts[name] },
    trigger: (_, { files }) => sent.push(...files),
    upload: async () => ({ path: "/at/server" }),
  });
  const choose = async (files) => {
    parts.input.files = files;
    parts.input.dispatchEvent(new Event("change"));
    await new Promise(setImmediate);
  };
  inBrowser.set(true);
  await choose([file("a.wav"), file("b.wav")]);
  inBrowser.set(false);
  dispatchEvent(new CustomEvent("sd-same-person", { detail: true }));
  await new Promise(setImmediate);
  assert.deepEqual(here.map(({ files, samePerson }) => [files.length, samePerson]), [[2, false], [2, true]]);
  assert.deepEqual(sent, []);
  await choose([file("c.wav")]);
  assert.deepEqual(sent, [{ path: "/at/server", name: "c.wav" }]);
});
