/* The shipped map of Explore, from the files that browser/map_files.py writes; mirrors
   explore/payload.py and explore/open_maps.py. */
import { bytesOf } from "../shell/js/sound.js";
import { UsageError } from "./errors.js";
import { gunzip } from "./fetching.js";
import { ReferenceMap, fromHalf } from "./reference_map.js";

const MAP = "map.json.gz";
const REFERENCE = "reference.bin";
const SAVED = { ".csv": "map.csv.gz", ".parquet": "map.parquet", ".html": "map.html.gz" };
const TYPES = { ".csv": "text/csv", ".parquet": "application/vnd.apache.parquet", ".html": "text/html" };
export const ENDINGS = Object.keys(SAVED);

const bitsOf = (selection) => {
  try {
    return new Uint8Array(bytesOf(selection));
  } catch {
    throw new UsageError("A selection is bits in base64: reload the page.");
  }
};

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

  /* The rows of a request: those whose bits are set in base64, or all of them for none. */
  rowsOf(selection) {
    const all = Array.from({ length: this.count }, (_, row) => row);
    if (selection === undefined || selection === null) return all;
    const bytes = bitsOf(selection);
    const isSet = (row) => bytes[row >> 3] & (128 >> (row & 7));
    if (bytes.length !== Math.ceil(this.count / 8)) {
      throw new UsageError("This selection is of another map: select once more.");
    }
    const rows = all.filter(isSet);
    if (!rows.length) throw new UsageError("Nothing is selected: draw round some points first.");
    return rows;
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
