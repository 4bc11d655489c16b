/* The switch "Answer in this browser" of gradio's page. While it is on, takes and examples go to result.js
   as files, as those of the drop zone do, and gradio's recorder, which sends by itself, is hidden. They go
   there too where the server is full. */
import { partFinder } from "../shell/js/dom.js";
import { bindSwitch, inBrowser } from "../shell/js/in_browser.js";
import { apiUrl } from "../shell/js/rpc.js";
import { mountRecorder } from "./recorder.js";
import { EXAMPLE_ORIGIN, exampleOf } from "./result.js";

const TAKE = "Your recording";
const RECORDER = "recognise-recorder";

const answerHere = (file, request) =>
  dispatchEvent(new CustomEvent("sd-answer-here", { detail: { files: [file], ...request } }));

/* `examples` are the addresses of the example recordings by their labels. */
export const mount = ({ element, examples }) => {
  const part = partFinder(element);
  bindSwitch(part("switch"));
  const endTake = mountRecorder(part("recorder"), answerHere);
  const update = (on) => {
    document.body.classList.toggle("sd-in-browser", on);
    part("recorder").hidden = !on;
    if (!on) endTake(); // no microphone stays open out of sight
  };
  inBrowser.onChange(update);
  update(inBrowser.on);

  const answerExample = (label, request) => {
    const url = new URL(`../${examples[label]}`, import.meta.url);
    answerHere({ name: label, url }, { origin: EXAMPLE_ORIGIN, ...request });
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.(".sd-examples button");
    if (!inBrowser.on || !button) return;
    event.stopImmediatePropagation(); // the server does not answer it too
    answerExample(exampleOf(button, examples));
  }, true);
  addEventListener("sd-server-full", ({ detail: { props, data } }) => {
    if (props.elem_id === RECORDER) {
      answerHere({ name: TAKE, url: new URL(apiUrl(`file=${data[0].path}`), document.baseURI) }, { isFull: true });
    }
    if (Object.hasOwn(examples, props.value)) answerExample(props.value, { isFull: true });
  });
};
