/* The tab Explore without a browser: clips and filters, outlines, gestures, figures. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Clips, packBits } from "./ui/explore/clips.js";
import { convexHull, islands } from "./ui/explore/clusters.js";
import { Density, channels } from "./ui/explore/density.js";
import { gathered, mixed } from "./ui/explore/drawing_order.js";
import { Gestures } from "./ui/explore/gestures.js";
import { Lines } from "./ui/explore/lines.js";
import { makeStyleOf } from "./ui/explore/palette.js";
import { Scatter } from "./ui/explore/scatter.js";
import { crosstab, figure, nmiLabel } from "./ui/explore/side.js";

const pack = (values) => Buffer.from(values.buffer).toString("base64");
const kind = (names, codes) => ({ names, codes: pack(Uint8Array.from(codes)) });

const clips = () => new Clips({
  map: "key", title: "t", model: "m", n: 4, clips: "a.wav\nb.wav\nc.wav\nd.wav",
  kinds: {
    speaker: kind(["x/anna", "x/bert"], [0, 0, 1, 1]), emotion: kind(["angry", "sad"], [0, 1, 0, 0]),
    prediction: kind(["angry"], [0, 0, 0, 0]), language: kind(["unknown"], [0, 0, 0, 0]),
    gender: kind([], []),
  },
  shares: pack(Uint8Array.of(90, 80, 70, 60)), notes: [], warning: "",
  places: { pca: pack(Float32Array.from({ length: 12 }, (_, i) => i)) }, missing: ["umap2", "study"],
});

test("filters and the search are all held to", () => {
  const map = clips();
  assert.deepEqual([...map.rows()], [0, 1, 2, 3]);
  map.query = "ANNA sad";
  map.applyFilters();
  assert.deepEqual([...map.rows()], [1]);
  map.clearFilters();
  map.hidden.emotion = new Set([0]);
  map.speaker = 0;
  map.applyFilters();
  assert.deepEqual([...map.rows()], [1]);
  assert.deepEqual(map.counts("speaker").map(({ shown, whole }) => [shown, whole]), [[1, 2], [0, 2]]);
  assert.ok(map.isFiltered);
});

test("the plane of PCA is its first two axes, and a missing layout is none", () => {
  const map = clips();
  assert.deepEqual([...map.layout("pca2").places], [0, 1, 3, 4, 6, 7, 9, 10]);
  assert.equal(map.layout("pca3").axes, 3);
  assert.equal(map.layout("umap2"), null);
  assert.equal(map.has("language"), false);
  assert.equal(map.has("gender"), false);
  assert.deepEqual(map.description(1), ["x/anna", "meant: sad", "heard: angry (80%)"]);
});

test("clusters against emotions are counted for one speaker", () => {
  const map = clips();
  map.addParts({ clusters: kind(["cluster 2", "cluster 10"], [0, 1, 0, 0]), figures: {
    speakers: { "x/anna": { found: { nmi: 0.5 } } } }, missing: [] });
  const { emotions, clusters, cells } = crosstab(map, 0);
  assert.deepEqual([emotions, clusters], [["angry", "sad"], ["cluster 2", "cluster 10"]]);
  assert.equal(cells.get("cluster 10").get("sad"), 1);
  assert.equal(nmiLabel(map, "x/anna"), ", NMI 0.50");
  assert.equal(nmiLabel(map, "constructor"), "");
});

test("figures are written shortly, and no zero is negative", () => {
  assert.deepEqual([figure(null), figure(0.123), figure(-0.001), figure(-0.2), figure(0.5, "purity")],
    ["–", "0.12", "0.00", "−0.20", "50%"]);
});

test("the hull is the corners round all points", () => {
  const square = [[0, 0], [4, 0], [4, 4], [0, 4]];
  const hull = convexHull([[2, 2], ...square, [1, 3]]);
  assert.equal(hull.length, 4);
  assert.ok(square.every(([x, y]) => hull.some(([a, b]) => a === x && b === y)));
});

test("points that hang together are an island, the largest first", () => {
  const groups = islands([[500, 0], [0, 0], [60, 0], [120, 0]]);
  assert.deepEqual(groups.map((group) => group.length), [3, 1]);
});

test("each name has its own colour and marker", () => {
  const styleOf = makeStyleOf({ symbols: { sad: "star", other: "x" }, colours: ["#a", "#b"] });
  assert.deepEqual(styleOf("emotion", "sad", 0), { colour: "#0072B2", symbol: "star" });
  assert.deepEqual(styleOf("emotion", "toString", 0), { colour: "#A3A08F", symbol: "x" });
  assert.equal(styleOf("error", "wrong", 1).symbol, "x");
  assert.equal(styleOf("speaker", "constructor", 3).colour, "#b");
});

test("a drag moves the map, a lasso selects, a still press clicks", () => {
  const listeners = {};
  const field = { addEventListener: (name, handler) => { listeners[name] = handler; },
    getBoundingClientRect: () => ({ left: 0, top: 0 }), setPointerCapture() {} };
  const scatter = { n: 3, ratio: 1, flat: true, camera: { x: 0, y: 0, zoom: 1 }, scale: () => 100,
    draw() {}, at: () => 2, inside: (line) => [line.length] };
  const events = [];
  const gestures = new Gestures(scatter, field, { hover: () => {}, click: (row) => events.push(["click", row]),
    lasso: (rows) => events.push(["lasso", rows]) });
  const at = (x, y, more = {}) => ({ pointerId: 1, button: 0, clientX: x, clientY: y, ...more });
  listeners.pointerdown(at(0, 0));
  listeners.pointermove(at(50, 20));
  listeners.pointerup(at(50, 20));
  assert.deepEqual([scatter.camera.x, scatter.camera.y], [-0.5, 0.2]);
  listeners.pointerdown(at(5, 5));
  listeners.pointerup(at(6, 5));
  listeners.pointerdown(at(0, 0, { shiftKey: true }));
  listeners.pointermove(at(10, 0));
  listeners.pointermove(at(10, 10));
  listeners.pointerup(at(10, 10));
  assert.deepEqual(events, [["click", 2], ["lasso", [3]]]);
  assert.deepEqual(gestures.line, []);
});

test("a selection is counted by kind, the commonest names first", () => {
  const { n, counts } = clips().selection(Uint8Array.of(0, 1, 1, 1));
  assert.equal(n, 3);
  assert.deepEqual(counts.emotion, [["angry", 2, 3], ["sad", 1, 1]]);
  assert.deepEqual(counts.speaker, [["x/bert", 2, 2], ["x/anna", 1, 2]]);
  assert.equal(counts.cluster, undefined);
});

test("a mask is packed to bits, the first row's the highest", () => {
  const bits = packBits(Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 1, 0, 1));
  assert.deepEqual([...Buffer.from(bits, "base64")], [0b10000001, 0b01000000]);
});

test("codes take as many bytes as there are names", () => {
  const wide = { names: ["a", "b"], codes: pack(Uint32Array.of(0, 1, 1, 0)) };
  const map = clips();
  map.addParts({ clusters: wide, figures: {}, missing: [] });
  assert.equal(map.name("cluster", 2), "b");
  map.addParts({ clusters: { names: ["only"], codes: "" }, figures: {}, missing: [] });
  assert.equal(map.name("cluster", 3), "only");
});

test("lines are found by words, also where lower case is longer", () => {
  const lines = new Lines("Eins.wav\n\u0130 zwei.wav\n\nWEISS.wav");
  assert.deepEqual([0, 1, 2, 3].map((n) => lines.line(n)), ["Eins.wav", "\u0130 zwei.wav", "", "WEISS.wav"]);
  assert.deepEqual([...lines.holding("ei")], [1, 1, 0, 1]);
  assert.deepEqual([...lines.holding("zwei")], [0, 1, 0, 0]);
  assert.deepEqual([...lines.holding("none")], [0, 0, 0, 0]);
});

test("all rows are drawn once, those of a neighbourhood one after another", () => {
  const places = Float32Array.from({ length: 2000 }, (_, at) => (at % 2 ? 0 : (at >> 1) % 2)); // at 0 and 1
  const order = gathered(mixed(1000), places, 2);
  assert.deepEqual([...order].sort((a, b) => a - b), Array.from({ length: 1000 }, (_, row) => row));
  assert.ok(order.subarray(0, 500).every((row) => row % 2 === 0));
  assert.ok(order.subarray(0, 500).some((row, k) => k && row < order[k - 1])); // still mixed
});

test("a crowd is drawn in the mean colour of each pixel, the denser the more solid", () => {
  const density = new Density(4, 2, 2); // two squares of pixels
  const draw = (xs) => {
    const ys = Float32Array.from(xs, () => 1);
    density.add(Float32Array.from(xs), ys, new Uint8Array(xs.length).fill(2), 2, xs.map((_, k) => k % 2),
      channels(["#FF0000", "#0000FF"]), 1e6);
    const pixels = new Uint32Array(8);
    density.paint(pixels, 1);
    return new Uint8Array(pixels.buffer);
  };
  const bytes = draw([1, 1, 1, 1, 3, -1, 99]);
  const at = (x, y) => [...bytes.subarray(4 * (4 * y + x), 4 * (4 * y + x) + 4)];
  assert.deepEqual(at(0, 0).slice(0, 3), [127, 0, 127]);
  assert.deepEqual(at(2, 0).slice(0, 3), [255, 0, 0]);
  assert.equal(at(2, 0)[3], 102); // a point by itself
  assert.ok(at(0, 0)[3] > 102);
  assert.deepEqual([at(1, 1), at(3, 1)], [at(0, 0), at(2, 0)]);
});

/* A scatter plot of 100 by 100 pixels without a page, drawn over at once. */
const plot = () => {
  const canvas = { width: 100, height: 100, getContext: () => ({}), parentElement: null };
  globalThis.ResizeObserver = class { observe() {} };
  globalThis.requestAnimationFrame = () => {};
  const scatter = new Scatter(canvas, canvas);
  scatter.ratio = 1;
  return scatter;
};

test("a million points are pointed at and encircled in less than a second", () => {
  const scatter = plot();
  const side = 1000; // a square of them
  const places = new Float32Array(2 * side * side);
  for (let row = 0; row < side * side; row++) places.set([row % side, Math.floor(row / side)], 2 * row);
  scatter.points(places, 2);
  const shown = new Uint8Array(side * side).fill(1);
  shown[0] = 0;
  scatter.show(shown, null);
  scatter.zoomed = scatter.scale();
  scatter.project(scatter.drawn, scatter.sx, scatter.sy, scatter.depth);
  const began = performance.now();
  assert.equal(scatter.at(...scatter.screen([700, 300])), 300 * side + 700);
  const [left, top] = scatter.screen([99.5, 599.5]);
  const [right, bottom] = scatter.screen([599.5, 199.5]);
  const mask = scatter.inside([[left, top], [right, top], [right, bottom], [left, bottom]]);
  assert.ok(performance.now() - began < 1000);
  assert.equal(mask.reduce((sum, bit) => sum + bit, 0), 500 * 400);
  assert.deepEqual([mask[300 * side + 100], mask[300 * side + 99], mask[600 * side + 100]], [1, 0, 0]);
  const all = scatter.inside([[0, 0], [100, 0], [100, 100], [0, 100]]);
  assert.equal(all.reduce((sum, bit) => sum + bit, 0), side * side - 1); // none that is not shown
});

test("a star is encircled as its corners say, and what is inside twice is outside", () => {
  const scatter = plot();
  scatter.points(Float32Array.of(0, 0, 10, 10, 5, 5, 5, 9.5), 2);
  scatter.show(new Uint8Array(4).fill(1), null);
  scatter.zoomed = scatter.scale();
  scatter.project(scatter.drawn, scatter.sx, scatter.sy, scatter.depth);
  const corners = Array.from({ length: 5 }, (_, i) => {
    const angle = (4 * Math.PI * i) / 5;
    return [50 + 45 * Math.sin(angle), 50 - 45 * Math.cos(angle)];
  });
  assert.deepEqual([...scatter.inside(corners)], [0, 0, 0, 1]);
});
