/* Helpers for all tabs: finding and filling elements, and numbers as the page writes them. */
import { fixed } from "../../browser/rounding.js";
import { translate } from "./translate.js";

/* A function that finds an element inside `element` by its data-part. */
export const partFinder = (element) => (name) => element.querySelector(`[data-part="${name}"]`);

/* Sets the text of a node, and leaves an equal text alone: screen readers repeat what is set. */
export const put = (node, text) => {
  const shown = translate(text);
  if (node.textContent !== shown) node.textContent = shown;
};

/* The same of an attribute. */
export const putAttribute = (node, name, text) => {
  const shown = translate(text);
  if (node.getAttribute(name) !== shown) node.setAttribute(name, shown);
};

export const escapeHtml = (text) =>
  String(text).replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);

/* Replaces the content of a list. The focus returns to the item with the same data-`key`. */
export const replaceKeepingFocus = (list, key, html) => {
  const focused = list.contains(document.activeElement)
    ? document.activeElement.dataset[key] : undefined;
  list.innerHTML = html;
  if (focused !== undefined) list.querySelector(`[data-${key}="${focused}"]`)?.focus({ preventScroll: true });
};

export const count = (number) => number.toLocaleString("en");
export const percent = (share) => `${fixed(100 * share)}%`;
export const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

/* Seconds as m:ss.s, from an hour on as h:mm:ss.s. */
export const clock = (seconds) => {
  const tenths = Math.floor(10 * seconds + 1e-6);
  const whole = String(Math.floor(tenths / 10) % 60).padStart(2, "0");
  const minutes = Math.floor(tenths / 600);
  const hours = minutes >= 60 ? `${Math.floor(minutes / 60)}:` : "";
  const shown = hours ? String(minutes % 60).padStart(2, "0") : minutes;
  return `${hours}${shown}:${whole}.${tenths % 10}`;
};

export const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/* Fetches a file from `url` under the name `name`. */
export const download = (url, name) => {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
};

const REVOKE_MS = 60_000; // a browser may ask first where to save

/* Saves a blob as a file of the name `name`. */
export const saveBlob = (blob, name) => {
  const url = URL.createObjectURL(blob);
  download(url, name);
  setTimeout(() => URL.revokeObjectURL(url), REVOKE_MS);
};

/* Calls `onFiles(files)` for what is dropped on `zone`, which is marked while something is over it. */
export const acceptDrops = (zone, onFiles) => {
  for (const kind of ["dragenter", "dragover"]) {
    zone.addEventListener(kind, (event) => {
      event.preventDefault();
      zone.classList.add("sd-over");
    });
  }
  for (const kind of ["dragleave", "drop"]) {
    zone.addEventListener(kind, () => zone.classList.remove("sd-over"));
  }
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    onFiles([...event.dataTransfer.files]);
  });
};
