/* The shipped map of Explore, from the files that browser/map_files.py writes; mirrors
   explore/payload.py and explore/open_maps.py. */
import { bytesOf } from "../shell/js/sound.js";
import { UsageError } from "./errors.js";
import { gunzip } from "./fetching.js";
import { ReferenceMap, fromHalf } from "./reference_map.js";

export const COUNTED = ["emotion", "prediction", "cluster", "speaker"];
export const MAX_COUNTED = 12; // names of each that are counted in a selection
const MAP = "map.json.gz";
const REFERENCE = "reference.bin";
const SAVED = { ".csv": "map.csv.gz", ".parquet": "map.parquet", ".html": "map.html.gz" };
const TYPES = { ".csv": "text/csv", ".parquet": "application/vnd.apache.parquet", ".html": "text/html" };
export const ENDINGS = Object.keys(SAVED);

const textOf = (bytes) => new TextDecoder().decode(bytes);

export class ShippedMap {
  /* `read(name)` resolves to the bytes (Uint8Array) of the file `name`. */
  static async load(read) {
    const [described, reference] = await Promise.all([
      read(MAP).then(gunzip).then((bytes) => JSON.parse(textOf(bytes))),
      read(REFERENCE),
    ]);
    return new ShippedMap(read, described, reference);
  }

  constructor(read, { open, basis, projections, saved }, reference) {
    Object.assign(this, { read, payload: open, fileNames: saved });
    const [size, width] = basis;
    const { buffer } = reference.slice(); // from the beginning of a buffer, so that numbers are aligned
    const embeddings = fromHalf(new Uint16Array(buffer, 4 * size * width));
    const places = (name) => new Float32Array(bytesOf(open.places[name]));
    this.reference = new ReferenceMap(embeddings, new Float32Array(buffer, 0, size * width), basis,
      Object.fromEntries(Object.entries(projections)
        .map(([name, axes]) => [name, { places: places(name), axes }])));
    this.kinds = Object.fromEntries(COUNTED.map((kind) => {
      const { names, codes } = kind === "cluster" ? open.clusters : open.kinds[kind];
      return [kind, { names, codes: new Uint16Array(bytesOf(codes)) }];
    }));
  }

  /* The name of the model that made the map. */
  get model() {
    return this.payload.model;
  }

  get count() {
    return this.payload.n;
  }

  place(embedding) {
    return this.reference.place(embedding);
  }

  /* The rows of a request, each once and in order; all of them for none. */
  rowsOf(rows) {
    if (rows === undefined || rows === null) return Array.from({ length: this.count }, (_, row) => row);
    if (!Array.isArray(rows) || !rows.every(Number.isInteger)) {
      throw new UsageError("A selection is a list of whole numbers: reload the page.");
    }
    if (rows.length > this.count || rows.some((row) => row < 0 || row >= this.count)) {
      throw new UsageError("This selection is of another map: select once more.");
    }
    if (!rows.length) throw new UsageError("Nothing is selected: draw round some points first.");
    return [...new Set(rows)].sort((a, b) => a - b);
  }

  /* The commonest names among the selected `rows`, by kind: name, selected clips, all clips. */
  counts(rows) {
    const counts = {};
    for (const [kind, { names, codes }] of Object.entries(this.kinds)) {
      if (!names.length) continue;
      const whole = new Uint32Array(names.length);
      const selected = new Uint32Array(names.length);
      for (const code of codes) whole[code] += 1;
      for (const row of rows) selected[codes[row]] += 1;
      counts[kind] = [...names.keys()].sort((a, b) => selected[b] - selected[a]).slice(0, MAX_COUNTED)
        .filter((code) => selected[code]).map((code) => [names[code], selected[code], whole[code]]);
    }
    return { n: rows.length, counts };
  }

  /* The parts in `wanted`, all of which are there. */
  parts(wanted) {
    const { places, clusters, figures } = this.payload;
    const given = Object.fromEntries(wanted.filter((name) => Object.hasOwn(places, name))
      .map((name) => [name, places[name]]));
    return { places: given, ...(wanted.includes("study") ? { clusters, figures } : {}) };
  }

  /* The map as a file, `blob` and `name`. Of some `rows` there is a table of text alone. */
  async save(rows, ending) {
    if (rows.length < this.count && ending !== ".csv") {
      throw new UsageError("A selection is saved as a table (CSV) here: the full app saves the others.");
    }
    let bytes = await gunzip(await this.read(SAVED[ending]));
    if (rows.length < this.count) {
      const lines = textOf(bytes).split("\r\n");
      bytes = `${[lines[0], ...rows.map((row) => lines[row + 1])].join("\r\n")}\r\n`;
    }
    return { blob: new Blob([bytes], { type: TYPES[ending] }), name: this.fileNames[ending] };
  }
}
