/* Sound, numbers and calls: what all tabs share. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { clock, count, escapeHtml, percent, plural } from "./ui/shell/js/dom.js";
import { UNREACHED, caller, persistent } from "./ui/shell/js/rpc.js";
import { LastMinute, MIN_DB, concat, fromBase64, levelDb, toBase64, wav } from "./ui/shell/js/sound.js";

globalThis.document = { querySelector: () => ({ dataset: { visitor: "anna", model: "m" } }) };

test("the last minute forgets what is older, and knows samples by their number", () => {
  const sound = new LastMinute(10); // holds 600 samples
  for (let from = 0; from < 1000; from += 40) {
    sound.push(Int16Array.from({ length: 40 }, (_, i) => from + i));
  }
  assert.equal(sound.written, 1000);
  assert.equal(sound.first, 400);
  const all = [...sound.read(sound.first, sound.written)];
  assert.deepEqual(all, Array.from({ length: 600 }, (_, i) => 400 + i));
  assert.deepEqual([...sound.read(595, 605)], Array.from({ length: 10 }, (_, i) => 595 + i));
});

test("a block longer than a minute leaves its last minute", () => {
  const sound = new LastMinute(1);
  sound.push(Int16Array.from({ length: 150 }, (_, i) => i));
  assert.deepEqual([...sound.read(sound.first, 150)], Array.from({ length: 60 }, (_, i) => 90 + i));
});

test("base64 gives the samples back", () => {
  const samples = Int16Array.from({ length: 9000 }, (_, i) => (i * 7919) % 65536 - 32768);
  assert.deepEqual(fromBase64(toBase64(samples)), samples);
  assert.deepEqual(fromBase64(toBase64(samples.subarray(10, 20))), samples.slice(10, 20));
  assert.deepEqual([...concat([samples.subarray(0, 2), samples.subarray(2, 5)])], [...samples.slice(0, 5)]);
});

test("levels are in dB below full scale, and silence has the least", () => {
  assert.equal(levelDb(new Int16Array(100)), MIN_DB);
  assert.ok(Math.abs(levelDb(new Int16Array(100).fill(16384)) + 6.02) < 0.01);
  assert.ok(Math.abs(levelDb(new Int16Array(100).fill(-32768))) < 0.01);
});

test("a WAV file has its header and its samples", async () => {
  const bytes = Buffer.from(await wav(Int16Array.of(1, -2, 3), 16000).arrayBuffer());
  assert.equal(bytes.subarray(0, 4).toString(), "RIFF");
  assert.equal(bytes.readUInt32LE(24), 16000);
  assert.equal(bytes.readUInt32LE(40), 6);
  assert.equal(bytes.readInt16LE(46), -2);
  assert.equal(bytes.length, 50);
});

test("numbers as the page writes them", () => {
  assert.equal(clock(0), "0:00.0");
  assert.equal(clock(0.3), "0:00.3"); // not 0.2999 cut off
  assert.equal(clock(61.25), "1:01.2");
  assert.equal(percent(0.705), "70%"); // as Python rounds
  assert.equal(plural(1, "clip"), "1 clip");
  assert.equal(plural(1200, "clip"), "1,200 clips");
  assert.equal(count(10416), "10,416");
  assert.ok(!/[<>"]/.test(escapeHtml('<img src="x">')));
});

test("a call brings the visitor along, and tells when the server is not reached", async () => {
  const requests = [];
  const ask = caller(async (request) => {
    requests.push(request);
    return { said: 1 };
  });
  assert.deepEqual(await ask("open", { rate: 5 }), { said: 1 });
  assert.deepEqual(requests, [{ call: "open", visitor: "anna", rate: 5 }]);
  const broken = caller(async () => {
    throw new TypeError("Failed to fetch");
  });
  assert.deepEqual(await broken("open"), { refused: UNREACHED, unreached: true });
  const slow = caller(() => new Promise(() => {}), 10);
  assert.equal((await slow("open")).unreached, true);
});

test("a persistent call is made until it is answered, also by a refusal", async () => {
  let calls = 0;
  const answers = [{ unreached: true, refused: "x" }, { refused: "no" }];
  assert.deepEqual(await persistent(async () => answers[calls++])("open"), { refused: "no" });
  assert.equal(calls, 2);
});
