/* The switch "Answer in this browser" of gradio's page. While it is on, takes and examples go to result.js
   as files, as those of the drop zone do, and gradio's recorder, which sends by itself, is hidden. They go
   there too where the server is full. */
import { partFinder } from "../shell/js/dom.js";
import { bindSwitch, inBrowser } from "../shell/js/in_browser.js";
import { apiUrl } from "../shell/js/rpc.js";

const ORIGIN = "synthetic example voice";
const TAKE = "Your recording";
const RECORDER = "recognise-recorder";

/* Has the sound at an address answered in this browser. */
const answerHere = async (address, name, request) => {
  const sound = await fetch(address);
  const files = [new File([await sound.blob()], name)];
  dispatchEvent(new CustomEvent("sd-answer-here", { detail: { files, ...request } }));
};

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
    mountRecorder(part("recorder"), (take) =>
      dispatchEvent(new CustomEvent("sd-answer-here", { detail: { files: [take] } })));
  };
  inBrowser.onChange(update);
  update(inBrowser.on);

  const answerExample = (label, request) =>
    answerHere(new URL(`../${examples[label]}`, import.meta.url), label, { origin: ORIGIN, ...request });
  document.addEventListener("click", (event) => {
    const label = event.target.closest?.(".sd-examples button")?.textContent.trim();
    if (!inBrowser.on || !Object.hasOwn(examples, label)) return;
    event.stopImmediatePropagation(); // the server does not answer it too
    answerExample(label);
  }, true);
  addEventListener("sd-server-full", ({ detail: { props, data } }) => {
    if (props.elem_id === RECORDER) answerHere(apiUrl(`file=${data[0].path}`), TAKE, { isFull: true });
    if (Object.hasOwn(examples, props.value)) answerExample(props.value, { isFull: true });
  });
};
