/* The page without a server: the tabs of gradio's page, answered by a worker in this browser. */
import { BrowserModels } from "../browser/remote.js";
import { mount as mountExplore } from "../explore/explore.js";
import { mount as mountLive } from "../live/live.js";
import { mount as mountShell } from "../shell/page.js";
import { keepFiles, takeOver } from "./offline.js";
import { Tabs } from "./tabs.js";

const byId = (id) => document.getElementById(id);
const settings = JSON.parse(byId("sd-settings").textContent);

/* The model that answers: the footer describes it, and the tabs ask for it from their next answer on. */
const mountModelChoice = (models) => {
  byId("sd-model").addEventListener("change", ({ target }) => {
    byId("sd-foot").innerHTML = settings.footers[target.value];
    models.choose(target.value);
  });
};

const open = async () => {
  if (await takeOver()) return;
  const models = new BrowserModels(settings.browser);
  mountShell();
  mountModelChoice(models);
  const mounts = {
    recognise: () => {},
    live: (element) => mountLive({ element, server: { live: (request) => models.live(request) }, ...settings }),
    explore: (element) => mountExplore({
      element, server: { explore: (request) => models.explore(request) }, ...settings,
    }),
  };
  new Tabs(document.querySelector("[role=tablist]"), (key) => {
    mounts[key]?.(byId(key));
    delete mounts[key];
  });
  if (await keepFiles()) byId("sd-offline").textContent = "It works without a network from now on.";
};

open();
