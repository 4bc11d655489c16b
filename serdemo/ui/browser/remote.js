/* The page's side of answers in this browser: functions like a component's `server`, answered by a worker. */
import { CANCELLED, SerdemoError } from "./errors.js";
import { unsupported } from "./onnx_runtime.js";

const NO_WORKER = "This browser could not start its own recognition: reload the page, or update the browser.";
const ENDED = "This browser ended its own recognition, as it does when memory is short: try once more.";

/* The models of a `manifest`, see browser/files.py. `base` is the address of the scripts' folder. The
   worker is started by the first call, and anew by the next after it failed. */
export class BrowserModels {
  constructor({ manifest, base = new URL("../", import.meta.url).href, threads }) {
    this.start = { manifest, base, threads };
    this.calls = new Map();
    this.count = 0;
    this.worker = null;
  }

  /* Whether the model `name` can get used to a voice. */
  adapts(name) {
    return this.start.manifest.models[name].adapts;
  }

  /* Loads the models of these names; resolves to { costs, threads }. `onProgress` gets { unit: "bytes", done,
     total }. */
  load(names, onProgress) {
    return this.call("load", { models: names }, { onProgress });
  }

  /* The response to a call of the tab Live; a failure is { refused: sentence }. */
  live = (request) => this.answered("live", request);

  /* The response to a call of the tab Explore; a failure is { refused: sentence }. */
  explore = (request) => this.answered("explore", request);

  /* The answer { prediction, recording } to a decoded sound { name, rate, channels }, which is handed over;
     the recording is that sound as read. `onProgress` gets { unit, done, total }, of "bytes" while the model
     loads, then of "seconds". `options` are the `model`, and the `signal` by which it is cancelled. Rejects
     with a SerdemoError. */
  async recognise(decoded, onProgress, options) {
    const { answers } = await this.recogniseAll([decoded], onProgress, options);
    if (answers[0].refusal) throw new SerdemoError(answers[0].refusal);
    return answers[0];
  }

  /* `answers` to several sounds, as `recognise` gives them, or { refusal } each; a sound may be a { refusal }
     itself. With the option `samePerson` they are taken as one voice, of whose speech there were `speechS`
     seconds. */
  recogniseAll(sounds, onProgress, { signal, ...options } = {}) {
    const transfer = sounds.flatMap(({ channels = [] }) => channels.map(({ buffer }) => buffer));
    return this.call("recognise", { sounds, ...options }, { onProgress, signal, transfer });
  }

  async answered(service, request) {
    try {
      return await this.call(service, request);
    } catch (error) {
      return { refused: error.message };
    }
  }

  call(service, request, { onProgress = () => {}, signal, transfer = [] } = {}) {
    const sentence = unsupported();
    if (sentence) return Promise.reject(new SerdemoError(sentence));
    if (signal?.aborted) return Promise.reject(new SerdemoError(CANCELLED));
    const worker = this.begin();
    this.count += 1;
    const id = this.count;
    return new Promise((resolve, reject) => {
      this.calls.set(id, { resolve, reject, onProgress });
      worker.postMessage({ id, service, request }, [...new Set(transfer)]);
      signal?.addEventListener("abort", () => worker.postMessage({ id, cancel: true }));
    });
  }

  begin() {
    if (this.worker) return this.worker;
    const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }) => this.take(data);
    worker.onerror = (event) => {
      event.preventDefault();
      this.end(NO_WORKER);
    };
    const lock = `serdemo ${Math.random()}`;
    worker.postMessage({ start: this.start, lock });
    this.worker = worker;
    this.ended = new AbortController();
    return worker;
  }

  take({ id, response, error, fatal, progress, lock }) {
    if (lock) return this.watch(lock);
    const call = this.calls.get(id);
    if (!call) return;
    if (progress) return call.onProgress(progress);
    this.calls.delete(id);
    if (error) call.reject(new SerdemoError(error));
    else call.resolve(response);
    if (fatal) this.end(error);
  }

  /* A browser ends a worker without a word, which frees the lock that it holds. Its silence says nothing: on a
     busy machine a step may take minutes. */
  watch(lock) {
    const { signal } = this.ended;
    navigator.locks.request(lock, { signal }, () => this.end()).catch(() => {}); // ended by ourselves
  }

  /* Ends the worker; `sentence` is what its calls are answered with. */
  end(sentence = ENDED) {
    this.ended?.abort();
    this.worker?.terminate();
    this.worker = null;
    const calls = [...this.calls.values()];
    this.calls.clear();
    for (const { reject } of calls) reject(new SerdemoError(sentence));
  }
}
