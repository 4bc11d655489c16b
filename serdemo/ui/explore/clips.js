/* The clips of a map: names, places, figures, and which of them are shown. */
import { bytesOf } from "../shell/js/sound.js";

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

const unpackNames = ({ names, codes }) => ({ names, codes: new Uint16Array(bytesOf(codes)) });

export class Clips {
  /* `payload` is the server's map: names by number, places and shares as base64. */
  constructor(payload) {
    this.key = payload.map;
    this.title = payload.title;
    this.model = payload.model;
    this.n = payload.n;
    this.names = payload.clips.split("\n");
    this.kinds = {};
    for (const [kind, packed] of Object.entries(payload.kinds)) this.kinds[kind] = unpackNames(packed);
    this.shares = payload.shares && new Uint8Array(bytesOf(payload.shares)); // confidence in percent
    this.notes = payload.notes;
    this.warning = payload.warning;
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
    }
    if (clusters) {
      this.kinds.cluster = unpackNames(clusters);
      this.figures = figures;
    }
    this.missing = missing;
  }

  /* Whether any name of the kind is known. */
  has(kind) {
    const names = this.kinds[kind]?.names || [];
    return names.length > 1 || (names.length === 1 && names[0] !== UNKNOWN);
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

  /* A text for each clip to search in. */
  get texts() {
    this.searchTexts ||= this.names.map((name, row) =>
      [name, ...SEARCHED.map((kind) => this.name(kind, row))].join(" ").toLowerCase());
    return this.searchTexts;
  }

  applyFilters() {
    const words = this.query.toLowerCase().split(/\s+/).filter(Boolean);
    const hidden = Object.entries(this.hidden)
      .filter(([kind, codes]) => codes.size && this.kinds[kind])
      .map(([kind, codes]) => [this.kinds[kind].codes, codes]);
    const { codes: speakers } = this.kinds.speaker;
    for (let row = 0; row < this.n; row++) {
      this.shown[row] = (this.speaker < 0 || speakers[row] === this.speaker)
        && hidden.every(([codes, excluded]) => !excluded.has(codes[row]))
        && words.every((word) => this.texts[row].includes(word)) ? 1 : 0;
    }
  }

  /* The rows where `mask` is set; by default those that are shown. */
  rows(mask = this.shown) {
    const rows = [];
    for (let row = 0; row < this.n; row++) if (mask[row]) rows.push(row);
    return rows;
  }

  /* For each name of a kind, how many clips are shown and how many there are. */
  counts(kind) {
    const { names, codes } = this.kinds[kind];
    const counts = names.map((name, code) => ({ name, code, shown: 0, whole: 0 }));
    for (let row = 0; row < this.n; row++) {
      counts[codes[row]].whole += 1;
      counts[codes[row]].shown += this.shown[row];
    }
    return counts;
  }
}
