/* Whether Recognise and Live answer in this browser, with nothing sent to a server: one choice for all
   tabs, remembered in this browser. */
const KEY = "serdemo-in-browser";
const changes = new EventTarget();

const stored = () => {
  try {
    return localStorage.getItem(KEY) === "true";
  } catch {
    return false; // a browser may keep nothing
  }
};

let on = stored();

export const inBrowser = {
  get on() {
    return on;
  },

  set(value) {
    if (on === value) return;
    on = value;
    try {
      localStorage.setItem(KEY, String(value));
    } catch {} // then it holds until the page is closed
    changes.dispatchEvent(new Event("change"));
  },

  /* Calls `callback(on)` at each change, whichever tab made it. */
  onChange(callback) {
    changes.addEventListener("change", () => callback(on));
  },
};

/* Keeps a switch, a checkbox, and the choice the same. */
export const bindSwitch = (input) => {
  input.checked = inBrowser.on;
  input.addEventListener("change", () => inBrowser.set(input.checked));
  inBrowser.onChange((value) => { input.checked = value; });
};
