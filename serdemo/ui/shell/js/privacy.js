/* What is stored of the visitor: signs of life as long as the page is open, and the buttons Keep and Forget. */
import { partFinder, put } from "./dom.js";
import { caller } from "./rpc.js";

const SIGN_MS = 60_000; // a browser lets a hidden page do no more
const FIRST_MS = 2_000; // until the page knows its session
const OWN = "serdemo-"; // how the keys of all tabs begin
const MESSAGE = `${OWN}forgotten`; // for the page that is loaded after
const CONFIRM = "Delete all that this page has of you, on the server and in this browser?";
const CONFIRM_LOCAL = "Delete what this page and this browser have of your voice?";
const TIMEOUT_MS = 20_000;

const storages = () => ["localStorage", "sessionStorage"].flatMap((name) => {
  try {
    return [window[name]];
  } catch {
    return []; // forbidden
  }
});

/* Forgets all in this browser, and has the page that is loaded next say `message`. */
const clear = (message) => {
  for (const storage of storages()) {
    for (const key of Object.keys(storage)) if (key.startsWith(OWN)) storage.removeItem(key);
  }
  storages()[1]?.setItem(MESSAGE, message);
};

/* The paths of what this page has uploaded; most are deleted by now. */
const noteUploads = () => {
  const paths = [];
  const fetch = window.fetch.bind(window);
  window.fetch = async (...request) => {
    const response = await fetch(...request);
    if (response.ok && /\/upload(\?|$)/.test(response.url)) {
      paths.push(...await response.clone().json().catch(() => []));
    }
    return response;
  };
  return paths;
};

export const mount = ({ element, server }) => {
  const part = partFinder(element);
  const ask = caller(server.privacy, TIMEOUT_MS);
  const uploads = noteUploads();
  let isLocal = false;

  const say = (message) => {
    put(part("message"), message);
    part("message").focus();
  };

  const showRetention = (until) => {
    const day = { weekday: "long", hour: "2-digit", minute: "2-digit" };
    put(part("keep"), until ? `Kept until ${new Date(1000 * until).toLocaleString([], day)}` : "Keep for a day");
  };

  const here = async () => {
    const { local, retained, refused } = await ask("here");
    if (refused) return;
    isLocal = local;
    part("stored").hidden = part("keep").hidden = local;
    part("stored-locally").hidden = !local;
    showRetention(retained);
  };

  const keep = async () => {
    const { retained, refused } = await ask("keep");
    if (refused) return say(refused);
    showRetention(retained);
    say("All that you have here is kept till then. Forget me deletes it before.");
  };

  const forget = async () => {
    if (!confirm(isLocal ? CONFIRM_LOCAL : CONFIRM)) return;
    const { message, refused } = await ask("forget", { uploads });
    if (refused) return say(refused);
    addEventListener("pagehide", () => clear(message)); // after the tabs, which may save something then
    location.reload();
  };

  element.addEventListener("click", ({ target }) => {
    const act = target.closest("[data-act]")?.dataset.act;
    if (act) ({ keep, forget })[act]();
  });
  const message = storages()[1]?.getItem(MESSAGE);
  if (message) {
    storages()[1].removeItem(MESSAGE);
    say(message);
  }
  setTimeout(here, FIRST_MS);
  setInterval(here, SIGN_MS);
};
