/* The scatter plot of the map: points in a plane or a cube, seen by a camera. */
import { Sprite } from "./sprites.js";

const PERSPECTIVE = 3.2; // distance of the camera from the middle of the cube, in half widths
const DEPTHS = 3; // sizes of a marker, by its distance

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
    this.picture = this.context.createImageData(this.canvas.width, this.canvas.height);
    this.pixels = new Uint32Array(this.picture.data.buffer);
    if (this.styles) this.style(this.styles, this.codes);
    this.draw();
  }

  /* Places (n * axes,), brought to about -1 to 1; `rows` are those that must be in sight. */
  points(places, axes, rows) {
    this.places = places;
    this.axes = axes;
    this.n = places.length / axes;
    this.sx = new Float32Array(this.n);
    this.sy = new Float32Array(this.n);
    this.depth = new Uint8Array(this.n);
    // Drawn in a mixed order, so that no class lies on top of the others.
    this.order = Uint32Array.from({ length: this.n }, (_, i) => i);
    let seed = 1;
    for (let i = this.n - 1; i > 0; i--) {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      const j = seed % (i + 1);
      [this.order[i], this.order[j]] = [this.order[j], this.order[i]];
    }
    this.near = new Uint32Array(this.n);
    this.bound(rows);
  }

  bound(rows) {
    const low = [Infinity, Infinity, Infinity];
    const high = [-Infinity, -Infinity, -Infinity];
    const include = (row) => {
      for (let axis = 0; axis < this.axes; axis++) {
        const value = this.places[row * this.axes + axis];
        low[axis] = Math.min(low[axis], value);
        high[axis] = Math.max(high[axis], value);
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
    this.sprites = styles.map((style) => spritesOf(style, 0.92, edge));
    this.faint = styles.map((style) => spritesOf(style, 0.13, ""));
    this.draw();
  }

  /* Which points are shown, and which of them stand out (null: all alike). */
  show(shown, chosen) {
    this.shown = shown;
    this.chosen = chosen;
    this.draw();
  }

  /* Where in the picture a place lies, in its pixels; of those in a cube also how far, 0 to 1. */
  project(place, screen = [0, 0, 0]) {
    const { width, height } = this.canvas;
    const x = (place[0] - this.middle[0]) * this.unit;
    const y = (place[1] - this.middle[1]) * this.unit;
    if (this.flat) {
      const scale = this.zoomed;
      screen[0] = width / 2 + (x - this.camera.x) * scale;
      screen[1] = height / 2 - (y - this.camera.y) * scale;
      return screen;
    }
    const z = (place[2] - this.middle[2]) * this.unit;
    const { yaw, pitch } = this.camera;
    const turned = x * Math.cos(yaw) + z * Math.sin(yaw);
    const back = z * Math.cos(yaw) - x * Math.sin(yaw);
    const up = y * Math.cos(pitch) - back * Math.sin(pitch);
    const away = back * Math.cos(pitch) + y * Math.sin(pitch);
    const scale = (this.zoomed * PERSPECTIVE) / Math.max(0.5, PERSPECTIVE + away) / 1.15;
    screen[0] = width / 2 + turned * scale;
    screen[1] = height / 2 - up * scale;
    screen[2] = Math.min(1, Math.max(0, (away + 1.2) / 2.4));
    return screen;
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
    const { pixels, places, axes, sx, sy, depth, shown, chosen, codes } = this;
    pixels.fill(0);
    this.zoomed = this.scale();
    const place = [0, 0, 0];
    const screen = [0, 0, 0];
    for (let row = 0; row < this.n; row++) {
      if (!shown[row]) continue;
      for (let axis = 0; axis < axes; axis++) place[axis] = places[row * axes + axis];
      this.project(place, screen);
      sx[row] = screen[0];
      sy[row] = screen[1];
      depth[row] = 255 * screen[2];
    }
    for (const pass of chosen ? [0, 1] : [1]) {
      for (const row of this.flat ? this.order : this.sorted()) {
        if (!shown[row] || (chosen && chosen[row] !== pass)) continue;
        const far = this.flat ? 0 : Math.min(DEPTHS - 1, (depth[row] * DEPTHS) >> 8);
        const sprite = (pass ? this.sprites : this.faint)[codes[row]][far].fit(width);
        const x = Math.round(sx[row]);
        const y = Math.round(sy[row]);
        const { reach } = sprite;
        if (x < reach || y < reach || x >= width - reach || y >= height - reach) continue;
        sprite.put(pixels, y * width + x);
      }
    }
    this.context.putImageData(this.picture, 0, 0);
    this.pen.setTransform(1, 0, 0, 1, 0, 0);
    this.pen.clearRect(0, 0, width, height);
    this.pen.scale(this.ratio, this.ratio);
    this.marks(this.pen);
  }

  /* The farthest first, by a count of each distance. */
  sorted() {
    const counts = new Uint32Array(257);
    for (let row = 0; row < this.n; row++) counts[256 - this.depth[row]] += 1;
    for (let at = 1; at < 257; at++) counts[at] += counts[at - 1];
    for (let row = this.n - 1; row >= 0; row--) {
      counts[256 - this.depth[row]] -= 1;
      this.near[counts[256 - this.depth[row]]] = row;
    }
    return this.near;
  }

  /* In the page's own pixels. */
  screen(place) {
    const [x, y] = this.project(place);
    return [x / this.ratio, y / this.ratio];
  }

  placeOf(row) {
    return this.places.subarray(row * this.axes, (row + 1) * this.axes);
  }

  /* The point shown at (x, y), if one is near; the one that stands out before another. */
  at(x, y, reach = 11) {
    let best = -1;
    let least = (reach * this.ratio) ** 2;
    for (let row = 0; row < this.n; row++) {
      if (!this.shown[row] || (this.chosen && !this.chosen[row])) continue;
      const away = (this.sx[row] - x * this.ratio) ** 2 + (this.sy[row] - y * this.ratio) ** 2;
      if (away < least) [best, least] = [row, away];
    }
    return best;
  }

  /* The points shown inside a closed line of the page's pixels. */
  inside(line) {
    const rows = [];
    for (let row = 0; row < this.n; row++) {
      if (!this.shown[row]) continue;
      const x = this.sx[row] / this.ratio;
      const y = this.sy[row] / this.ratio;
      let odd = false;
      for (let i = 0, j = line.length - 1; i < line.length; j = i++) {
        const [xi, yi] = line[i];
        const [xj, yj] = line[j];
        if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) odd = !odd;
      }
      if (odd) rows.push(row);
    }
    return rows;
  }
}
