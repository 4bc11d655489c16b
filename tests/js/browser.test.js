/* What answers in the browser, without networks: turns, acceleration, and the worker's page side. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { accelerate } from "./ui/browser/acceleration.js";
import { SerdemoError } from "./ui/browser/errors.js";
import { BrowserModels } from "./ui/browser/remote.js";
import { Services } from "./ui/browser/services.js";
import { Turns } from "./ui/browser/turns.js";

const clock = () => {
  const at = { now: 0 };
  const network = (seconds, row, log) => ({
    session: { release: async () => log.push("released"), run: async () => log.push("run") },
    embeddings: async () => {
      at.now += seconds;
      return [Float32Array.from(row)];
    },
  });
  return { at, network };
};

for (const [gpu, row, used] of [[0.01, [1, 2], true], [0.09, [1, 2], false], [0.01, [1, 2.1], false]]) {
  test(`a GPU that takes ${gpu} s and gives ${row} is ${used ? "" : "not "}used`, async () => {
    const { at, network } = clock();
    const log = [];
    const model = network(0.1, [1, 2], log);
    const before = model.session;
    const measured = await accelerate(model, network(gpu, row, log), () => at.now);
    assert.ok(Math.abs(measured.before - 0.1) < 1e-9 && Math.abs(measured.after - gpu) < 1e-9);
    assert.equal(measured.isUsed, used);
    assert.equal(model.session === before, !used);
    assert.deepEqual(log, used ? [] : ["released"]);
  });
}

test("where the GPU is taken away the processor goes on", async () => {
  const { at, network } = clock();
  const model = network(0.1, [1], []);
  model.session.run = async () => "processor";
  const fast = network(0.01, [1], []);
  fast.session.run = async () => "gpu";
  await accelerate(model, fast, () => at.now);
  assert.equal(await model.session.run(), "gpu");
  fast.session.run = async () => { throw new Error("lost"); };
  assert.equal(await model.session.run(), "processor");
  fast.session.run = async () => "gpu";
  assert.equal(await model.session.run(), "processor");
});

test("a recording waits for what goes first, and for nothing else", async () => {
  const turns = new Turns();
  const order = [];
  let end;
  const live = turns.first(async () => {
    await new Promise((resolve) => { end = resolve; });
    order.push("live");
  });
  const recording = turns.background().then(() => order.push("recording"));
  await new Promise(setImmediate);
  assert.deepEqual(order, []);
  end();
  await Promise.all([live, recording]);
  assert.deepEqual(order, ["live", "recording"]);
  await turns.background();
  await assert.rejects(turns.first(async () => { throw new SerdemoError("no"); }), /no/);
  await turns.background();
});

const manifest = {
  models: { base: { url: "../m/base/", weights: [], bytes: 5 } },
  vad: { url: "../m/vad.onnx", bytes: 3 },
  runtime: { bytes: 2 },
};

test("what cannot be loaded is a sentence, and is tried again", async () => {
  let asked = 0;
  const services = new Services({ manifest, base: "http://localhost/ui/" });
  const made = () => services.once("thing", async () => {
    asked += 1;
    if (asked === 1) throw new SerdemoError("The thing is gone.");
    return asked;
  });
  await assert.rejects(made(), /gone/);
  assert.equal(await made(), 2);
  assert.equal(await made(), 2);
  const job = { progress: () => {} };
  await assert.rejects(services.answer("nothing", {}, job), SerdemoError);
  await assert.rejects(services.answer("load", { models: ["other"] }, job), /no model other/);
  assert.equal(services.jobs.size, 0);
});

/* A stand-in for the browser's Worker, which notes what it is sent. */
class FakeWorker {
  constructor() {
    FakeWorker.made.push(this);
    this.sent = [];
  }

  postMessage(message, transfer = []) {
    this.sent.push({ ...message, transfer });
  }

  terminate() {
    this.ended = true;
  }

  answer(message) {
    this.onmessage({ data: message });
  }
}

const withWorkers = (work) => async () => {
  FakeWorker.made = [];
  globalThis.Worker = FakeWorker;
  const models = new BrowserModels({ manifest, base: "http://localhost/ui/" });
  try {
    await work(models, FakeWorker.made);
  } finally {
    models.end();
    delete globalThis.Worker;
  }
};

test("calls go to one worker, each to its own answer", withWorkers(async (models, made) => {
  assert.equal(made.length, 0); // nothing starts before it is needed
  const channel = Float32Array.of(1, 2);
  const seen = [];
  const recording = models.recognise(
    { name: "a.wav", rate: 16000, channels: [channel] }, (progress) => seen.push(progress)
  );
  const live = models.live({ call: "open" });
  const [worker] = made;
  assert.equal(made.length, 1);
  const [start, first, second] = worker.sent;
  assert.equal(start.start.base, "http://localhost/ui/");
  assert.deepEqual([first.service, second.service], ["recognise", "live"]);
  assert.deepEqual(first.transfer, [channel.buffer]);
  worker.answer({ id: second.id, response: { stream: "s" } });
  assert.deepEqual(await live, { stream: "s" });
  worker.answer({ id: first.id, progress: { unit: "seconds", done: 1, total: 2 } });
  worker.answer({ id: first.id, response: { answers: [{ refusal: "It is empty." }] } });
  await assert.rejects(recording, (error) => error instanceof SerdemoError && /empty/.test(error.message));
  assert.deepEqual(seen, [{ unit: "seconds", done: 1, total: 2 }]);
}));

test("a worker that ends answers all of its calls, and the next call starts another", withWorkers(async (models, made) => {
  const live = models.live({ call: "push" });
  const recording = models.recognise({ name: "a", rate: 1, channels: [] });
  made[0].onerror({ preventDefault: () => {} });
  assert.match((await live).refused, /could not start.*\.$/);
  await assert.rejects(recording, SerdemoError);
  assert.ok(made[0].ended);
  const again = models.live({ call: "push" });
  assert.equal(made.length, 2);
  made[1].answer({ id: made[1].sent[1].id, error: "Too little memory.", fatal: true });
  assert.deepEqual(await again, { refused: "Too little memory." });
  assert.ok(made[1].ended);
}));

/* Web locks that are all held by workers, until `free(name)`. */
const heldLocks = () => {
  const waiting = new Map();
  const request = (name, { signal }, callback) => new Promise((resolve, reject) => {
    waiting.set(name, () => resolve(callback()));
    signal.addEventListener("abort", () => {
      waiting.delete(name);
      reject(signal.reason);
    });
  });
  return { locks: { request }, waiting, free: (name) => waiting.get(name)() };
};

test("a worker is gone once its lock is free, and not before, however long it is silent", async (t) => {
  const { locks, waiting, free } = heldLocks();
  Object.defineProperty(globalThis, "navigator", { value: { locks }, configurable: true });
  t.mock.timers.enable({ apis: ["setInterval", "setTimeout"] });
  await withWorkers(async (models, made) => {
    const live = models.live({ call: "push" });
    const [worker] = made;
    const { lock } = worker.sent[0];
    worker.answer({ lock });
    t.mock.timers.tick(3_600_000);
    assert.ok(!worker.ended);
    free(lock);
    assert.match((await live).refused, /memory is short/);
    assert.ok(worker.ended);
    const next = models.live({ call: "push" });
    const again = made[1].sent[0].lock;
    assert.notEqual(again, lock);
    made[1].answer({ lock: again });
    assert.deepEqual([...waiting.keys()], [again]);
    made[1].answer({ id: made[1].sent[1].id, response: {} });
    assert.deepEqual(await next, {});
    models.end();
    assert.equal(waiting.size, 0); // a worker that was ended is not waited for
  })();
  delete globalThis.navigator;
});

test("an aborted recording is cancelled in the worker", withWorkers(async (models, made) => {
  const controller = new AbortController();
  const answer = models.recognise({ name: "a", rate: 1, channels: [] }, undefined, { signal: controller.signal });
  controller.abort();
  const { id, cancel } = made[0].sent.at(-1);
  assert.equal(cancel, true);
  made[0].answer({ id, error: "This was cancelled." });
  await assert.rejects(answer, /cancelled/);
}));

test("a recording that was cancelled before it was sent is not sent", withWorkers(async (models, made) => {
  const options = { signal: AbortSignal.abort() };
  await assert.rejects(models.recognise({ name: "a", rate: 1, channels: [] }, undefined, options), /cancelled/);
  assert.equal(made.length, 0);
}));

test("a browser without SIMD is refused in a sentence", withWorkers(async (models, made) => {
  const { validate } = WebAssembly;
  WebAssembly.validate = () => false;
  try {
    assert.match((await models.live({ call: "open" })).refused, /SIMD.*\.$/);
    await assert.rejects(models.load(["base"]), /SIMD/);
  } finally {
    WebAssembly.validate = validate;
  }
  assert.equal(made.length, 0);
}));
