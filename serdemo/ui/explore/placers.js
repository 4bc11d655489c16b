/* Who places newcomers on the map: the server, or this browser. Both have

   - `prepare(clips, onLoading)`, before the first call about a map: resolves to { refused } where it cannot be
     done; `onLoading(share)` is called while what answers is loaded;
   - `ask(call, fields)`: resolves to the response, or to { refused };
   - `clip(file)` and `example()`: the call that places a file or the example voice, and a promise of its fields;
   - `abandon(voice)`: lets go of a voice whose last place nobody waits for;
   - `note`: a sentence on where the sound goes, where that is not the server. */
import { beacon } from "../shell/js/rpc.js";
import { sendFile } from "../shell/js/upload.js";

export const EXAMPLE = "example voice";
const ONLY_SHIPPED = "In this browser voices are placed on the shipped map alone: open that one, or have the"
  + " server answer.";

/* What a promise resolves to, or its error as { refused: sentence }. */
const orRefused = (promise) => promise.catch(({ message }) => ({ refused: message }));

export class ServerPlacer {
  /* `ask` is the caller of the server's function, `upload` gradio's. */
  constructor(ask, upload) {
    Object.assign(this, { ask, upload, note: "" });
  }

  async prepare() {
    return {};
  }

  clip(file) {
    return ["place", sendFile(this.upload, file)];
  }

  example() {
    return ["example", {}];
  }

  abandon(voice) {
    beacon("explore", { call: "leave", voice }); // the page may be on its way out
  }
}

export class BrowserPlacer {
  /* `getModels()` resolves to BrowserModels; the example voice is fetched from `exampleUrl`. */
  constructor(getModels, exampleUrl) {
    Object.assign(this, { getModels, exampleUrl, note: "No sound leaves this browser." });
  }

  async prepare({ key, model }, onLoading) {
    if (key !== "shipped") return { refused: ONLY_SHIPPED };
    return orRefused(this.getModels()
      .then((models) => models.load([model], ({ done, total }) => onLoading(done / total))));
  }

  ask(call, fields) {
    return orRefused(this.getModels().then((models) => models.explore({ call, ...fields })));
  }

  clip(file) {
    return ["place", orRefused(this.decode(file))];
  }

  example() {
    return ["place", orRefused(this.fetchExample().then((file) => this.decode(file)))];
  }

  async fetchExample() {
    const { fetchBytes } = await import("../browser/fetching.js");
    return new File([await fetchBytes(new URL(this.exampleUrl, document.baseURI))], EXAMPLE);
  }

  async decode(file) {
    const { decodeFile } = await import("../browser/decoding.js");
    return { sound: await decodeFile(file), name: file.name };
  }

  abandon(voice) {
    this.ask("leave", { voice });
  }
}
