/* Calls from the tabs' scripts to the server. */
import { wait } from "./dom.js";

export const UNREACHED = "The server cannot be reached: check the connection, then try again.";
const RETRY_MS = 1000;
const MAX_TRIES = 30; // about as long as a connection may be lost that comes back

/* What the footer says of the session: `visitor`, the session's hash, `model`, a digest of the one that
   answers, and `inBrowser`, its name in browsers, "" where they lack it. */
export const footerData = () => {
  const { visitor = "", model = "", inBrowser = "" } = document.querySelector(".sd-footer")?.dataset || {};
  return { visitor, model, inBrowser };
};

/* A function `ask(call, fields, timeoutMs)` that calls `remote`, a server function of a component.
   It resolves to the response; a failure is { refused: sentence }, with `unreached` where the server
   did not answer in time. */
export const caller = (remote, defaultTimeoutMs = Infinity) =>
  async (call, fields = {}, timeoutMs = defaultTimeoutMs) => {
    const request = { call, visitor: footerData().visitor, ...fields };
    const response = remote(request).catch(() => undefined);
    const answer = await (timeoutMs === Infinity ? response : Promise.race([response, wait(timeoutMs)]));
    return answer || { refused: UNREACHED, unreached: true };
  };

/* Calls again, for a while, as long as the server is not reached. */
export const persistent = (ask) => async (call, fields) => {
  for (let tries = 1; ; tries += 1) {
    const response = await ask(call, fields);
    if (!response.unreached || tries === MAX_TRIES) return response;
    await wait(RETRY_MS);
  }
};


/* The address of a path of gradio's API, such as "file=..." */
export const apiUrl = (path) => {
  const { root, api_prefix: prefix } = window.gradio_config;
  return `${root}${prefix || ""}/${path}`;
};

/* Sends a call although the page is being left, which cuts ordinary calls off. `tab` is the id of the
   component and the name of its server function. */
export const beacon = (tab, request) => {
  const component = window.gradio_config.components.find(({ props }) => props.elem_id === tab);
  const body = { data: request, component_id: component.id, fn_name: tab, session_hash: "" };
  const blob = new Blob([JSON.stringify(body)], { type: "application/json" });
  navigator.sendBeacon(apiUrl("component_server/"), blob);
};
