/* What answers in this browser, by the name of a service: "live", "recognise", "explore". It runs in a
   worker, and needs no page. */
import { accelerate } from "./acceleration.js";
import { CANCELLED, SerdemoError } from "./errors.js";
import { ExploreCalls } from "./explore_calls.js";
import { fetchBytes } from "./fetching.js";
import { LiveCalls } from "./live_calls.js";
import { OnnxModel } from "./onnx_model.js";
import { OnnxRuntime, hasGpu } from "./onnx_runtime.js";
import { Predictor } from "./predictor.js";
import { readRecording } from "./recording.js";
import { Turns } from "./turns.js";
import { SpeechDetector } from "./vad.js";

const DEFAULT = "base";
const SPEAKER = "speaker";

/* The services of the models in `manifest`, see browser/files.py, whose addresses are relative to `base`. */
export class Services {
  constructor({ manifest, base, threads }) {
    Object.assign(this, { manifest, base, threads });
    this.turns = new Turns();
    this.loaded = new Map(); // promises by name
    this.bytes = { done: 0, total: 0 };
    this.jobs = new Set();
    this.models = new Map(); // by name, once loaded
  }

  /* Resolves to the response of `service` to a request. `job` has `cancelled`, and progress(value), which
     gets { unit, done, total }: of "bytes" while something loads, then of "seconds" of sound. */
  async answer(service, request, job) {
    const methods = {
      load: () => this.load(request, job),
      live: () => this.turns.first(async () => (await this.live()).call(request)),
      recognise: () => this.recognise(request, job),
      explore: () => this.turns.first(async () => (await this.explore()).call(request)),
    };
    if (!Object.hasOwn(methods, service)) throw new SerdemoError(`There is no service ${service}.`);
    this.jobs.add(job);
    try {
      return await methods[service]();
    } finally {
      this.jobs.delete(job);
      if (!this.jobs.size) this.accelerateAll();
    }
  }

  /* Loads the `models` of a request; the answer has for each of them the seconds that a window takes,
     `costs`, and the number of `threads`. */
  async load({ models }) {
    const predictors = await Promise.all(models.map((name) => this.predictor(name)));
    const costs = {};
    for (const predictor of predictors) costs[predictor.name] = await this.cost(predictor);
    return { costs, threads: (await this.runtime()).threads };
  }

  /* Answers to the `sounds` of a request, each { name, rate, channels } or { refusal }, by the model `model`:
     `answers`, each { recording, prediction } or { refusal }, where the recording is the sound as read. With
     `samePerson` they are scored as one voice, of whose speech there were `speechS` seconds. */
  async recognise({ sounds, model = DEFAULT, samePerson = false }, job) {
    const predictor = await this.predictor(model);
    const options = {
      progress: (done, total) => job.progress({ unit: "seconds", done, total }),
      checkCancelled: async () => {
        await this.turns.background();
        if (job.cancelled) throw new Cancelled(CANCELLED);
      },
    };
    const recordings = [];
    for (const sound of sounds) {
      await options.checkCancelled();
      recordings.push(await attempt(async () => read(sound, await this.detector(), options)));
    }
    if (samePerson) {
      const { predictions, speechS } = await predictor.predictSameSpeaker(recordings, options);
      return { answers: recordings.map((recording, i) => answer(recording, predictions[i])), speechS };
    }
    const answers = [];
    for (const recording of recordings) {
      const readable = !(recording instanceof SerdemoError);
      const prediction = readable && await attempt(() => predictor.predict(recording, options));
      answers.push(answer(recording, prediction));
    }
    return { answers };
  }

  /* The calls of the tab Live. */
  live() {
    return this.once("live", async () => new LiveCalls({
      models: (name = DEFAULT) => this.predictor(name),
      speakerModel: () => this.predictor(SPEAKER),
      example: () => this.example(),
    }));
  }

  /* The calls of the tab Explore. */
  explore() {
    return this.once("explore", async () => new ExploreCalls({
      read: (name) => fetchBytes(this.address(`${this.manifest.map.url}${name}`)),
      embedder: (name) => this.predictor(name),
    }));
  }

  /* The `Predictor` of a model. */
  predictor(name) {
    return this.once(`predictor ${name}`, async () => {
      const entry = this.manifest.models[name];
      if (!entry) throw new SerdemoError(`There is no model ${name} here: choose another one.`);
      this.expect(entry.bytes);
      const [model, detector] = await Promise.all([
        OnnxModel.load({
          runtime: this.runtime(),
          url: this.address(entry.url),
          weights: entry.weights,
          onBytes: (n) => this.count(n),
        }),
        this.detector(),
      ]);
      this.models.set(name, model);
      return new Predictor({ model, detector });
    });
  }

  /* Measures for each model that answers, once, whether a graphics processor is faster. */
  async accelerateAll() {
    for (const [name, model] of this.models) {
      this.models.delete(name);
      await this.accelerate(name, model).catch((error) => console.info(error));
    }
  }

  async accelerate(name, model) {
    if (!(await this.once("has gpu", hasGpu))) return;
    const { url, weights } = this.manifest.models[name];
    const runtime = this.once("gpu", () => OnnxRuntime.start({ gpu: true }));
    const candidate = await OnnxModel.load({ runtime, url: this.address(url), weights });
    await this.turns.background();
    await accelerate(model, candidate);
  }

  detector() {
    return this.once("detector", async () => {
      const { url, bytes } = this.manifest.vad;
      this.expect(bytes);
      const network = await fetchBytes(this.address(url), (n) => this.count(n));
      return new SpeechDetector(await (await this.runtime()).createSession(network));
    });
  }

  runtime() {
    return this.once("runtime", () => {
      this.expect(this.manifest.runtime.bytes);
      return OnnxRuntime.start({ threads: this.threads, onBytes: (n) => this.count(n) });
    });
  }

  /* Seconds that a window takes. */
  cost(predictor) {
    return this.once(`cost ${predictor.name}`, () => predictor.windowCostS());
  }

  /* 16-bit samples at 16 kHz of example voices. */
  async example() {
    const bytes = await fetchBytes(this.address(this.manifest.example.url));
    return new Int16Array(bytes.buffer);
  }

  address(path) {
    return new URL(path, this.base).href;
  }

  /* What `make` resolves to, made once; a failure is forgotten, so that the next try is a new one. */
  once(name, make) {
    if (!this.loaded.has(name)) {
      const made = make();
      this.loaded.set(name, made);
      made.catch(() => {
        this.loaded.delete(name);
        this.bytes = { done: 0, total: 0 };
      });
    }
    return this.loaded.get(name);
  }

  expect(bytes) {
    this.bytes.total += bytes;
  }

  count(bytes) {
    this.bytes.done += bytes;
    const { done, total } = this.bytes; // some servers unpack a file on its way, and so more bytes arrive
    for (const job of this.jobs) job.progress({ unit: "bytes", done: Math.min(done, total), total });
  }
}

class Cancelled extends SerdemoError {}

/* What `work` gives, or the SerdemoError that it raises. */
const attempt = async (work) => {
  try {
    return await work();
  } catch (error) {
    if (error instanceof SerdemoError && !(error instanceof Cancelled)) return error;
    throw error;
  }
};

const read = (sound, detector, options) => {
  if (sound.refusal) throw new SerdemoError(sound.refusal);
  return readRecording(sound, detector, options);
};

const answer = (recording, prediction) => {
  const error = [recording, prediction].find((value) => value instanceof SerdemoError);
  return error ? { refusal: error.message } : { recording, prediction };
};
