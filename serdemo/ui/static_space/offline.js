/* The service worker, which lets the page open and answer without a network. */
const ADDRESS = new URL("../../service_worker.js", import.meta.url);

const changeOf = (target, kind) => new Promise((resolve) => {
  target.addEventListener(kind, resolve, { once: true });
});

const MAX_WAIT_MS = 3000; // for a newer version, which an even newer one may have replaced

/* Whether a newer version of the page lies ready: then it takes over, and the page is loaded again. */
export const takeOver = async () => {
  const registration = await navigator.serviceWorker?.getRegistration(ADDRESS).catch(() => undefined);
  if (!registration?.waiting) return false;
  const changed = changeOf(navigator.serviceWorker, "controllerchange");
  registration.waiting.postMessage("activate");
  const isActive = await Promise.race([
    changed.then(() => true),
    new Promise((resolve) => { setTimeout(() => resolve(false), MAX_WAIT_MS); }),
  ]);
  if (isActive) location.reload();
  return isActive;
};

/* Has the page's files kept; resolves to whether it now works without a network. Browsers allow that on
   https and on localhost, a private window may refuse it, and a visitor who saves data is left alone. */
export const keepFiles = async () => {
  if (!navigator.serviceWorker || navigator.connection?.saveData) return false;
  try {
    await navigator.serviceWorker.register(ADDRESS);
    await navigator.serviceWorker.ready;
    return true;
  } catch {
    return false;
  }
};
