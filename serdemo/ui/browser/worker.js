/* A worker that answers in this browser, see remote.js. Messages are { start, lock }, { id, service, request }
   and { id, cancel }; it posts { id, progress }, { id, response } or { id, error, fatal }, where `error` is a
   sentence, and { lock } once it holds the lock of that name, as long as it lives. */
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

const start = ({ start: options, lock }) => {
  services = new Services(options);
  navigator.locks?.request(lock, () => {
    postMessage({ lock });
    return new Promise(() => {});
  });
};

onmessage = ({ data }) => {
  if (data.start) start(data);
  else if (data.cancel) {
    if (jobs.has(data.id)) jobs.get(data.id).cancelled = true;
  } else run(data);
};
