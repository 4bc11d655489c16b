/* Keeps the page's files in the browser: once loaded it opens and answers without a network.

   build.py writes before this what it is of: POLICY, the page's content security policy; FILES, the SHA-256
   of every file by its path; and FIRST, the paths of those that are fetched at once; the others are kept
   when they are first asked for. A changed file changes this script, and so the browser finds the new version; what
   stayed the same is not fetched again. */
const CACHE = `serdemo ${registration.scope}`;
/* Without a server that sends these, they give the page its threads, from the second load on. The policy
   reaches the workers so. */
const HEADERS = {
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "cross-origin",
  "Content-Security-Policy": POLICY,
};

/* The path of an address below this folder, "index.html" for the folder itself; undefined elsewhere. */
const pathOf = (address) => {
  const { origin, pathname } = new URL(address);
  const scope = new URL(registration.scope);
  if (origin !== scope.origin || !pathname.startsWith(scope.pathname)) return undefined;
  return decodeURI(pathname.slice(scope.pathname.length)) || "index.html";
};

/* A file's place in the cache; of another version it is another. */
const keyOf = (path) => new URL(`${path}?${FILES[path]}`, registration.scope).href;

const withHeaders = (body, { status, headers }, more = {}) => {
  const type = headers.get("Content-Type");
  return new Response(body, { status, headers: { ...HEADERS, ...more, ...(type && { "Content-Type": type }) } });
};

/* Puts a response into the cache, if it is the file that this version is of. */
const store = async (path, response) => {
  const content = await response.arrayBuffer();
  const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  const isUnpacked = path.endsWith(".gz") && response.headers.has("Content-Encoding"); // as some servers do
  if (!isUnpacked && btoa(String.fromCharCode(...sum)) !== FILES[path]) throw new Error(`${path} is of another version.`);
  const cache = await caches.open(CACHE);
  await cache.put(keyOf(path), withHeaders(content, response, { "Content-Length": content.byteLength }));
};

const fetchFirst = async () => {
  const cache = await caches.open(CACHE);
  for (const path of FIRST) {
    if (await cache.match(keyOf(path))) continue;
    await store(path, await fetch(path, { cache: "no-cache" }));
  }
};

const dropOldVersions = async () => {
  const cache = await caches.open(CACHE);
  const current = new Set(Object.keys(FILES).map(keyOf));
  for (const { url } of await cache.keys()) if (!current.has(url)) await cache.delete(url);
};

const answer = async (path, event) => {
  const cached = Object.hasOwn(FILES, path) && await (await caches.open(CACHE)).match(keyOf(path));
  if (cached) return cached;
  const response = await fetch(event.request);
  if (response.status !== 200) return response;
  if (Object.hasOwn(FILES, path)) event.waitUntil(store(path, response.clone()).catch(() => {}));
  return withHeaders(response.body, response);
};

addEventListener("install", (event) => event.waitUntil(fetchFirst()));
addEventListener("activate", (event) => event.waitUntil(dropOldVersions().then(() => clients.claim())));
addEventListener("message", ({ data }) => data === "activate" && skipWaiting());
addEventListener("fetch", (event) => {
  const path = pathOf(event.request.url);
  if (path === undefined || event.request.method !== "GET" || event.request.headers.has("Range")) return;
  event.respondWith(answer(path, event));
});
