/* What the page knows of the map at hand, and which of its points are shown. */
const part = (name) => element.querySelector(`[data-part=${name}]`);
const put = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};
const clean = (text) => {
  const node = document.createElement("span");
  node.textContent = text;
  return node.innerHTML.replaceAll('"', "&quot;");
};
// Makes a list anew; whoever uses the keyboard keeps the place in it.
const renew = (list, mark, html) => {
  const held = list.contains(document.activeElement) ? document.activeElement.dataset[mark] : undefined;
  list.innerHTML = html;
  if (held !== undefined) list.querySelector(`[data-${mark}="${held}"]`)?.focus({ preventScroll: true });
};
const count = (number) => number.toLocaleString("en");
const percent = (share) => `${Math.round(100 * share)}%`;
const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;

const TITLES = {
  emotion: "Emotion, as meant", prediction: "Emotion, as heard", speaker: "Speaker",
  cluster: "Cluster within the speaker", corpus: "Corpus", language: "Language", gender: "Gender",
  error: "Right or wrong", training: "Known to the model or new",
};
const UNKNOWN = "unknown";
const GREY = "#8a94a6";
const PLAIN = { "heard as meant": GREY, "heard otherwise": "#D55E00", "known to the model": GREY,
  "new to the model": "#0072B2" };

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
const decoded = ({ names, codes }) => ({ names, codes: new Uint16Array(bytes(codes)) });

// What the server says, or a sentence that it cannot be reached.
const UNREACHED = "The server cannot be reached: check the connection, then try again.";
const ask = async (call, asked = {}) => {
  const foot = document.querySelector("[data-visitor]");
  const wanted = { call, visitor: foot ? foot.dataset.visitor : "", ...asked };
  const told = await server.explore(wanted).catch(() => undefined);
  return told || { refused: UNREACHED, unreached: true };
};

// The same, once more for as long as a connection may be lost that comes back.
const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const AGAIN_MS = 1000;
const TRIES = 30;
const askOn = async (call, asked) => {
  for (let tries = 1; ; tries++) {
    const answer = await ask(call, asked);
    if (!answer.unreached || tries === TRIES) return answer;
    await later(AGAIN_MS);
  }
};

class Clips {
  constructor(told) {
    this.key = told.map;
    this.title = told.title;
    this.model = told.model;
    this.n = told.n;
    this.names = told.clips.split("\n");
    this.kinds = {};
    for (const [kind, coded] of Object.entries(told.kinds)) this.kinds[kind] = decoded(coded);
    this.shares = told.shares && new Uint8Array(bytes(told.shares));
    this.notes = told.notes;
    this.warning = told.warning;
    this.places = {};
    this.figures = {};
    this.shown = new Uint8Array(this.n).fill(1);
    this.off = {}; // of a kind, the numbers of the names that are not shown
    this.speaker = -1;
    this.query = "";
    this.take(told);
  }

  // Parts that were made later.
  take(told) {
    for (const [name, packed] of Object.entries(told.places || {})) {
      this.places[name] = new Float32Array(bytes(packed));
    }
    if (told.clusters) {
      this.kinds.cluster = decoded(told.clusters);
      this.figures = told.figures;
    }
    this.missing = told.missing;
  }

  has(kind) {
    const known = this.kinds[kind];
    return known && known.names.length > 0 && !(known.names.length === 1 && known.names[0] === UNKNOWN);
  }

  name(kind, row) {
    const known = this.kinds[kind];
    return known ? known.names[known.codes[row]] : "";
  }

  // A layout of three axes or two; the first two of PCA's three are PCA's plane.
  layout(name) {
    const wanted = { umap2: ["umap2", 2], umap3: ["umap3", 3], pca2: ["pca", 2], pca3: ["pca", 3],
      own: ["own", 2] }[name];
    const places = this.places[wanted[0]];
    if (!places) return null;
    if (name !== "pca2") return { places, axes: wanted[1] };
    const flat = new Float32Array(2 * this.n);
    for (let row = 0; row < this.n; row++) {
      flat[2 * row] = places[3 * row];
      flat[2 * row + 1] = places[3 * row + 1];
    }
    return { places: flat, axes: 2 };
  }

  get filtered() {
    return this.speaker >= 0 || this.query || Object.values(this.off).some((set) => set.size);
  }

  unfilter() {
    this.off = {};
    this.speaker = -1;
    this.query = "";
  }

  // A text for each clip to search in.
  get texts() {
    this.known = this.known || this.names.map((name, row) =>
      ["speaker", "emotion", "prediction", "language", "gender"]
        .reduce((text, kind) => `${text} ${this.name(kind, row)}`, name).toLowerCase());
    return this.known;
  }

  filter() {
    const words = this.query.toLowerCase().split(/\s+/).filter(Boolean);
    const off = Object.entries(this.off).filter(([kind, set]) => set.size && this.kinds[kind])
      .map(([kind, set]) => [this.kinds[kind].codes, set]);
    const { codes } = this.kinds.speaker;
    for (let row = 0; row < this.n; row++) {
      this.shown[row] = (this.speaker < 0 || codes[row] === this.speaker)
        && off.every(([own, set]) => !set.has(own[row]))
        && words.every((word) => this.texts[row].includes(word)) ? 1 : 0;
    }
  }

  rows(wanted = this.shown) {
    const found = [];
    for (let row = 0; row < this.n; row++) if (wanted[row]) found.push(row);
    return found;
  }

  // Of each name of a kind, how many are shown and how many there are.
  counts(kind) {
    const { names, codes } = this.kinds[kind];
    const found = names.map((name, code) => ({ name, code, shown: 0, whole: 0 }));
    for (let row = 0; row < this.n; row++) {
      found[codes[row]].whole += 1;
      found[codes[row]].shown += this.shown[row];
    }
    return found;
  }

  // Colour and marker of each name of a kind.
  looks(kind) {
    return this.kinds[kind].names.map((name, code) => {
      if (kind === "emotion" || kind === "prediction") {
        const known = Object.hasOwn(LOOKS, name) ? name : "other";
        return { colour: LOOKS[known].colour, symbol: SYMBOLS[known] };
      }
      if (Object.hasOwn(PLAIN, name)) {
        return { colour: PLAIN[name], symbol: PLAIN[name] === GREY ? "circle" : "x" };
      }
      const number = kind === "cluster" ? Math.abs(Number(name.split(" ")[1]) - 1) : code;
      return { colour: COLOURS[number % COLOURS.length],
        symbol: SYMBOL_ORDER[(number + Math.floor(number / COLOURS.length)) % SYMBOL_ORDER.length] };
    });
  }
}
