/* The page without a server: the tabs of gradio's page, answered by a worker in this browser. */
import { BrowserModels } from "../browser/remote.js";
import { mount as mountExplore } from "../explore/explore.js";
import { mount as mountLive } from "../live/live.js";
import { mountRecognise } from "../recognise/in_browser/page.js";
import { mount as mountPicker } from "../shell/js/language_picker.js";
import { mount as mountTranslation } from "../shell/js/translate.js";
import { mount as mountShell } from "../shell/page.js";
import { keepFiles, takeOver } from "./offline.js";
import { Tabs } from "./tabs.js";

const byId = (id) => document.getElementById(id);
const settings = JSON.parse(byId("sd-settings").textContent);
const [exampleUrl] = Object.values(settings.examples);

/* The model that answers from the next answer on; the footer describes it. */
const chosenModel = () => byId("sd-model").value;
const showModel = () => { byId("sd-foot").innerHTML = settings.footers[chosenModel()]; };

/* Functions that fill the tabs; each resolves once what the tab answers with is loaded. */
const mountsFor = (models) => ({
  recognise: () => mountRecognise({
    drop: byId("recognise-drop"),
    recorder: byId("recognise-recorder"),
    examples: byId("recognise-examples"),
    result: byId("recognise-result"),
    models,
    modelName: chosenModel,
    addresses: settings.examples,
  }),
  live: (element) => {
    mountLive({ ...settings, element, server: null, getModels: async () => models, chosenModel });
    return models.load([chosenModel()]); // while the visitor looks round
  },
  explore: (element) => mountExplore({ ...settings, element, models, exampleUrl }),
});

const open = async () => {
  if (await takeOver()) return;
  mountShell();
  mountPicker({ element: document.querySelector(".sd-header") });
  byId("sd-model").addEventListener("change", showModel);
  showModel(); // a browser may remember the choice
  const mounts = mountsFor(new BrowserModels({ manifest: settings.browser }));
  const mounted = [];
  new Tabs(document.querySelector("[role=tablist]"), (key) => {
    mounted.push(mounts[key]?.(byId(key)));
    delete mounts[key];
  });
  await Promise.allSettled(mounted); // the first answer comes before what is kept for later
  if (await keepFiles()) byId("sd-offline").textContent = "It works without a network from now on.";
};

mountTranslation();
open();
