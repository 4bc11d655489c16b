/* The switch "Answer in this browser" of gradio's page. While it is on, takes and examples go to result.js
   as files, as those of the drop zone do, and gradio's recorder, which sends by itself, is hidden. */
import { partFinder } from "../shell/js/dom.js";
import { bindSwitch, inBrowser } from "../shell/js/in_browser.js";

const ORIGIN = "synthetic example voice";

const answerHere = (file, origin) =>
  dispatchEvent(new CustomEvent("sd-answer-here", { detail: { files: [file], origin } }));

/* `examples` are the addresses of the example recordings by their labels. */
export const mount = ({ element, examples }) => {
  const part = partFinder(element);
  bindSwitch(part("switch"));

  let hasRecorder = false;
  const update = async (on) => {
    document.body.classList.toggle("sd-in-browser", on);
    part("recorder").hidden = !on;
    if (!on || hasRecorder) return;
    hasRecorder = true;
    const { mountRecorder } = await import("./in_browser/recorder.js");
    mountRecorder(part("recorder"), (take) => answerHere(take));
  };
  inBrowser.onChange(update);
  update(inBrowser.on);

  const answerExample = async (label) => {
    const sound = await fetch(new URL(`../${examples[label]}`, import.meta.url));
    answerHere(new File([await sound.blob()], label), ORIGIN);
  };
  document.addEventListener("click", (event) => {
    const label = event.target.closest?.(".sd-examples button")?.textContent.trim();
    if (!inBrowser.on || !Object.hasOwn(examples, label)) return;
    event.stopImmediatePropagation(); // the server does not answer it too
    answerExample(label);
  }, true);
};
