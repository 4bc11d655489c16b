/* The clips of a map: names, places, figures, and which of them are shown. */
import { bytesOf, toBase64 } from "../shell/js/sound.js";
import { Lines } from "./lines.js";

/* The kinds of names that points are coloured by, with their titles. */
export const TITLES = {
  emotion: "Emotion, as meant", prediction: "Emotion, as heard", speaker: "Speaker",
  cluster: "Cluster within the speaker", corpus: "Corpus", language: "Language", gender: "Gender",
  error: "Correct or wrong", training: "Known to the model or new",
};
const UNKNOWN = "unknown";
const SEARCHED = ["speaker", "emotion", "prediction", "language", "gender"];
// Of each layout, the places it is drawn from and how many of their axes.
const LAYOUTS = { umap2: ["umap2", 2], umap3: ["umap3", 3], pca2: ["pca", 2], pca3: ["pca", 3],
  own: ["own", 2] };

const COUNTED = ["emotion", "prediction", "cluster", "speaker"];
const MAX_COUNTED = 12; // names of each that are counted in a selection
const CODES = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array }; // by their bytes

/* The names of a kind and the number of that of each of `n` clips; without `codes` all have the first. */
const unpackNames = ({ names, codes }, n) => {
  if (!codes) return { names, codes: new Uint8Array(n) };
  const bytes = bytesOf(codes);
  return { names, codes: new CODES[bytes.byteLength / n](bytes) };
};

/* How often each number below `length` is among `codes`; where a `mask` is given, among those it sets. */
const frequencies = (codes, length, mask) => {
  const counts = new Uint32Array(length);
  for (let row = 0; row < codes.length; row++) if (!mask || mask[row]) counts[codes[row]] += 1;
  return counts;
};

export class Clips {
  /* `payload` is the server's map: names by number, places and shares as base64. */
  constructor(payload) {
    this.key = payload.map;
    this.title = payload.title;
    this.model = payload.model;
    this.n = payload.n;
    this.lines = new Lines(payload.clips);
    this.kinds = {};
    for (const [kind, packed] of Object.entries(payload.kinds)) this.kinds[kind] = unpackNames(packed, this.n);
    this.shares = payload.shares && new Uint8Array(bytesOf(payload.shares)); // confidence in percent
    this.notes = payload.notes;
    this.warning = payload.warning;
    this.layouts = new Set(payload.layouts); // that the server has
    this.onRequest = payload.on_request; // whether what is missing is computed on request alone
    this.places = {};
    this.figures = {};
    this.shown = new Uint8Array(this.n).fill(1);
    this.clearFilters();
    this.addParts(payload);
  }

  /* Adds what the server computed later: places, clusters and their figures. */
  addParts({ places = {}, clusters, figures, missing }) {
    for (const [name, packed] of Object.entries(places)) {
      this.places[name] = new Float32Array(bytesOf(packed));
      this.layouts.add(name);
    }
    if (clusters) {
      this.kinds.cluster = unpackNames(clusters, this.n);
      this.figures = figures;
    }
    this.missing = missing;
  }

  /* Whether any name of the kind is known. */
  has(kind) {
    const names = this.kinds[kind]?.names || [];
    return names.length > 1 || (names.length === 1 && names[0] !== UNKNOWN);
  }

  /* The name of the clip itself. */
  clip(row) {
    return this.lines.line(row);
  }

  name(kind, row) {
    const known = this.kinds[kind];
    return known ? known.names[known.codes[row]] : "";
  }

  /* The lines about a clip: speaker, emotion, prediction. */
  description(row) {
    const lines = [this.name("speaker", row)];
    if (this.has("emotion")) lines.push(`meant: ${this.name("emotion", row)}`);
    if (this.has("prediction")) {
      const share = this.shares ? ` (${this.shares[row]}%)` : "";
      lines.push(`heard: ${this.name("prediction", row)}${share}`);
    }
    return lines;
  }

  /* Whether a layout can be drawn, once it is fetched. */
  offers(name) {
    return this.layouts.has(LAYOUTS[name][0]);
  }

  /* The part of the map that a layout needs and that is not fetched yet, "" for none. */
  lacks(name) {
    const [source] = LAYOUTS[name];
    return this.places[source] ? "" : source;
  }

  /* { places, axes } of a layout, null while it is missing. The first two axes of PCA's three are its
     plane. */
  layout(name) {
    const [source, axes] = LAYOUTS[name];
    const places = this.places[source];
    if (!places) return null;
    if (name !== "pca2") return { places, axes };
    const flat = new Float32Array(2 * this.n);
    for (let row = 0; row < this.n; row++) {
      flat[2 * row] = places[3 * row];
      flat[2 * row + 1] = places[3 * row + 1];
    }
    return { places: flat, axes };
  }

  get isFiltered() {
    return this.speaker >= 0 || this.query || Object.values(this.hidden).some((codes) => codes.size);
  }

  clearFilters() {
    this.hidden = {}; // of a kind, the codes of the names that are not shown
    this.speaker = -1;
    this.query = "";
  }

  /* Keeps, of the rows in `shown`, those that hold a word in the clip's name or in another of theirs. */
  search(word, shown) {
    const inName = this.lines.holding(word);
    const kinds = SEARCHED.filter((kind) => this.kinds[kind]).map((kind) => {
      const { names, codes } = this.kinds[kind];
      return [Uint8Array.from(names, (name) => (name.toLowerCase().includes(word) ? 1 : 0)), codes];
    });
    for (let row = 0; row < this.n; row++) {
      if (!shown[row] || inName[row]) continue;
      shown[row] = 0;
      for (const [hits, codes] of kinds) shown[row] |= hits[codes[row]];
    }
  }

  applyFilters() {
    const { shown } = this;
    shown.fill(1);
    const keep = ({ codes }, isKept) => {
      for (let row = 0; row < shown.length; row++) if (!isKept[codes[row]]) shown[row] = 0;
    };
    const { speaker } = this.kinds;
    if (this.speaker >= 0) keep(speaker, Uint8Array.from(speaker.names, (_, code) => (code === this.speaker ? 1 : 0)));
    for (const [kind, hidden] of Object.entries(this.hidden)) {
      const named = this.kinds[kind];
      if (hidden.size && named) keep(named, Uint8Array.from(named.names, (_, code) => (hidden.has(code) ? 0 : 1)));
    }
    for (const word of this.query.toLowerCase().split(/\s+/).filter(Boolean)) this.search(word, shown);
  }

  /* The rows where `mask` is set; by default those that are shown. */
  rows(mask = this.shown) {
    const rows = new Uint32Array(mask.length);
    let count = 0;
    for (let row = 0; row < mask.length; row++) if (mask[row]) rows[count++] = row;
    return rows.slice(0, count);
  }

  /* For each name of a kind, how many clips are shown and how many there are. */
  counts(kind) {
    const { names, codes } = this.kinds[kind];
    const shown = frequencies(codes, names.length, this.shown);
    const whole = frequencies(codes, names.length);
    return names.map((name, code) => ({ name, code, shown: shown[code], whole: whole[code] }));
  }

  /* The clips that a `mask` (n,) selects: how many, and of the kinds counted the commonest names as rows
     [name, selected, whole]. */
  selection(mask) {
    const counts = {};
    for (const kind of COUNTED) {
      if (!this.kinds[kind]) continue;
      const { names, codes } = this.kinds[kind];
      const selected = frequencies(codes, names.length, mask);
      const whole = frequencies(codes, names.length);
      counts[kind] = [...names.keys()].filter((code) => selected[code])
        .sort((a, b) => selected[b] - selected[a]).slice(0, MAX_COUNTED)
        .map((code) => [names[code], selected[code], whole[code]]);
    }
    return { n: frequencies(mask, 2)[1], counts };
  }
}

/* A mask as bits in base64, the first row's the highest of the first byte. */
export const packBits = (mask) => {
  const bytes = new Uint8Array(Math.ceil(mask.length / 8));
  for (let row = 0; row < mask.length; row++) if (mask[row]) bytes[row >> 3] |= 128 >> (row & 7);
  return toBase64(bytes);
};
