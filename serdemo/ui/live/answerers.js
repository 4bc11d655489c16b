/* Who answers live sound: the server, or this browser where that is switched on, or the server is full. Both have
   `ask(call, fields, timeoutMs)`, which resolves to the response or to { refused: sentence }, and `leave(stream)`,
   which closes a stream for whose answer nobody waits. */
import { inBrowser } from "../shell/js/in_browser.js";
import { beacon, caller, footerData } from "../shell/js/rpc.js";

const DEFAULT_MODEL = "base";

/* The visitor's model on gradio's page. */
const modelOfPage = () => footerData().inBrowser;

const SOUND_ADDRESS = new URL("../../../serdemo-live/", import.meta.url); // of live/route.py

/* A piece of sound to the server, as it is; resolves to undefined where nothing answers. */
const sendSound = async ({ stream, samples, sequence, since }) => {
  const url = new URL(`${encodeURIComponent(stream)}?sequence=${sequence}&since=${since}`, SOUND_ADDRESS);
  const response = await fetch(url, { method: "POST", body: samples });
  return response.status < 500 ? response.json() : undefined;
};

export class ServerAnswerer {
  constructor(remote, timeoutMs, send = sendSound) {
    this.call = caller(remote, timeoutMs);
    this.send = caller(send, timeoutMs);
  }

  ask = (call, ...rest) => (call === "push" ? this.send : this.call)(call, ...rest);

  leave(stream) {
    beacon("live", { call: "close", stream }); // the page may be on its way out
  }
}

export class BrowserAnswerer {
  /* `getModels()` resolves to BrowserModels, of which that of the name `chosenModel()` answers; where it is the
     default, one that keeps up here may stand in for it. `onLoading(share)` is called while a model is loaded. */
  constructor(getModels, chosenModel = modelOfPage, onLoading = () => {}) {
    Object.assign(this, { getModels, chosenModel, onLoading });
  }

  ask = async (call, fields = {}) => {
    try {
      const models = await this.getModels();
      if (call !== "open") return await models.live({ call, ...fields });
      const model = this.chosenModel() || DEFAULT_MODEL;
      await models.load([model], ({ done, total }) => this.onLoading(done / total));
      const wish = model === DEFAULT_MODEL ? "" : model;
      return { ...await models.live({ call, model: wish, ...fields }), here: true };
    } catch (error) {
      return { refused: error.message };
    }
  };

  leave(stream) {
    this.ask("close", { stream });
  }
}

/* The answerer of the tab: `server`, null on a page without one, or `browser`. */
export class Answerers {
  constructor(server, browser) {
    Object.assign(this, { server, browser });
    this.choose();
  }

  /* Whether this browser answers. */
  get isHere() {
    return this.current === this.browser;
  }

  /* Chooses who answers the streams from now on. */
  choose() {
    this.current = this.server && !inBrowser.on ? this.server : this.browser;
  }

  ask = async (call, fields, timeoutMs) => {
    // The example voice and the machine's own microphones are the server's, where there is one.
    const isServers = this.server && (call === "example" || call === "list_local");
    const response = await (isServers ? this.server : this.current).ask(call, fields, timeoutMs);
    if (!response.full) return response;
    const own = await this.browser.ask(call, fields);
    if (own.refused) return response;
    this.current = this.browser;
    const instead = `The server is full: this browser answers by ${own.model}, and your voice does not leave it.`;
    return { ...own, instead };
  };

  leave(stream) {
    this.current.leave(stream);
  }
}
