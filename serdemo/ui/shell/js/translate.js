/* The page in the visitor's language: whatever appears in it is translated before it is drawn, by the table of
   ui/languages. Scripts and templates write English; what is marked translate="no" stays as it is. */
import { Phrases } from "./phrases.js";

const ATTRIBUTES = ["aria-label", "title", "placeholder", "alt", "aria-description", "aria-valuetext", "label"];
/* What is in English in every language; the options are those of the command line. */
const SKIPPED = '[translate="no"], script, style, pre, code, textarea, #finetune-options';
/* Texts of the style sheets, by the variables that hold them. */
const IN_STYLES = { "--sd-record-hint": "Press Record, say a sentence or two, then press Stop." };

let phrases = null; // English, or the table is not here yet

/* A text of the page in the visitor's language. */
export const translate = (text) => (phrases ? phrases.translate(String(text)) : String(text));

const translateAttribute = (element, name) => {
  const text = element.getAttribute(name);
  const shown = text && phrases.translate(text);
  if (shown !== text) element.setAttribute(name, shown);
};

/* Translates a node and all within it. */
export const translateTree = (node) => {
  if (!phrases) return;
  if (node.nodeType === Node.TEXT_NODE) {
    const shown = phrases.translate(node.data);
    if (shown !== node.data) node.data = shown;
    return;
  }
  if (node.nodeType === Node.ELEMENT_NODE) {
    if (node.matches(SKIPPED)) return;
    for (const name of ATTRIBUTES) if (node.hasAttribute(name)) translateAttribute(node, name);
  }
  for (const child of node.childNodes) translateTree(child);
};

const isSkipped = (node) => (node.nodeType === Node.ELEMENT_NODE ? node : node.parentElement)?.closest(SKIPPED);

const onChange = (records) => {
  for (const { type, target, attributeName, addedNodes } of records) {
    if (isSkipped(target)) continue;
    if (type === "attributes") translateAttribute(target, attributeName);
    else if (type === "characterData") translateTree(target);
    else for (const node of addedNodes) translateTree(node);
  }
};

const begin = (table, language) => {
  phrases = new Phrases(table, language);
  const root = document.documentElement;
  for (const [name, text] of Object.entries(IN_STYLES)) {
    root.style.setProperty(name, JSON.stringify(phrases.translate(text)));
  }
  const confirm = window.confirm.bind(window);
  window.confirm = (question) => confirm(translate(question));
  translateTree(root);
  // Before the next frame is drawn.
  new MutationObserver(onChange).observe(root, {
    childList: true, subtree: true, characterData: true, attributes: true, attributeFilter: ATTRIBUTES,
  });
};

/* Fetches the table of the language that first.js has chosen. Resolves once the page is in it; without the table
   it stays English. */
export const mount = async () => {
  const [language] = document.documentElement.lang.split("-");
  if (language === "en") return;
  try {
    const response = await fetch(new URL(`../../languages/${language}.json`, import.meta.url));
    begin(await response.json(), language);
  } catch (error) {
    console.error(error);
    document.documentElement.lang = "en";
    document.documentElement.dir = "ltr";
  }
};
