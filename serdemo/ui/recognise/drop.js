/* The drop zone: files are sent one by one. */
const input = element.querySelector("input");
const zone = element.querySelector(".sd-drop");
const told = element.querySelector(".sd-drop-told");
const most = Number(zone.dataset.most);
let busy = false;

const mostBytes = Number(zone.dataset.mostMb) * 1024 * 1024;
const send = async (chosen) => {
  if (busy || !chosen.length) return;
  busy = true;
  zone.classList.add("sd-busy");
  const files = [];
  const taken = chosen.slice(0, most);
  for (const [index, file] of taken.entries()) {
    if (file.size > mostBytes) {
      files.push({ name: file.name, too_large: true });
      continue;
    }
    told.textContent = `Sending ${index + 1} of ${taken.length}: ${file.name}`;
    files.push(await sent(file));
  }
  told.textContent = "";
  zone.classList.remove("sd-busy");
  busy = false;
  input.value = "";
  for (const file of chosen.slice(most)) files.push({ name: file.name });
  trigger("upload", { files });
};

input.addEventListener("change", () => send([...input.files]));
for (const kind of ["dragenter", "dragover"]) {
  zone.addEventListener(kind, (event) => {
    event.preventDefault();
    zone.classList.add("sd-over");
  });
}
for (const kind of ["dragleave", "drop"]) {
  zone.addEventListener(kind, () => zone.classList.remove("sd-over"));
}
zone.addEventListener("drop", (event) => {
  event.preventDefault();
  send([...event.dataTransfer.files]);
});
