/* The page without a server: its service worker, in a browser's place, and its tabs. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { mock, test } from "node:test";
import { BrowserAnswerer } from "./ui/live/answerers.js";
import { takeOver } from "./ui/static_space/offline.js";
import { indexFor } from "./ui/shell/js/keyboard.js";

const SCOPE = "http://localhost:8000/space/";
const WORKER = new URL("./ui/static_space/service_worker.js", import.meta.url);

const sumOf = async (text) => {
  const sum = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return btoa(String.fromCharCode(...new Uint8Array(sum)));
};

/* A cache storage that lives as long as the test, like the browser's from version to version. */
const makeCaches = () => {
  const entries = new Map();
  const cache = {
    match: async (key) => entries.get(key)?.clone(),
    put: async (key, response) => entries.set(key, response),
    keys: async () => [...entries.keys()].map((url) => ({ url })),
    delete: async (key) => entries.delete(key),
  };
  return { entries, open: async () => cache };
};

/* Starts the worker of a version whose `files` are { path: text }, on a host that serves `served`. */
const startWorker = async ({ files, first, served = files, caches }) => {
  const on = {};
  const requested = [];
  const globals = {
    POLICY: "default-src 'none'",
    FILES: Object.fromEntries(await Promise.all(
      Object.entries(files).map(async ([path, text]) => [path, await sumOf(text)]))),
    FIRST: first,
    registration: { scope: SCOPE },
    caches,
    clients: { claim: async () => {} },
    skipWaiting: () => { on.skipped = true; },
    addEventListener: (kind, listener) => { on[kind] = listener; },
    fetch: async (request) => {
      const path = new URL(request.url ?? request, SCOPE).href.replace(SCOPE, "") || "index.html";
      requested.push(path);
      if (on.offline) throw new TypeError("offline");
      const text = served[path];
      return new Response(text ?? "none", { status: text === undefined ? 404 : 200 });
    },
  };
  new Function(...Object.keys(globals), await readFile(WORKER, "utf8"))(...Object.values(globals));
  const wait = async (kind, event = {}) => {
    const waits = [];
    on[kind]({ ...event, respondWith: (answer) => waits.push(answer), waitUntil: (work) => waits.push(work) });
    for (let n = 0; n < waits.length; n += 1) await waits[n];
    return waits[0];
  };
  const ask = async (path, init = {}) => {
    const url = path.includes("://") ? path : SCOPE + path;
    const request = { url, method: "GET", headers: new Headers(), ...init };
    return wait("fetch", { request });
  };
  return { on, ask, requested, install: () => wait("install"), activate: () => wait("activate") };
};

const FILES = { "index.html": "<p>", "a.js": "a", "later.bin": "later" };
const FIRST = ["a.js", "index.html"];

test("what is fetched at once answers without a network, with the headers that give threads", async () => {
  const worker = await startWorker({ files: FILES, first: FIRST, caches: makeCaches() });
  await worker.install();
  assert.deepEqual(worker.requested, FIRST);
  worker.on.offline = true;
  for (const path of ["", "index.html", "?__theme=dark#live"]) {
    const page = await worker.ask(path);
    assert.equal(await page.text(), "<p>");
    assert.equal(page.headers.get("Cross-Origin-Embedder-Policy"), "require-corp");
    assert.equal(page.headers.get("Cross-Origin-Opener-Policy"), "same-origin");
    assert.equal(page.headers.get("Content-Length"), "3");
  }
  await assert.rejects(() => worker.ask("later.bin"), /offline/);
});

test("the rest answers without a network once it was asked for", async () => {
  const worker = await startWorker({ files: FILES, first: FIRST, caches: makeCaches() });
  await worker.install();
  assert.equal(await (await worker.ask("later.bin")).text(), "later");
  worker.on.offline = true;
  assert.equal(await (await worker.ask("later.bin")).text(), "later");
});

test("a new version fetches what is new alone, and drops what is old", async () => {
  const caches = makeCaches();
  const old = await startWorker({ files: FILES, first: FIRST, caches });
  await old.install();
  await old.activate();
  const files = { ...FILES, "a.js": "A" };
  const fresh = await startWorker({ files, first: FIRST, caches });
  await fresh.install();
  assert.deepEqual(fresh.requested, ["a.js"]);
  assert.equal(await (await old.ask("a.js")).text(), "a"); // until the new one takes over
  fresh.on.message({ data: "activate" });
  assert.equal(fresh.on.skipped, true);
  await fresh.activate();
  assert.equal(await (await fresh.ask("a.js")).text(), "A");
  assert.equal(caches.entries.size, 2);
});

test("a file of another version is passed on and not stored", async () => {
  const caches = makeCaches();
  const served = { ...FILES, "later.bin": "newer", "a.js": "newer" };
  const worker = await startWorker({ files: FILES, first: FIRST, served, caches });
  await assert.rejects(() => worker.install(), /a.js is of another version/);
  assert.equal(await (await worker.ask("later.bin")).text(), "newer");
  assert.equal(caches.entries.size, 0);
});

test("what is not of the folder is left to the browser", async () => {
  const worker = await startWorker({ files: FILES, first: FIRST, caches: makeCaches() });
  assert.equal(await worker.ask("a.js", { method: "POST" }), undefined);
  assert.equal(await worker.ask("a.js", { headers: new Headers({ Range: "bytes=0-1" }) }), undefined);
  assert.equal(await worker.ask("http://localhost:8000/elsewhere.js"), undefined);
  assert.equal(await worker.ask("http://example.org/space/a.js"), undefined);
  assert.deepEqual(worker.requested, []);
  assert.equal((await worker.ask("missing.js")).status, 404);
});

test("a newer version that does not take over leaves the page as it is", async () => {
  const container = new EventTarget();
  const posted = [];
  container.getRegistration = async () => ({ waiting: { postMessage: (text) => posted.push(text) } });
  const reload = mock.fn();
  Object.defineProperty(globalThis, "navigator", { value: { serviceWorker: container }, configurable: true });
  globalThis.location = { reload };
  mock.timers.enable({ apis: ["setTimeout"] });
  const left = takeOver();
  await new Promise((resolve) => { setImmediate(resolve); });
  mock.timers.tick(3000);
  assert.equal(await left, false);
  mock.timers.reset();
  const taken = takeOver();
  await new Promise((resolve) => { setImmediate(resolve); });
  container.dispatchEvent(new Event("controllerchange"));
  assert.equal(await taken, true);
  assert.deepEqual(posted, ["activate", "activate"]);
  assert.equal(reload.mock.callCount(), 1);
});

test("another model may stand in for the default, and for no other", async () => {
  const asked = [];
  const models = {
    load: async (names) => asked.push(names),
    live: async ({ model }) => { asked.push(model); return {}; },
  };
  for (const name of ["base", "compact", ""]) {
    await new BrowserAnswerer(async () => models, () => name).ask("open");
  }
  assert.deepEqual(asked, [["base"], "", ["compact"], "compact", ["base"], ""]);
});

test("arrows go round the tabs", () => {
  assert.deepEqual([0, 1, 2].map((index) => indexFor("ArrowRight", index, 3)), [1, 2, 0]);
  assert.deepEqual([0, 1, 2].map((index) => indexFor("ArrowLeft", index, 3)), [2, 0, 1]);
  assert.deepEqual([indexFor("Home", 2, 3), indexFor("End", 0, 3)], [0, 2]);
  assert.equal(indexFor("ArrowRight", 0, 3, true), 2);
  assert.equal(indexFor("a", 1, 3), undefined);
});
