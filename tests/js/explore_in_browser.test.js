/* Explore without a server, and without a model: places among neighbours, who places, and a slow machine. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { LiveVoice } from "./ui/browser/placement.js";
import { ReferenceMap, fromHalf } from "./ui/browser/reference_map.js";
import { BrowserPlacer } from "./ui/explore/placers.js";

const near = (values, wanted) =>
  values.forEach((value, n) => assert.ok(Math.abs(value - wanted[n]) < 1e-6, `${values} is not ${wanted}`));

test("numbers of half precision", () => {
  const bits = Uint16Array.of(0x0000, 0x3c00, 0xc000, 0x3555, 0x0001, 0x83ff, 0x7bff);
  near([...fromHalf(bits)], [0, 1, -2, 0.333251953125, 2 ** -24, -1023 * 2 ** -24, 65504]);
});

const map = (basis, shape) => new ReferenceMap(Float32Array.of(1, 0, 0, 2, -3, 0), basis, shape, {
  flat: { places: Float32Array.of(0, 0, 10, 20, 50, 50), axes: 2 },
  line: { places: Float32Array.of(1, 2, 3), axes: 1 },
});

test("a newcomer lies at the weighted mean of its neighbours", () => {
  const { at, rows, similarities } = map(Float32Array.of(1, 0, 0, 1), [2, 2]).place([3, 4]);
  assert.deepEqual(rows, [1, 0, 2]);
  assert.deepEqual(similarities, [0.8, 0.6, -0.6]);
  // Weights 1.4 and 1.2: none for the last.
  near(at.flat, [140 / 26, 280 / 26]);
  near(at.line, [(1.4 * 2 + 1.2) / 2.6]);
});

test("an embedding is projected on the map's axes, and one of another model is refused", () => {
  const projected = map(Float32Array.of(0, 0, 0, 1, 1, 0), [3, 2]);
  assert.deepEqual(projected.place([100, 0, 0.1]).rows[0], 0);
  assert.throws(() => projected.place([1, 0]), /another model/);
});

test("where all neighbours are as near, each counts alike", () => {
  const same = new ReferenceMap(Float32Array.of(1, 0, 1, 0), Float32Array.of(1, 0, 0, 1), [2, 2],
    { line: { places: Float32Array.of(1, 2), axes: 1 } });
  near(same.place([0, 1]).at.line, [1.5]);
});

test("this browser places on the shipped map alone, and says why it cannot", async () => {
  const loaded = [];
  const models = {
    load: async (names) => { loaded.push(...names); return { costs: {} }; },
    explore: async () => { throw new Error("It broke: try again."); },
  };
  const placer = new BrowserPlacer(async () => models, "voice.ogg");
  assert.match((await placer.prepare({ key: "own", model: "x" })).refused, /shipped map alone/);
  assert.deepEqual(loaded, []);
  assert.equal((await placer.prepare({ key: "shipped", model: "speaker" })).refused, undefined);
  assert.deepEqual(loaded, ["speaker"]);
  assert.deepEqual(await placer.ask("voice", {}), { refused: "It broke: try again." });
});

test("a machine that is too slow skips the older windows of a voice", async () => {
  const scored = [];
  let ready = [];
  const stream = { push() {}, finish() {}, isSpeaking: true, readyWindows: async () => ready.splice(0) };
  const slowly = (ms) => { for (const end = performance.now() + ms; performance.now() < end;); };
  const embedder = {
    labels: [], stream: () => stream,
    embeddings: async (waves) => waves.map((wave) => { slowly(260); scored.push(wave); return [wave, 1]; }),
  };
  const window = (wave) => ({ start: 0, stop: 8000 * (wave + 1), wave, speechRatio: 1, whole: false });
  const voice = new LiveVoice({ reference: { size: 2 }, place: (row) => ({ at: [...row] }) }, embedder, 16000);
  ready = [window(0)];
  assert.deepEqual((await voice.push([])).at, [0, 1]);
  ready = [1, 2, 3].map(window);
  const { at, speaking } = await voice.push([]);
  assert.deepEqual(scored, [0, 3]); // half a second holds one window
  assert.ok(at[0] > 2.8 && at[0] < 3 && speaking);
  assert.deepEqual(await voice.push([]), { speaking: true });
});
