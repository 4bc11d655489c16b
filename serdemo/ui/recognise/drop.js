/* The drop zone: files are sent one by one. Those sent last stay at hand: when the result's box "All of
   one person" is ticked or unticked, they are sent again, since the server has deleted them. */
import { acceptDrops } from "../shell/js/dom.js";
import { sendFile } from "../shell/js/upload.js";

export const mount = ({ element, trigger, upload }) => {
  const input = element.querySelector("input");
  const zone = element.querySelector(".sd-drop");
  const progress = element.querySelector(".sd-drop-status");
  const maxFiles = Number(zone.dataset.maxFiles);
  // At the machine that serves the page no file is too large.
  const maxBytes = () => document.querySelector(".sd-is-local")
    ? Infinity : Number(zone.dataset.maxMb) * 1024 * 1024;
  let busy = false;
  let latest = [];

  const send = async (chosen, samePerson = false) => {
    if (busy || !chosen.length) return;
    busy = true;
    latest = chosen;
    zone.classList.add("sd-busy");
    const files = [];
    const accepted = chosen.slice(0, maxFiles);
    for (const [index, file] of accepted.entries()) {
      if (file.size > maxBytes()) {
        files.push({ name: file.name, too_large: true });
        continue;
      }
      progress.textContent = `Sending ${index + 1} of ${accepted.length}: ${file.name}`;
      files.push(await sendFile(upload, file));
    }
    progress.textContent = "";
    zone.classList.remove("sd-busy");
    busy = false;
    input.value = "";
    for (const file of chosen.slice(maxFiles)) files.push({ name: file.name });
    trigger("upload", { files, same_person: samePerson });
  };

  input.addEventListener("change", () => send([...input.files]));
  addEventListener("sd-same-person", ({ detail }) => send(latest, detail));
  acceptDrops(zone, send);
};
