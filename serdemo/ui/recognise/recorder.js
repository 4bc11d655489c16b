/* A small recorder whose take stays in this page. */
import { clock, partFinder, put } from "../shell/js/dom.js";
import { html } from "../shell/js/html.js";
import { BrowserMicrophone, refusal } from "../shell/js/microphone.js";
import { MIN_DB, concat, drawLevel, levelDb, wav } from "../shell/js/sound.js";

const MAX_S = 600; // a recording that is forgotten ends then
const HINT = "Press Record, say a sentence or two, then press Stop.";

const RECORDER = html`<section class="sd-recorder" aria-label="Or speak into the microphone">
<p class="sd-recorder-title">Or speak into the microphone</p>
<p class="sd-recorder-note" role="status" data-part="note">${HINT}</p>
<div class="sd-meter" role="meter" aria-label="Input level" aria-valuemin="-60" aria-valuemax="0" aria-valuenow="-60" data-part="meter"><span></span></div>
<p class="sd-recorder-buttons"><button type="button" class="sd-button sd-recorder-button" data-part="button">Record</button>
<span class="sd-time" data-part="time"></span></p></section>`;

/* Puts a recorder into an element; `onTake(file)` gets each take, a WAV file. Returns a function that ends a
   take, if there is one. */
export const mountRecorder = (element, onTake) => {
  element.innerHTML = RECORDER;
  const part = partFinder(element);
  let take = null; // { microphone, blocks, seconds } while one is made

  const show = (state, note = "") => {
    element.firstElementChild.dataset.state = state;
    put(part("button"), { idle: "Record", starting: "Cancel", recording: "Stop" }[state]);
    put(part("note"), note);
    if (state !== "recording") put(part("time"), "");
    drawLevel(part("meter"), MIN_DB);
  };

  const end = async (note = HINT) => {
    const { microphone, blocks } = take;
    take = null;
    show("idle", note);
    await microphone.close();
    if (!blocks.length) return;
    const sound = wav(concat(blocks), microphone.rate);
    onTake(new File([sound], "Your recording", { type: sound.type }));
  };

  const onBlock = (own, block) => {
    own.blocks.push(block);
    if (take !== own) return; // the last block comes while it is closed
    own.seconds += block.length / own.microphone.rate;
    put(part("time"), clock(own.seconds));
    drawLevel(part("meter"), levelDb(block));
    if (own.seconds >= MAX_S) end();
  };

  const start = async () => {
    const own = { blocks: [], seconds: 0 };
    own.microphone = new BrowserMicrophone(
      (block) => onBlock(own, block), (trouble) => take === own && end(trouble));
    take = own;
    show("starting");
    try {
      await own.microphone.open("", false);
    } catch (error) {
      if (take === own) end(refusal(error));
      return;
    }
    if (take !== own) return;
    own.microphone.start();
    show("recording", "Recording");
  };

  part("button").addEventListener("click", () => (take ? end() : start()));
  return () => take && end();
};
