/* The models that answer in this browser on gradio's page: one worker for all tabs, made by the first of them
   that needs it. Import this when it is switched on, and not before. */
import { fetchBytes } from "./fetching.js";
import { BrowserModels } from "./remote.js";

// Beside the scripts' folder, whatever path the page is below; see browser/files.py.
const MANIFEST = new URL("../../../serdemo-models/manifest.json", import.meta.url);

let made = null;

const make = async () => {
  const manifest = JSON.parse(new TextDecoder().decode(await fetchBytes(MANIFEST)));
  return new BrowserModels({ manifest });
};

/* Resolves to the page's BrowserModels; a failure, a SerdemoError, is forgotten, and the next call tries again. */
export const pageModels = () => {
  made ||= make().catch((error) => {
    made = null;
    throw error;
  });
  return made;
};
