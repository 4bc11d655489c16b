/* The tab Explore without a browser: clips and filters, outlines, gestures, figures. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Clips } from "./ui/explore/clips.js";
import { convexHull, islands } from "./ui/explore/clusters.js";
import { Gestures } from "./ui/explore/gestures.js";
import { makeStyleOf } from "./ui/explore/palette.js";
import { crosstab, figure, nmiLabel } from "./ui/explore/side.js";

const pack = (values) => Buffer.from(values.buffer).toString("base64");
const kind = (names, codes) => ({ names, codes: pack(Uint16Array.from(codes)) });

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
  assert.deepEqual(map.rows(), [0, 1, 2, 3]);
  map.query = "ANNA sad";
  map.applyFilters();
  assert.deepEqual(map.rows(), [1]);
  map.clearFilters();
  map.hidden.emotion = new Set([0]);
  map.speaker = 0;
  map.applyFilters();
  assert.deepEqual(map.rows(), [1]);
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
