/* The answers as they come: the Stop button, the box "All of one person", and on a narrow page scrolling
   to an answer that was asked for. */
import { inBrowser, pageModels } from "../shell/js/in_browser.js";
import { UNREACHED, footerData } from "../shell/js/rpc.js";
import { pageOf, refused, renderPage } from "./answers.js";

export const EXAMPLE_ORIGIN = "synthetic example voice";
const DEFAULT_MODEL = "base";

/* The label of the example that a button stands for, by its place among them: its text is in any language. */
export const exampleOf = (button, examples) =>
  Object.keys(examples)[[...button.closest(".sd-examples").querySelectorAll("button")].indexOf(button)];

/* The visitor's model where this browser has it. */
const modelName = () => footerData().inBrowser || DEFAULT_MODEL;
const fullNote = () => `The server is full: this browser answered instead, by ${modelName()}.`;

/* A function that shows pages of answers inside an element. `onStop` is called by the Stop button;
   whoever sends files listens for the window's event "sd-same-person". */
export const answersIn = (element, onStop) => {
  element.addEventListener("click", (event) => {
    if (event.target.closest("[data-act=stop]")) onStop();
  });
  let ticked = false; // the new answers are those of the box, which keeps the focus
  element.addEventListener("change", ({ target }) => {
    if (!target.matches("[data-same-person]")) return;
    target.disabled = ticked = true;
    dispatchEvent(new CustomEvent("sd-same-person", { detail: target.checked }));
  });
  return (page) => {
    renderPage(element, page);
    const box = ticked && element.querySelector("[data-same-person]");
    if (box) {
      ticked = false;
      box.focus({ preventScroll: true });
    }
    const used = navigator.userActivation && navigator.userActivation.hasBeenActive;
    const below = element.getBoundingClientRect().top > window.innerHeight * 0.6;
    if (!used || !below) return;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    element.scrollIntoView({ block: "start", behavior: still ? "auto" : "smooth" });
  };
};

/* The answers of this browser on gradio's page; their scripts are loaded now. */
const answersHere = async (show) => {
  const { BrowserAnswers } = await import("./in_browser/answering.js");
  return new BrowserAnswers({ models: pageModels, modelName, show });
};

export const mount = ({ element, trigger, watch, props }) => {
  let here = null; // answers in this browser, once there were any
  let isHere = false; // whether what is shown is one of them
  const show = answersIn(element, () => {
    if (isHere) here?.then((answers) => answers?.stop());
    else trigger("stop");
  });
  const update = () => {
    if (!props.value || (isHere && inBrowser.on)) return; // the server's answer to an earlier request
    if (isHere) here?.then((answers) => answers?.cancel());
    isHere = false;
    show(JSON.parse(props.value));
  };
  update(); // an answer may have come before this script
  watch("value", update);
  addEventListener("sd-answer-here", async ({ detail: { files, isFull, ...request } }) => {
    isHere = true;
    here ||= answersHere(show).catch(() => { here = null; }); // the next request tries again
    const answers = await here;
    if (answers) answers.answer(files, { ...request, note: isFull ? fullNote() : "" });
    else show(pageOf({ answers: [refused(files[0].name, UNREACHED)] }));
  });
};
