/* The page without a server: the tabs of gradio's page, answered by a worker in this browser. */
import { BrowserModels } from "../browser/remote.js";
import { mount as mountExplore } from "../explore/explore.js";
import { mount as mountLive } from "../live/live.js";
import { mount as mountShell } from "../shell/page.js";
import { keepFiles, takeOver } from "./offline.js";
import { Tabs } from "./tabs.js";

const byId = (id) => document.getElementById(id);
const settings = JSON.parse(byId("sd-settings").textContent);
const [exampleUrl] = Object.values(settings.examples);

/* The model that answers from the next answer on; the footer describes it. */
const chosenModel = () => byId("sd-model").value;
const showModel = () => { byId("sd-foot").innerHTML = settings.footers[chosenModel()]; };

const open = async () => {
  if (await takeOver()) return;
  const models = new BrowserModels({ manifest: settings.browser });
  mountShell();
  byId("sd-model").addEventListener("change", showModel);
  showModel(); // a browser may remember the choice
  const mounts = {
    recognise: () => {},
    live: (element) => mountLive({ ...settings, element, server: null, getModels: async () => models, chosenModel }),
    explore: (element) => mountExplore({ ...settings, element, models, exampleUrl }),
  };
  new Tabs(document.querySelector("[role=tablist]"), (key) => {
    mounts[key]?.(byId(key));
    delete mounts[key];
  });
  if (await keepFiles()) byId("sd-offline").textContent = "It works without a network from now on.";
};

open();
