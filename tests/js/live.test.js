/* The tab Live without a browser: timeline, sentences, files, and the link to the server. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { BrowserLink } from "./ui/live/link.js";
import { toCsv } from "./ui/live/save.js";
import { debounceWarning, noteOf, statusOf } from "./ui/live/status.js";
import { TimelineData, stretches } from "./ui/live/timeline.js";
import { VoiceStore, voiceLine } from "./ui/live/voice.js";
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
  assert.equal(noteOf({ ...calm, instead: "small" }).sentence, "small");
  assert.match(noteOf({ ...calm, state: "idle", instead: "small" }).sentence, /Stopped/);
  assert.match(noteOf({ ...calm, state: "idle", reloadDue: true }).sentence, /then reload it/);
  assert.match(noteOf({ ...calm, state: "idle", reloadDue: true, warning: "loud" }).sentence, /then reload it/);
  assert.equal(statusOf("live", 3, [0.3, 0.1, 0.2]), "Listening · answers lag 0.2 s");
  assert.equal(statusOf("idle", 61, []), "Stopped after 1:01.0");
  const suspended = { ...calm, state: "paused", suspended: true };
  assert.match(noteOf(suspended).sentence, /^Paused by the browser/);
  assert.ok(noteOf(suspended).isFault);
  assert.equal(noteOf({ ...suspended, suspended: false }).isFault, false);
  assert.equal(statusOf("paused", 3, [], true), "Paused by the browser");
  assert.equal(statusOf("paused", 3, [], false), "Paused");
});

test("no sentence is longer than the page has room for", () => {
  const states = ["idle", "starting", "live", "paused", "stopping"];
  const faults = [{}, { connected: false }, { suspended: true }, { silent: true }, { reloadDue: true }];
  for (const state of states) {
    for (const fault of faults) {
      for (const hasSound of [true, false]) {
        const { sentence } = noteOf({ state, hasSound, connected: true, fault: "", warning: "", ...fault });
        assert.ok(sentence.length <= 96, sentence);
      }
    }
  }
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
    if (call === "close") return { received: 10, segments: [] };
    calls += 1;
    if (!taken.has(fields.sequence)) taken.set(fields.sequence, fields.samples);
    if (calls === 1) return { refused: "lost", unreached: true }; // it arrived all the same
    const received = [...taken.values()].reduce((sum, block) => sum + block.length, 0);
    return { received, segments: [{ end_s: received / 10 }] };
  };
  const connections = [];
  const on = { sound() {}, answer() {}, connection: (isThere) => connections.push(isThere), trouble: assert.fail };
  const api = { ask, leave() {}, context: () => ({}), opened: ({ stream }) => assert.equal(stream, "s") };
  const link = new BrowserLink(on, api, FakeMicrophone);
  await link.open("", false);
  for (let n = 0; n < 5; n += 1) link.microphone.onBlock(Int16Array.of(2 * n, 2 * n + 1));
  while (link.sent < 10) await new Promise((resolve) => setTimeout(resolve, 20));
  const samples = [...taken.values()].flatMap((block) => [...block]);
  assert.deepEqual(samples, Array.from({ length: 10 }, (_, i) => i));
  assert.deepEqual(connections, [false, true]);
  assert.equal(link.lost, 0);
  assert.deepEqual(await link.close(), { received: 10, segments: [] });
  assert.equal(link.received, 10);
});

test("a pause holds the stream by pieces without sound, for a while", async () => {
  const pieces = [];
  let isLost;
  const ask = async (call, fields) => {
    if (call === "open") return { stream: "s" };
    if (call === "push") pieces.push([fields.sequence, fields.samples.length]);
    // It arrived all the same: with another number the next sound would not be taken for this.
    if (pieces.length === 3 && !isLost) return (isLost = { refused: "lost", unreached: true });
    return { received: 2, segments: [] };
  };
  const on = { sound() {}, answer() {}, connection: assert.fail, trouble: assert.fail };
  const api = { ask, leave() {}, context: () => ({}), opened() {} };
  const link = new BrowserLink(on, api, FakeMicrophone);
  await link.open("", false);
  link.microphone.onBlock(Int16Array.of(1, 2));
  while (link.busy) await new Promise((resolve) => setTimeout(resolve, 5));
  await link.hold(); // there was sound just now
  assert.deepEqual(pieces, [[0, 2]]);
  for (let n = 0; n < 50; n += 1) await link.hold();
  assert.deepEqual(pieces.splice(3, 1), [[2, 0]]); // that one goes out again
  assert.deepEqual(pieces.slice(1), Array.from({ length: 45 }, (_, n) => [n + 1, 0]));
  link.microphone.onBlock(Int16Array.of(3));
  while (link.busy) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.deepEqual(pieces.at(-1), [46, 1]);
  await link.close();
});

/* What a browser's storage does; null where it is forbidden. */
const fakeStorage = () => {
  const items = new Map();
  return {
    items,
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => items.set(key, value),
    removeItem: (key) => items.delete(key),
  };
};

test("a voice is stored for this tab alone until it is to be remembered", () => {
  const [session, local] = [fakeStorage(), fakeStorage()];
  const store = new VoiceStore(session, local);
  assert.deepEqual([store.seconds, store.of("a"), store.remembers], [0, null, false]);
  store.save("a", 40, { mean: [1] });
  assert.deepEqual(store.of("a"), { seconds: 40, state: { mean: [1] } });
  assert.deepEqual([session.items.size, local.items.size], [1, 0]);
  store.remembers = true;
  assert.deepEqual([session.items.size, local.items.size], [0, 1]);
  assert.equal(new VoiceStore(fakeStorage(), local).of("a").seconds, 40);
  store.remembers = false;
  assert.deepEqual([session.items.size, local.items.size, store.seconds], [1, 0, 40]);
});

test("a forgotten voice is nowhere, and the wish to remember stays", () => {
  const [session, local] = [fakeStorage(), fakeStorage()];
  const store = new VoiceStore(session, local);
  store.remembers = true;
  store.save("a", 40, {});
  store.forget();
  assert.deepEqual([store.seconds, store.of("a"), store.remembers], [0, null, true]);
  assert.equal([...local.items.values()].join(), "{}");
});

test("the latest four models have a voice, and the seconds are those of the latest", () => {
  const store = new VoiceStore(fakeStorage(), fakeStorage());
  "abcde".split("").forEach((name, seconds) => store.save(name, seconds, {}));
  assert.equal(store.of("a"), null);
  store.save("b", 9, {});
  assert.deepEqual(Object.keys(store.states), ["c", "d", "e", "b"]);
  assert.equal(store.seconds, 9);
});

test("where storage is forbidden or damaged nothing is remembered", () => {
  const store = new VoiceStore(null, null);
  store.save("a", 40, {});
  store.remembers = true;
  store.forget();
  assert.deepEqual([store.seconds, store.remembers], [0, false]);
  const damaged = fakeStorage();
  damaged.setItem("serdemo-voice", "{");
  assert.equal(new VoiceStore(damaged, null).seconds, 0);
});

test("the line names the seconds, another voice, and why there are none", () => {
  const voice = { adapts: true, on: true, seconds: 40.7, changes: 0, trust: 0.3 };
  assert.equal(voiceLine(voice), "Used to your voice: 40 s");
  assert.equal(voiceLine({ ...voice, trust: 0.05 }), "A little used to your voice: 40 s");
  assert.equal(voiceLine({ ...voice, changes: 1 }), "Used to your voice: 40 s");
  assert.equal(voiceLine({ ...voice, changes: 1, seconds: 3 }), "Another voice: used to it for 3 s");
  assert.equal(voiceLine({ ...voice, seconds: 0.4 }), "Not used to your voice yet");
  assert.equal(voiceLine({ ...voice, on: false }), "The same for every voice");
  assert.equal(voiceLine({ ...voice, adapts: false, seconds: 0 }), "Does not get used to voices");
});
