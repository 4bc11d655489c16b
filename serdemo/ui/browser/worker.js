/* A worker that answers in this browser, see remote.js. Messages are { start }, { id, service, request },
   { id, cancel } and { ping }; it posts { id, progress }, { id, response } or { id, error, fatal }, where
   `error` is a sentence, and { pong }. */
import { SerdemoError } from "./errors.js";
import { Services } from "./services.js";

const FAULT = "Something went wrong while this browser answered, and its console says what: try once more.";
const NO_MEMORY = "This browser has too little memory free: close other tabs, then try once more.";

const jobs = new Map();
let services;

const run = async ({ id, service, request }) => {
  const job = { cancelled: false, progress: (progress) => postMessage({ id, progress }) };
  jobs.set(id, job);
  try {
    const response = await services.answer(service, request, job);
    postMessage({ id, response }, buffers(response));
  } catch (error) {
    postMessage({ id, ...described(error) });
  } finally {
    jobs.delete(id);
  }
};

/* An error as a sentence, and whether nothing here can be trusted after it. */
const described = (error) => {
  if (error instanceof SerdemoError) return { error: error.message, fatal: false };
  console.error(error);
  if (error instanceof RangeError || /memory|bad_alloc/i.test(error.message)) {
    return { error: NO_MEMORY, fatal: true };
  }
  return { error: FAULT, fatal: error instanceof WebAssembly.RuntimeError };
};

/* The buffers of a response's sound, which is handed over. */
const buffers = ({ answers = [] }) => answers.flatMap(({ recording }) =>
  (recording ? [recording.samples.buffer] : []));

onmessage = ({ data }) => {
  if (data.start) services = new Services(data.start);
  else if (data.ping) postMessage({ pong: true });
  else if (data.cancel) {
    if (jobs.has(data.id)) jobs.get(data.id).cancelled = true;
  } else run(data);
};
