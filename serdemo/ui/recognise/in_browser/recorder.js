/* A small recorder whose take stays in this page. */
import { clock, partFinder, put } from "../../shell/js/dom.js";
import { html } from "../../shell/js/html.js";
import { BrowserMicrophone, refusal } from "../../shell/js/microphone.js";
import { MIN_DB, concat, drawLevel, levelDb, wav } from "../../shell/js/sound.js";

const MAX_S = 600; // a recording that is forgotten ends then
const HINT = "Press Record, say a sentence or two, then press Stop.";

const RECORDER = html`<section class="sd-recorder" aria-label="Or speak into the microphone">
<p class="sd-recorder-title">Or speak into the microphone</p>
<p class="sd-recorder-note" role="status" data-part="note">${HINT}</p>
<div class="sd-meter" role="meter" aria-label="Input level" aria-valuemin="-60" aria-valuemax="0" aria-valuenow="-60" data-part="meter"><span></span></div>
<p class="sd-recorder-buttons"><button type="button" class="sd-button sd-recorder-button" data-part="button">Record</button>
<span class="sd-time" data-part="time"></span></p></section>`;

/* Puts a recorder into an element; `onTake(file)` gets each take, a WAV file. */
export const mountRecorder = (element, onTake) => {
  element.innerHTML = RECORDER;
  const part = partFinder(element);
  let microphone = null;
  let blocks = [];
  let seconds = 0;

  const show = (state, note = "") => {
    element.firstElementChild.dataset.state = state;
    put(part("button"), { idle: "Record", starting: "Cancel", recording: "Stop" }[state]);
    put(part("note"), note);
    if (state !== "recording") put(part("time"), "");
    drawLevel(part("meter"), MIN_DB);
  };

  const end = async (note = HINT) => {
    const ended = microphone;
    microphone = null;
    show("idle", note);
    await ended?.close();
    if (!blocks.length) return;
    const take = wav(concat(blocks), ended.rate);
    blocks = [];
    onTake(new File([take], "Your recording", { type: take.type }));
  };

  const onBlock = (block) => {
    blocks.push(block);
    if (!microphone) return; // the last block comes while it is closed
    seconds += block.length / microphone.rate;
    put(part("time"), clock(seconds));
    drawLevel(part("meter"), levelDb(block));
    if (seconds >= MAX_S) end();
  };

  const start = async () => {
    blocks = [];
    seconds = 0;
    const opened = new BrowserMicrophone(onBlock, (trouble) => microphone === opened && end(trouble));
    microphone = opened;
    show("starting");
    try {
      await opened.open("", false);
    } catch (error) {
      if (microphone === opened) end(refusal(error));
      return;
    }
    if (microphone !== opened) return;
    opened.start();
    show("recording", "Recording");
  };

  part("button").addEventListener("click", () => (microphone ? end() : start()));
};
