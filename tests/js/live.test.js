/* The tab Live without a browser: timeline, sentences, files, and the link to the server. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { BrowserLink } from "./ui/live/link.js";
import { toCsv } from "./ui/live/save.js";
import { debounceWarning, noteOf, statusOf } from "./ui/live/status.js";
import { TimelineData, stretches } from "./ui/live/timeline.js";
import { fromBase64 } from "./ui/shell/js/sound.js";

const segment = (start, end, label, speech = 1) =>
  ({ start_s: start, end_s: end, label, speech, confidence: 0.5, probabilities: { sad: 0.5 } });

test("at each moment of speech the window counts whose middle is nearest", () => {
  const windows = [segment(0, 3, "sad"), segment(1, 4, "angry"), segment(2, 5, "angry"), segment(3, 6, "sad", 0)];
  assert.deepEqual(stretches(windows, [[0.5, 4.5]]), [
    { start: 0.5, end: 2, label: "sad", confidence: 0.5 },
    { start: 2, end: 4.5, label: "angry", confidence: 0.5 },
  ]);
  assert.deepEqual(stretches(windows, []), []);
});

test("a short pause does not end a stretch of speech, a long one does", () => {
  const data = new TimelineData();
  data.now = 20;
  data.addAnswer(2, true, []);
  data.addAnswer(2.5, false, []);
  data.addAnswer(3, true, []);
  assert.equal(data.voiced.length, 1);
  data.addAnswer(6, false, []);
  data.addAnswer(6.5, true, [segment(5, 6.5, "sad")]);
  assert.equal(data.voiced.length, 2);
  assert.equal(data.segments.length, 1);
});

test("what is older than a minute leaves the timeline", () => {
  const data = new TimelineData();
  data.addAnswer(1, true, [segment(0, 1, "sad")]);
  data.addSound(new Int16Array(1000).fill(16384), 10);
  data.addAnswer(100, false, []);
  assert.equal(data.start, 40);
  assert.deepEqual([data.segments, data.voiced], [[], []]);
  assert.ok([...data.peaks.keys()].every((bar) => (bar + 1) * 0.3 >= 40));
  assert.equal([...data.peaks.values()][0], 0.5);
});

test("a warning counts once it has lasted", () => {
  const shown = debounceWarning();
  assert.equal(shown("loud", 0), "");
  assert.equal(shown("loud", 900), "");
  assert.equal(shown("loud", 1100), "loud");
  assert.equal(shown("", 1200), "loud");
  assert.equal(shown("", 2300), "");
});

test("of several sentences the worst is shown, and else a hint", () => {
  const calm = { state: "live", fault: "", warning: "", connected: true, silent: false,
    reloadDue: false, hasSound: true };
  assert.equal(noteOf(calm).isFault, false);
  assert.match(noteOf({ ...calm, warning: "loud", silent: true }).sentence, /no sound/);
  assert.match(noteOf({ ...calm, warning: "loud", connected: false }).sentence, /connection is lost/);
  assert.match(noteOf({ ...calm, state: "idle", reloadDue: true }).sentence, /loaded anew/);
  assert.equal(statusOf("live", 3, [0.3, 0.1, 0.2]), "Listening · answers lag 0.2 s");
  assert.equal(statusOf("idle", 61, []), "Stopped after 1:01.0");
});

test("the CSV has a row for each window", () => {
  assert.equal(toCsv([segment(0, 1, "sad")]),
    "start_s,end_s,label,confidence,speech,sad\r\n0,1,sad,0.5,1,0.5\r\n");
  assert.equal(toCsv([]), "start_s,end_s,label,confidence,speech\r\n");
});

/* A server that loses some answers, and a microphone that is fed by the test. */
class FakeMicrophone {
  constructor(onBlock) {
    this.onBlock = onBlock;
    this.rate = 10;
  }

  async open() {}

  start() {}

  async close() {}
}

test("a piece that was not answered goes out again, and nothing is lost or doubled", async () => {
  const taken = new Map();
  let calls = 0;
  const ask = async (call, fields) => {
    if (call === "open") return { stream: "s" };
    if (call === "close") return { segments: [] };
    calls += 1;
    if (!taken.has(fields.sequence)) taken.set(fields.sequence, fromBase64(fields.samples));
    if (calls === 1) return { refused: "lost", unreached: true }; // it arrived all the same
    const received = [...taken.values()].reduce((sum, block) => sum + block.length, 0);
    return { received, segments: [{ end_s: received / 10 }] };
  };
  const connections = [];
  const on = { sound() {}, answer() {}, connection: (isThere) => connections.push(isThere), trouble: assert.fail };
  const api = { ask, leave() {}, context: () => ({ model: "m" }) };
  const link = new BrowserLink(on, api, FakeMicrophone);
  await link.open("", false);
  for (let n = 0; n < 5; n += 1) link.microphone.onBlock(Int16Array.of(2 * n, 2 * n + 1));
  while (link.sent < 10) await new Promise((resolve) => setTimeout(resolve, 20));
  const samples = [...taken.values()].flatMap((block) => [...block]);
  assert.deepEqual(samples, Array.from({ length: 10 }, (_, i) => i));
  assert.deepEqual(connections, [false, true]);
  assert.equal(link.received, 10);
  assert.equal(link.lost, 0);
  assert.deepEqual(await link.close(), { segments: [] });
});
