/* HTML from template literals, which escape every value that is put into them. */
import { escapeHtml } from "./dom.js";
import { translateTree } from "./translate.js";

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

const isAlike = (node, fresh) => node.nodeType === fresh.nodeType && node.nodeName === fresh.nodeName;

const patchNode = (node, fresh) => {
  if (!isAlike(node, fresh)) return node.replaceWith(fresh);
  if (node.nodeType !== Node.ELEMENT_NODE) {
    if (node.data !== fresh.data) node.data = fresh.data;
    return;
  }
  for (const { name } of [...node.attributes]) {
    if (!fresh.hasAttribute(name)) node.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (node.getAttribute(name) !== value) node.setAttribute(name, value);
  }
  patchChildren(node, fresh);
};

const patchChildren = (element, fresh) => {
  const [old, wanted] = [[...element.childNodes], [...fresh.childNodes]];
  old.slice(wanted.length).forEach((node) => node.remove());
  wanted.forEach((node, i) => (i < old.length ? patchNode(old[i], node) : element.append(node)));
};

/* Makes the content of an element that of a template. Parts that are alike stay, with the focus, and are
   changed where they differ: so screen readers announce what is new. */
export const patch = (element, content) => {
  const template = document.createElement("template");
  template.innerHTML = content;
  translateTree(template.content); // what stays is compared as it is shown
  patchChildren(element, template.content);
};
