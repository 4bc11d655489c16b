/* The choice of microphones: those of the browser, and those of the machine that serves the page when
   the visitor sits at it. */
export const LOCAL = "local:"; // begins the values of the machine's own

/* Lists the browser's devices; their names are known only once one was allowed. */
export const listDevices = async (select) => {
  const devices = await navigator.mediaDevices.enumerateDevices();
  const inputs = devices.filter(
    ({ kind, deviceId }) => kind === "audioinput" && deviceId && deviceId !== "default"
  );
  const chosen = select.value;
  const group = select.querySelector("optgroup");
  select.replaceChildren(
    new Option("The browser's own choice", ""),
    ...inputs.map(({ deviceId, label }) => new Option(label, deviceId)),
    ...(group ? [group] : []),
  );
  select.value = chosen;
  if (select.selectedIndex < 0) select.value = "";
};

/* Adds the machine's own microphones, if the server offers any. */
export const listLocalDevices = async (select, ask) => {
  const { microphones = [] } = await ask("list_local");
  if (!microphones.length) return;
  const group = document.createElement("optgroup");
  group.label = "On this computer, without the browser";
  group.append(...microphones.map(({ device, name }) => new Option(name, LOCAL + device)));
  select.append(group);
};
