/* ONNX Runtime in WebAssembly, from the files beside this one and no others. */
import { SerdemoError } from "./errors.js";
import { fetchBytes, gunzip } from "./fetching.js";

export const MAX_THREADS = 4;
const FOLDER = new URL("./onnxruntime/", import.meta.url);
// The entry, the network's code beside it, and what runs networks. Both have all of the CPU's operators.
const CPU = { entry: "ort.wasm.min.mjs", code: "ort-wasm-simd-threaded.wasm.gz", provider: "wasm" };
const GPU = { entry: "ort.jspi.min.mjs", code: "ort-wasm-simd-threaded.jspi.wasm.gz", provider: "webgpu" };
// A module with one instruction of SIMD, an i32x4.dot_i16x8_s.
const SIMD = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 10, 30, 1, 28, 0, 65, 0, 253, 15, 253,
  12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 253, 186, 1, 26, 11
);
const UPDATE = "update it, or use Chrome, Edge, Firefox or Safari of 2023 or later.";
const DAMAGED =
  "A network is damaged, or memory is short: close other tabs and reload the page.";

/* Why this browser cannot compute answers, as a sentence; "" where it can. */
export const unsupported = () => {
  if (typeof WebAssembly !== "object") {
    return `This browser has no WebAssembly, or it is switched off: switch it on, ${UPDATE}`;
  }
  if (!WebAssembly.validate(SIMD)) return `This browser's WebAssembly has no SIMD: ${UPDATE}`;
  if (typeof DecompressionStream !== "function") {
    return `This browser is too old to answer by itself: ${UPDATE}`;
  }
  return "";
};

/* Threads that the page may use: more than one need a page that is isolated from other origins. */
export const threadCount = () =>
  globalThis.crossOriginIsolated ? Math.min(MAX_THREADS, navigator.hardwareConcurrency || 1) : 1;

/* Whether there is a graphics processor, not one that the processor imitates, that the runtime can use. */
export const hasGpu = async () => {
  if (!globalThis.navigator?.gpu || !("Suspending" in WebAssembly)) return false;
  const adapter = await navigator.gpu.requestAdapter().catch(() => null);
  return adapter !== null && !adapter.info.isFallbackAdapter;
};

const importModule = async (name) => {
  try {
    return await import(new URL(name, FOLDER));
  } catch (error) {
    console.warn(error);
    throw new SerdemoError(`${name} could not be loaded: check the connection, then reload the page.`);
  }
};

/* The runtime. Start it once in a worker; networks run one at a time. */
export class OnnxRuntime {
  constructor(ort, provider, threads) {
    Object.assign(this, { ort, provider, threads, turn: Promise.resolve() });
  }

  /* Loads the runtime, `onBytes(n)` as its n bytes arrive; with `gpu` the one for graphics processors, see
     `hasGpu`. Raises SerdemoError where this browser cannot run it. */
  static async start({ threads = threadCount(), gpu = false, onBytes } = {}) {
    const sentence = unsupported();
    if (sentence) throw new SerdemoError(sentence);
    const { entry, code, provider } = gpu ? GPU : CPU;
    const [ort, packed] = await Promise.all([
      importModule(entry),
      fetchBytes(new URL(code, FOLDER), onBytes),
    ]);
    const { wasm } = ort.env;
    ort.env.logLevel = "error";
    wasm.numThreads = threads;
    wasm.wasmPaths = FOLDER.href;
    wasm.wasmBinary = (await gunzip(packed)).buffer;
    return new OnnxRuntime(ort, provider, threads);
  }

  /* A session of the `graph` (bytes), with its `weights`, { file name: bytes }, where it has some in
     files of their own. Raises SerdemoError for what is no network. */
  createSession(graph, weights = {}) {
    return this.exclusive(async () => {
      const externalData = Object.entries(weights).map(([path, data]) => ({ path, data }));
      try {
        return new Session(this, await this.ort.InferenceSession.create(graph, {
          executionProviders: [this.provider],
          externalData,
        }));
      } catch (error) {
        if (error instanceof WebAssembly.RuntimeError || error instanceof RangeError) throw error; // it is broken
        console.warn(error);
        throw new SerdemoError(DAMAGED);
      }
    });
  }

  /* What `work` resolves to; works wait for each other. */
  exclusive(work) {
    const result = this.turn.then(work);
    this.turn = result.catch(() => {});
    return result;
  }
}

/* A network that is ready to run. */
class Session {
  constructor(runtime, session) {
    this.runtime = runtime;
    this.session = session;
  }

  /* Outputs { name: { data, dims } } for inputs of that form; `data` is a Float32Array or a
     BigInt64Array. `outputs` limits what is returned. */
  run(inputs, outputs = this.session.outputNames) {
    const { Tensor } = this.runtime.ort;
    const feeds = {};
    for (const [name, { data, dims }] of Object.entries(inputs)) feeds[name] = new Tensor(data, dims);
    return this.runtime.exclusive(() => this.session.run(feeds, outputs));
  }

  /* Frees its memory. */
  release() {
    return this.runtime.exclusive(() => this.session.release());
  }
}
