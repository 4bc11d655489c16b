/* Live streams in the browser without networks: order of pieces, busy machines, faults, voices. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { SerdemoError } from "./ui/browser/errors.js";
import { LiveCalls } from "./ui/browser/live_calls.js";
import { IDLE_S, LiveServices, MODEL_FAILED, expectedDelayS } from "./ui/browser/live_service.js";
import { Predictor } from "./ui/browser/predictor.js";
import { SpeakerAdapter } from "./ui/browser/speaker_adaptation.js";
import { SpeakerPrior } from "./ui/browser/speaker_prior.js";
import { SpeakerTracker, VoiceGuard } from "./ui/browser/speaker_tracking.js";
import { toBase64 } from "./ui/shell/js/sound.js";

const DESCRIPTION = {
  name: "small", labels: ["calm", "loud"], temperature: 1, unsure_below: 0.6,
  speaker_prior: {
    class_means: { calm: [0, 0, 1], loud: [2, 0, 1] }, discriminants: [[10, 0, 0]], offset_scale: 0.5,
  },
};

/* A detector that finds speech in every chunk, and a model whose answers follow the level of the sound. */
const detector = { score: async (chunks, state) => {
  const count = Math.floor((chunks.length - 64) / 512);
  return { probabilities: new Float32Array(count).fill(0.9), state };
} };
const model = {
  description: DESCRIPTION,
  embeddings: async (waves) => waves.map((wave) => Float32Array.of(2 * Math.max(...wave), 0, 1)),
  logits: async (rows) => rows.map(([level]) => Float32Array.of(0, level)),
};

const made = (own = model) => {
  const at = { now: 100 };
  const now = () => at.now;
  const predictor = new Predictor({ model: own, detector, now });
  const services = new LiveServices(async () => null, now);
  const calls = new LiveCalls({
    models: async () => predictor, services, names: ["small"], shipped: "small", smallest: "small",
    example: async () => new Int16Array(3),
  });
  const ask = (call, fields = {}) => calls.call({ call, ...fields });
  return { at, ask, services, predictor };
};

const sound = (seconds) =>
  Int16Array.from({ length: 16_000 * seconds }, (_, i) => 16_384 * Math.sin(i / 10));
const piece = (stream, sequence, seconds = 0.5, since = 0) =>
  ({ stream, sequence, since, samples: sound(seconds) });

test("pieces are put in order, and one that comes twice counts once", async () => {
  const { ask } = made();
  const { stream } = await ask("open", { rate: 16_000 });
  for (const sequence of [0, 2, 2, 1, 0]) await ask("push", piece(stream, sequence));
  const state = await ask("push", piece(stream, 3));
  assert.equal(state.received, 4 * 8000);
  assert.deepEqual(state.segments.map(({ end_s: end }) => end), [0.95, 1.45, 1.95]);
  assert.deepEqual([state.says, state.scored], ["Sounds loud, fairly sure", 3]);
  const whole = await ask("close", { stream, since: 0 });
  assert.equal(whole.received, 4 * 8000);
  assert.equal(whole.segments.at(-1).end_s, 2);
  assert.deepEqual(await ask("push", piece(stream, 4)), {
    refused: "This live stream is closed: start it again.", gone: true,
  });
});

test("a piece that never comes is given up, counted and told", async () => {
  const { ask } = made();
  const { stream } = await ask("open", { rate: 16_000 });
  await ask("push", piece(stream, 0, 0.1));
  let state;
  for (let sequence = 2; sequence < 11; sequence += 1) state = await ask("push", piece(stream, sequence, 0.1));
  assert.equal(state.received, 10 * 1600);
  assert.deepEqual(state.warnings, ["Some sound was lost on its way here: use a steadier connection."]);
});

test("a stream to which nothing is pushed is dropped", async () => {
  const { at, ask, services } = made();
  const { stream } = await ask("open", { rate: 16_000 });
  at.now += IDLE_S - 1;
  assert.equal(services.size, 1);
  at.now += 2;
  assert.equal(services.size, 0);
  assert.equal((await ask("push", piece(stream, 0))).gone, true);
});

test("a stream is not dropped however long its sound is scored", async () => {
  let clock;
  const slow = { ...model, embeddings: async (waves) => {
    clock.now += 2 * IDLE_S;
    return model.embeddings(waves);
  } };
  const { at, ask } = made(slow);
  clock = at;
  const { stream } = await ask("open", { rate: 16_000 });
  assert.equal((await ask("push", piece(stream, 0, 1))).scored, 1);
  at.now += IDLE_S - 1;
  const whole = await ask("close", { stream, since: 0 });
  assert.equal(whole.received, 16_000);
  assert.equal(whole.says, "Sounds loud, fairly sure");
});

test("on a busy machine older windows are left out and counted, and no sound is", async () => {
  let clock;
  const slow = { ...model, embeddings: async (waves) => {
    clock.now += 0.3 * waves.length;
    return model.embeddings(waves);
  } };
  const { at, ask } = made(slow);
  clock = at;
  const { stream } = await ask("open", { rate: 16_000 });
  await ask("push", piece(stream, 0, 1)); // its window shows what one costs
  const state = await ask("push", piece(stream, 1, 3));
  assert.deepEqual([state.scored, state.skipped, state.received], [2, 5, 4 * 16_000]);
  const { warnings } = await ask("push", piece(stream, 2, 0));
  assert.deepEqual(warnings, ["This machine is busy: answers come later and some are left out."]);
});

test("a network that fails ends its stream with a sentence, and no other", async () => {
  const logged = console.error;
  console.error = () => {};
  const broken = { ...model, embeddings: async () => { throw new Error("no"); } };
  const { ask } = made(broken);
  const { stream } = await ask("open", { rate: 16_000 });
  await ask("push", piece(stream, 0, 1));
  const { refused, gone } = await ask("push", piece(stream, 1));
  console.error = logged;
  assert.deepEqual([refused, gone], [MODEL_FAILED, false]);
});

test("wrong requests are refused in a sentence", async () => {
  const { ask } = made();
  assert.match((await ask("toString")).refused, /no call 'toString'/);
  assert.match((await ask("open", { rate: "16000" })).refused, /needs rate of type int/);
  assert.match((await ask("open", { rate: 100 })).refused, /sample rate of 100 Hz/);
  const { stream } = await ask("open", { rate: 16_000 });
  assert.match((await ask("push", { ...piece(stream, 0), samples: "?" })).refused, /no 16-bit sound/);
  assert.match((await ask("open_local", { device: 0 })).refused, /its own microphones alone/);
  assert.deepEqual(await ask("example"), { samples: toBase64(new Int16Array(3)), rate: 16_000 });
});

test("a model that would come late is stood in for", async () => {
  assert.equal(expectedDelayS(0.1, 0), 0.25);
  assert.equal(expectedDelayS(0.1, 0.5).toFixed(9), "0.300000000");
  assert.equal(expectedDelayS(0.1, 1), Infinity);
  const { predictor } = made();
  const quick = Object.assign(Object.create(predictor), { name: "compact", windowCostS: async () => 0.1 });
  const late = Object.assign(Object.create(predictor), { name: "base", windowCostS: async () => 0.45 });
  const models = async (name) => ({ base: late, compact: quick })[name];
  const calls = new LiveCalls({ models, speakerModel: async () => null });
  const opened = await calls.call({ call: "open", rate: 16_000 });
  assert.deepEqual([opened.model, opened.instead], [
    "compact", "compact answers: base would come late on this machine now.",
  ]);
  const wanted = await calls.call({ call: "open", rate: 16_000, model: "base" });
  assert.deepEqual([wanted.model, wanted.instead], ["base", ""]);
  const alone = async (name) => {
    if (name === "compact") throw new SerdemoError("model.json could not be loaded.");
    return late;
  };
  const kept = await new LiveCalls({ models: alone, speakerModel: async () => null }).call({ call: "open", rate: 16_000 });
  assert.deepEqual([kept.model, kept.instead], ["base", ""]);
});

test("a voice grows with speech, goes to another stream, and another one starts anew", async () => {
  const prior = await SpeakerPrior.of(DESCRIPTION);
  assert.match(prior.fingerprint, /^[0-9a-f]{16}$/);
  const tracker = new SpeakerTracker(prior);
  const window = (stop) => ({ start: stop - 48_000, stop, speechRatio: 1, whole: false });
  for (let n = 1; n <= 4; n += 1) tracker.update(window(48_000 * n), [1, 0.4, 1], [1, 0]);
  assert.equal(tracker.adapter.speechS, 12);
  assert.ok(tracker.adapter.trust > 0 && tracker.adapter.offset[1] > 0);
  const restored = SpeakerTracker.fromJson(prior, tracker.toJson(), true);
  assert.ok(Math.abs(restored.adapter.trust - tracker.adapter.trust) < 1e-4);
  for (let n = 5; n <= 6; n += 1) restored.update(window(48_000 * n), [1, 0.4, 1], [0, 1]);
  assert.deepEqual([restored.changes, restored.adapter.speechS], [1, 3]);
  assert.throws(() => SpeakerAdapter.fromJson(prior, { model: "other" }), /not learnt by this model/);
  assert.throws(() => SpeakerAdapter.fromJson(prior, { ...tracker.toJson(), mean: [NaN, 0, 0] }), /damaged/);
  const guard = new VoiceGuard();
  assert.deepEqual([[1, 0], [1, 0], [0.9, 0.1], [0, 1]].map((v) => guard.update(v)), [false, false, false, false]);
  assert.equal(guard.update([0, 1]), true);
});
