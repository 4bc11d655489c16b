/* The calls of the tab Explore, answered in this browser for the shipped map; mirrors explore/handlers.py. */
import { fromBase64 } from "../shell/js/sound.js";
import { Calls, field } from "./calls.js";
import { SerdemoError, UsageError } from "./errors.js";
import { LiveVoice, bestLabel } from "./placement.js";
import { readRecording } from "./recording.js";
import { SAMPLE_RATE } from "./samples.js";
import { ENDINGS, ShippedMap } from "./shipped_map.js";

export const MAX_CLIP_S = 60; // of a clip that is placed
const SHIPPED = "shipped";
const NOT_HERE = "The sound of this clip is not on this computer: only its place on the map is known.";
const NEEDS_APP =
  "A map of your own clips needs the full app: install serdemo, then start it with `serdemo app`.";
const CLOSED = "This map was closed: open it once more.";
const NOT_FOLLOWED = "This voice is no longer followed: start again.";

export class ExploreCalls extends Calls {
  /* `read(name)` resolves to the bytes of a file of the map, and `embedder(name)` to the Predictor of a
     checkpoint. */
  constructor({ read, embedder }) {
    super();
    Object.assign(this, { read, embedder, voice: null, voices: 0 });
  }

  /* The map of a request, loaded once. */
  async map(request) {
    if (field(request, "map", "string") !== SHIPPED) throw new SerdemoError(CLOSED);
    this.shipped ||= ShippedMap.load(this.read).catch((error) => {
      this.shipped = null; // the next call tries again
      throw error;
    });
    return this.shipped;
  }

  /* All of the shipped map. */
  async onOpen(request) {
    return (await this.map({ map: request.map || SHIPPED })).payload;
  }

  onHere() {
    return { local: false, corpora: [], root: "" };
  }

  onFolder() {
    throw new UsageError(NEEDS_APP);
  }

  onHearing() {
    throw new UsageError(NEEDS_APP);
  }

  onTable() {
    throw new UsageError(NEEDS_APP);
  }

  /* The parts in `wanted`. */
  async onProgress(request) {
    const map = await this.map(request);
    const wanted = Array.isArray(request.wanted) ? request.wanted : [];
    return { ...map.parts(wanted), missing: [], working: false };
  }

  /* The sentence `silent`, because the sound of a map's clips is only where its corpora are. */
  async onPlay(request) {
    const map = await this.map(request);
    const row = field(request, "row", "number");
    if (!Number.isInteger(row) || row < 0 || row >= map.count) {
      throw new UsageError("This clip is of another map: choose once more.");
    }
    return { silent: NOT_HERE };
  }

  /* A file of `rows`, bits in base64, or of all, as `blob` with its `name`. */
  async onSave(request) {
    const map = await this.map(request);
    const ending = field(request, "ending", "string");
    if (!ENDINGS.includes(ending)) {
      throw new UsageError("A map is saved as .parquet, .csv or .html: reload the page.");
    }
    return map.save(map.rowsOf(request.rows), ending);
  }

  /* The place of a clip, whose decoded `sound` comes with the request. */
  async onPlace(request) {
    const map = await this.map(request);
    const embedder = await this.embedder(map.model);
    const { samples } = await readRecording(field(request, "sound", "object"), embedder.detector);
    const beginning = samples.subarray(0, MAX_CLIP_S * SAMPLE_RATE);
    const { embedding, probabilities } =
      await embedder.score(await embedder.embedClip(beginning, { segments: false }));
    return { ...map.place(embedding), ...bestLabel(embedder, probabilities), name: String(request.name) };
  }

  /* Begins to follow a live voice at `rate` Hz, in place of the one before. */
  async onFollow(request) {
    const map = await this.map(request);
    const rate = field(request, "rate", "number");
    this.voice = new LiveVoice(map, await this.embedder(map.model), rate);
    this.voice.handle = String(++this.voices);
    return { voice: this.voice.handle, shared: false };
  }

  /* Adds 16-bit `samples` to `voice`; its place now. */
  async onVoice(request) {
    const voice = this.followed(request);
    return voice.push(fromBase64(field(request, "samples", "string")));
  }

  /* Ends `voice`; its place over all. */
  async onLeave(request) {
    const voice = this.followed(request);
    this.voice = null;
    return voice.close();
  }

  followed(request) {
    if (this.voice?.handle !== field(request, "voice", "string")) throw new SerdemoError(NOT_FOLLOWED);
    return this.voice;
  }
}
