/* The drop zone. The files chosen last stay at hand: when the result's box "All of one person" is ticked
   or unticked, they are sent again, since whoever answered has deleted them. */
import { acceptDrops } from "../shell/js/dom.js";
import { inBrowser } from "../shell/js/in_browser.js";
import { sendFile } from "../shell/js/upload.js";

const MB = 1024 * 1024;

/* Makes a drop zone of what is inside of an element. `send(files, { samePerson, report })` passes files on;
   until it resolves no others are taken, and `report(text)` says meanwhile what it does. */
export const dropZone = (element, send) => {
  const input = element.querySelector("input");
  const zone = element.querySelector(".sd-drop");
  const status = element.querySelector(".sd-drop-status");
  const report = (text) => { status.textContent = text; };
  let busy = false;
  let latest = [];

  const pass = async (chosen, samePerson = false) => {
    if (busy || !chosen.length) return;
    busy = true;
    latest = chosen;
    zone.classList.add("sd-busy");
    try {
      await send(chosen, { samePerson, report });
    } finally {
      report("");
      zone.classList.remove("sd-busy");
      busy = false;
      input.value = "";
    }
  };

  input.addEventListener("change", () => pass([...input.files]));
  addEventListener("sd-same-person", ({ detail }) => pass(latest, detail));
  acceptDrops(zone, pass);
};

/* Has files answered in this browser: result.js does that for this event. */
const answerHere = (detail) => dispatchEvent(new CustomEvent("sd-answer-here", { detail }));

/* On gradio's page files are sent to the server one by one, or answered in this browser where that is
   switched on, or the server is full. */
export const mount = ({ element, trigger, upload }) => {
  const { maxFiles, maxMb } = element.querySelector(".sd-drop").dataset;
  // At the machine that serves the page no file is too large.
  const maxBytes = () => (document.querySelector(".sd-is-local") ? Infinity : maxMb * MB);
  let atServer = []; // the files that were sent last
  const answeredHere = new WeakSet(); // lists of files; none is sent later, as those of one person

  const send = async (chosen, { samePerson, report }) => {
    if (inBrowser.on || answeredHere.has(chosen)) {
      answeredHere.add(chosen);
      return answerHere({ files: chosen, samePerson });
    }
    const files = [];
    const accepted = chosen.slice(0, maxFiles);
    for (const [index, file] of accepted.entries()) {
      if (file.size > maxBytes()) {
        files.push({ name: file.name, too_large: true });
        continue;
      }
      report(`Sending ${index + 1} of ${accepted.length}: ${file.name}`);
      files.push(await sendFile(upload, file));
    }
    for (const file of chosen.slice(maxFiles)) files.push({ name: file.name });
    atServer = chosen;
    trigger("upload", { files, same_person: samePerson });
  };

  dropZone(element, send);
  addEventListener("sd-server-full", ({ detail: { event } }) => {
    if (event?.files) answerHere({ files: atServer, isFull: true });
  });
};
