/* The scatter plot of the map: points in a plane or a cube, seen by a camera. Where many are in view their
   density is drawn, else a marker for each. */
import { Density, channels } from "./density.js";
import { gathered, mixed } from "./drawing_order.js";
import { Sprite } from "./sprites.js";

const PERSPECTIVE = 3.2; // distance of the camera from the middle of the cube, in half widths
const DEPTHS = 3; // sizes of a marker, by its distance
const CROWD = 50_000; // points of a map, beyond which their density is drawn
const MAX_MARKERS = 20_000; // of these in view
const [HIDDEN, FAINT, CLEAR] = [0, 1, 2]; // how a point is shown
const FAINT_OPACITY = 0.13;
const OPACITY = 0.92; // of markers

export class Scatter {
  constructor(canvas, over) {
    this.canvas = canvas;
    this.over = over;
    this.context = canvas.getContext("2d");
    this.pen = over.getContext("2d");
    this.n = 0;
    this.marks = () => {}; // what is drawn over the points
    this.home();
    new ResizeObserver(() => this.resize()).observe(canvas.parentElement);
  }

  home() {
    this.camera = { x: 0, y: 0, zoom: 0.92, yaw: 0.6, pitch: 0.35 };
    this.draw();
  }

  get flat() {
    return this.axes !== 3;
  }

  resize() {
    const box = this.canvas.parentElement.getBoundingClientRect();
    if (!box.width) return;
    this.ratio = Math.min(2, window.devicePixelRatio || 1);
    for (const canvas of [this.canvas, this.over]) {
      canvas.width = Math.round(box.width * this.ratio);
      canvas.height = Math.round(box.height * this.ratio);
    }
    const { width, height } = this.canvas;
    this.picture = this.context.createImageData(width, height);
    this.pixels = new Uint32Array(this.picture.data.buffer);
    this.density = null;
    if (this.styles) this.style(this.styles, this.codes);
    this.draw();
  }

  /* Places (n * axes,), brought to about -1 to 1; `rows` are those that must be in sight. */
  points(places, axes, rows) {
    this.places = places;
    this.axes = axes;
    this.n = places.length / axes;
    const order = mixed(this.n);
    this.order = this.n > CROWD ? gathered(order, places, axes) : order;
    // By their number in this order: places, whereabouts in the picture, and how they are shown.
    this.drawn = new Float32Array(places.length);
    this.order.forEach((row, k) => {
      for (let axis = 0; axis < axes; axis++) this.drawn[k * axes + axis] = places[row * axes + axis];
    });
    this.sx = new Float32Array(this.n);
    this.sy = new Float32Array(this.n);
    this.depth = new Uint8Array(this.n);
    this.near = new Uint32Array(this.flat ? 0 : this.n);
    this.layers = new Uint8Array(this.n);
    this.bound(rows);
  }

  bound(rows) {
    const low = [Infinity, Infinity, Infinity];
    const high = [-Infinity, -Infinity, -Infinity];
    const { places, axes } = this;
    const include = (row) => {
      for (let axis = 0; axis < axes; axis++) {
        const value = places[row * axes + axis];
        if (value < low[axis]) low[axis] = value;
        if (value > high[axis]) high[axis] = value;
      }
    };
    if (rows && rows.length) rows.forEach(include);
    else for (let row = 0; row < this.n; row++) include(row);
    this.middle = low.map((value, axis) => (value + high[axis]) / 2);
    const spans = high.slice(0, this.axes).map((value, axis) => value - low[axis]);
    this.unit = 2 / Math.max(...spans, 1e-9);
    this.spread = spans.map((span) => (span * this.unit) / 2);
    this.home();
  }

  /* `styles` are { colour, symbol }; `codes` (n,) are the index of each point's style. */
  style(styles, codes) {
    this.styles = styles;
    this.codes = codes;
    this.coded = new Uint32Array(this.n);
    for (let k = 0; k < this.n; k++) this.coded[k] = codes[this.order[k]];
    this.channels = channels(styles.map(({ colour }) => colour));
    const edge = document.body.classList.contains("dark") ? "#14161a" : "#ffffff";
    const many = this.shown ? this.shown.reduce((sum, isShown) => sum + isShown, 0) : this.n;
    const crowd = many > 20000 ? 0.72 : many > 4000 ? 0.86 : many > 600 ? 1 : 1.4;
    this.size = 4.1 * crowd * (this.ratio || 1);
    const cache = new Map(); // thousands of names share some hundred styles
    const spritesOf = (style, alpha, rim) => {
      const key = `${style.colour} ${style.symbol} ${alpha}`;
      if (!cache.has(key)) {
        cache.set(key, Array.from({ length: DEPTHS }, (_, far) =>
          new Sprite(style, this.size * (this.flat ? 1 : 1.2 - 0.3 * far), alpha, rim)));
      }
      return cache.get(key);
    };
    this.sprites = styles.map((style) => spritesOf(style, OPACITY, edge));
    this.faint = styles.map((style) => spritesOf(style, FAINT_OPACITY, ""));
    this.draw();
  }

  /* Which points are shown, and which of them stand out (null: all alike). */
  show(shown, chosen) {
    this.shown = shown;
    this.chosen = chosen;
    const { order, layers } = this;
    for (let k = 0; k < order.length; k++) {
      const row = order[k];
      layers[k] = !shown[row] ? HIDDEN : chosen && !chosen[row] ? FAINT : CLEAR;
    }
    this.draw();
  }

  /* Where in the picture places (n * axes,) lie, in its pixels: into `xs` and `ys` (n,), and, for those in a
     cube, how far each is into `depths`, 0 to 255. */
  project(places, xs, ys, depths) {
    const { width, height } = this.canvas;
    const { unit, middle, camera, zoomed } = this;
    if (this.flat) {
      const scale = unit * zoomed;
      const left = width / 2 - camera.x * zoomed - middle[0] * scale;
      const top = height / 2 + camera.y * zoomed + middle[1] * scale;
      for (let k = 0; k < xs.length; k++) {
        xs[k] = left + places[2 * k] * scale;
        ys[k] = top - places[2 * k + 1] * scale;
      }
      return;
    }
    const [cosYaw, sinYaw] = [Math.cos(camera.yaw), Math.sin(camera.yaw)];
    const [cosPitch, sinPitch] = [Math.cos(camera.pitch), Math.sin(camera.pitch)];
    for (let k = 0; k < xs.length; k++) {
      const x = (places[3 * k] - middle[0]) * unit;
      const y = (places[3 * k + 1] - middle[1]) * unit;
      const z = (places[3 * k + 2] - middle[2]) * unit;
      const turned = x * cosYaw + z * sinYaw;
      const back = z * cosYaw - x * sinYaw;
      const up = y * cosPitch - back * sinPitch;
      const away = back * cosPitch + y * sinPitch;
      const scale = (zoomed * PERSPECTIVE) / Math.max(0.5, PERSPECTIVE + away) / 1.15;
      xs[k] = width / 2 + turned * scale;
      ys[k] = height / 2 - up * scale;
      depths[k] = 255 * Math.min(1, Math.max(0, (away + 1.2) / 2.4));
    }
  }

  scale() {
    const { width, height } = this.canvas;
    const [wide, high] = this.flat && this.spread ? this.spread : [1, 1];
    return (this.camera.zoom / 2) * Math.min(width / Math.max(wide, 0.05), height / Math.max(high, 0.05));
  }

  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.render();
    });
  }

  render() {
    if (!this.n || !this.sprites || !this.shown || !this.pixels) return;
    const { width, height } = this.canvas;
    this.pixels.fill(0);
    this.zoomed = this.scale();
    this.project(this.drawn, this.sx, this.sy, this.depth);
    const layers = this.chosen ? [FAINT, CLEAR] : [CLEAR];
    const inView = this.n > CROWD ? this.inView() : 0;
    for (const layer of layers) {
      if (inView > MAX_MARKERS) this.drawDensity(layer, inView);
      else this.drawMarkers(layer);
    }
    this.context.putImageData(this.picture, 0, 0);
    this.pen.setTransform(1, 0, 0, 1, 0, 0);
    this.pen.clearRect(0, 0, width, height);
    this.pen.scale(this.ratio, this.ratio);
    this.marks(this.pen);
  }

  /* How many of the points shown lie in the picture. */
  inView() {
    const { width, height } = this.canvas;
    const { sx, sy, layers } = this;
    let count = 0;
    for (let k = 0; k < sx.length; k++) {
      if (layers[k] && sx[k] >= 0 && sy[k] >= 0 && sx[k] < width && sy[k] < height) count += 1;
    }
    return count;
  }

  drawDensity(layer, inView) {
    const { width, height } = this.canvas;
    this.density ||= new Density(width, height, Math.max(1, Math.round(this.ratio)));
    this.density.add(this.sx, this.sy, this.layers, layer, this.coded, this.channels, inView);
    this.density.paint(this.pixels, layer === FAINT ? FAINT_OPACITY / OPACITY : 1);
  }

  drawMarkers(layer) {
    const { width, height } = this.canvas;
    const { pixels, sx, sy, depth, layers, coded, flat } = this;
    const styles = layer === CLEAR ? this.sprites : this.faint;
    const near = flat ? null : this.sorted();
    for (let i = 0; i < this.n; i++) {
      const k = flat ? i : near[i];
      if (layers[k] !== layer) continue;
      const x = Math.round(sx[k]);
      const y = Math.round(sy[k]);
      if (x < 0 || y < 0 || x >= width || y >= height) continue;
      const far = flat ? 0 : Math.min(DEPTHS - 1, (depth[k] * DEPTHS) >> 8);
      const sprite = styles[coded[k]][far].fit(width);
      const { reach } = sprite;
      if (x < reach || y < reach || x >= width - reach || y >= height - reach) continue;
      sprite.put(pixels, y * width + x);
    }
  }

  /* The farthest first, by a count of each distance. */
  sorted() {
    const { depth, near } = this;
    const counts = new Uint32Array(257);
    for (let k = 0; k < this.n; k++) counts[256 - depth[k]] += 1;
    for (let at = 1; at < 257; at++) counts[at] += counts[at - 1];
    for (let k = this.n - 1; k >= 0; k--) {
      counts[256 - depth[k]] -= 1;
      near[counts[256 - depth[k]]] = k;
    }
    return near;
  }

  /* Where a place lies in the page's own pixels. */
  screen(place) {
    const [x, y] = [[0], [0]];
    this.project(place, x, y, [0]);
    return [x[0] / this.ratio, y[0] / this.ratio];
  }

  placeOf(row) {
    return this.places.subarray(row * this.axes, (row + 1) * this.axes);
  }

  /* The point shown at (x, y), if one is near; none that is faint. */
  at(x, y, reach = 11) {
    const { sx, sy, layers, ratio } = this;
    let best = -1;
    let least = (reach * ratio) ** 2;
    for (let k = 0; k < sx.length; k++) {
      const across = sx[k] - x * ratio;
      const down = sy[k] - y * ratio;
      const away = across * across + down * down;
      if (away < least && layers[k] === CLEAR) [best, least] = [k, away];
    }
    return best < 0 ? -1 : this.order[best];
  }

  /* A mask (n,) of the points shown inside a closed line of the page's pixels. */
  inside(line) {
    const { sx, sy, layers, ratio, order } = this;
    const mask = new Uint8Array(this.n);
    const edges = edgesByLine(line);
    const left = Math.min(...line.map(([x]) => x));
    const right = Math.max(...line.map(([x]) => x));
    for (let k = 0; k < sx.length; k++) {
      const x = sx[k] / ratio;
      const y = sy[k] / ratio;
      if (!layers[k] || x < left || x > right) continue;
      let odd = 0;
      for (const [xi, yi, xj, yj] of edges.get(Math.floor(y)) || NONE) {
        if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) odd ^= 1;
      }
      mask[order[k]] = odd;
    }
    return mask;
  }
}

const NONE = [];

/* Of a closed line the edges [x, y, x, y] that each line of pixels crosses. */
const edgesByLine = (line) => {
  const edges = new Map();
  line.forEach(([x, y], i) => {
    const [before, above] = line.at(i - 1);
    for (let at = Math.floor(Math.min(y, above)); at <= Math.max(y, above); at++) {
      if (!edges.has(at)) edges.set(at, []);
      edges.get(at).push([x, y, before, above]);
    }
  });
  return edges;
};
