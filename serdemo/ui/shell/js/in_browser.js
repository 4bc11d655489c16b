/* Whether Recognise and Live answer in this browser, with nothing sent to a server: one choice for all
   tabs, remembered in this browser. In these two it does not hold for a model that browsers lack. */
import { footerData } from "./rpc.js";

const KEY = "serdemo-in-browser";
const LACKING = "The model that answers is on the server alone, which gets the sound: choose one that comes with "
  + "serdemo to have this browser answer.";
const changes = new EventTarget();

const stored = () => {
  try {
    return localStorage.getItem(KEY) === "true";
  } catch {
    return false; // a browser may keep nothing
  }
};

let wanted = stored();

/* Whether the model that answers is on the server alone. */
const isLacking = () => {
  const { model, inBrowser: name } = footerData();
  return Boolean(model && !name);
};

const announce = () => changes.dispatchEvent(new Event("change"));

export const inBrowser = {
  get on() {
    return wanted && !isLacking();
  },

  /* The same where the visitor's model does not matter. */
  get wanted() {
    return wanted;
  },

  set(value) {
    if (wanted === value) return;
    wanted = value;
    try {
      localStorage.setItem(KEY, String(value));
    } catch {} // then it holds until the page is closed
    announce();
  },

  /* Calls `callback(on)` when it may have changed, by whichever tab or model. */
  onChange(callback) {
    changes.addEventListener("change", () => callback(inBrowser.on));
  },
};

/* Resolves to what answers in this browser on gradio's page, see browser/page_models.js, which is loaded now. */
export const pageModels = async () => (await import("../../browser/page_models.js")).pageModels();

/* Keeps a switch, a checkbox, and the choice the same; what describes it says why it cannot be made. */
export const bindSwitch = (input) => {
  const description = document.getElementById(input.getAttribute("aria-describedby"));
  const usual = [...description.childNodes];
  const show = () => {
    input.checked = inBrowser.on;
    input.disabled = isLacking();
    description.replaceChildren(...(input.disabled ? [LACKING] : usual));
  };
  show();
  input.addEventListener("change", () => inBrowser.set(input.checked));
  inBrowser.onChange(show);
};

/* Watches the footer, which names the model. */
export const mount = ({ element }) =>
  new MutationObserver(announce).observe(element, { attributes: true, childList: true, subtree: true });
