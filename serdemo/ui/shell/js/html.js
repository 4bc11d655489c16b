/* HTML from template literals, which escape every value that is put into them. */
import { escapeHtml } from "./dom.js";

class Html {
  constructor(text) {
    this.text = text;
  }

  toString() {
    return this.text;
  }
}

const escaped = (value) => {
  if (value === undefined || value === null || value === false) return "";
  if (Array.isArray(value)) return value.map(escaped).join("");
  return value instanceof Html ? value.text : escapeHtml(value);
};

/* The tag of such a template. A value may be text, another template, or a list of them; nothing is
   written for undefined, null and false. */
export const html = (strings, ...values) =>
  new Html(strings.reduce((text, string, i) => text + escaped(values[i - 1]) + string));
