/* The choice of microphones: those of the browser, and of the machine that serves the page when the
   visitor sits at it. */
const DESK = "desk:"; // begins the choices that are the machine's own

// Names of the browser's devices are known only once one was allowed.
const listDevices = async () => {
  const inputs = (await navigator.mediaDevices.enumerateDevices()).filter(
    ({ kind, deviceId }) => kind === "audioinput" && deviceId && deviceId !== "default"
  );
  const select = part("device");
  const chosen = select.value;
  const group = select.querySelector("optgroup");
  const own = [["", "The browser's own choice"], ...inputs.map((d) => [d.deviceId, d.label])];
  select.replaceChildren(...own.map(([value, name]) => new Option(name, value)));
  if (group) select.append(group);
  select.value = chosen;
  if (select.selectedIndex < 0) select.value = "";
};

const listDesk = async () => {
  const told = await ask("list_desk", {});
  if (!told || !told.microphones.length) return;
  const group = document.createElement("optgroup");
  group.label = "On this computer, without the browser";
  group.append(...told.microphones.map(({ device, name }) => new Option(name, DESK + device)));
  part("device").append(group);
};
