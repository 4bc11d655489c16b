/* Markers as pixels. A map of 50,000 of them is drawn in each frame, also where there is no graphics
   card: so each kind of marker is drawn once, and then copied pixel by pixel. */
// Outlines in units of the marker's size.
const SHAPES = {
  "triangle-up": [[0, -1.15], [1.05, 0.75], [-1.05, 0.75]],
  "triangle-down": [[0, 1.15], [1.05, -0.75], [-1.05, -0.75]],
  square: [[-0.85, -0.85], [0.85, -0.85], [0.85, 0.85], [-0.85, 0.85]],
  diamond: [[0, -1.2], [1.2, 0], [0, 1.2], [-1.2, 0]],
  hexagon: [[-0.5, -0.9], [0.5, -0.9], [1, 0], [0.5, 0.9], [-0.5, 0.9], [-1, 0]],
  star: Array.from({ length: 10 }, (_, i) => {
    const size = i % 2 ? 0.52 : 1.3;
    return [size * Math.sin((i * Math.PI) / 5), -size * Math.cos((i * Math.PI) / 5)];
  }),
  x: [[-1, -0.6], [-0.6, -1], [0, -0.4], [0.6, -1], [1, -0.6], [0.4, 0], [1, 0.6], [0.6, 1], [0, 0.4],
    [-0.6, 1], [-1, 0.6], [-0.4, 0]],
};
export const SYMBOL_ORDER = ["circle", ...Object.keys(SHAPES)];

const outline = (context, symbol, x, y, size) => {
  context.beginPath();
  if (symbol === "circle") context.arc(x, y, size, 0, 7);
  else SHAPES[symbol].forEach(([dx, dy]) => context.lineTo(x + size * dx, y + size * dy));
  context.closePath();
};

/* A marker as SVG, for the legend. */
export const markerSvg = ({ colour, symbol }) => {
  const shape = symbol === "circle"
    ? '<circle cx="8" cy="8" r="6"/>'
    : `<path d="M${SHAPES[symbol].map(([x, y]) => `${8 + 6 * x} ${8 + 6 * y}`).join("L")}z"/>`;
  return `<svg class="sd-marker" viewBox="0 0 16 16" fill="${colour}" aria-hidden="true">${shape}</svg>`;
};

/* The pixels of a marker: offset from its middle, colour and opacity of each. */
export class Sprite {
  constructor({ colour, symbol }, size, alpha, edge) {
    const reach = Math.ceil(1.4 * size) + 1;
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 2 * reach + 1;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    outline(context, symbol, reach + 0.5, reach + 0.5, size);
    context.globalAlpha = alpha;
    context.fillStyle = colour;
    context.fill();
    if (edge) {
      context.strokeStyle = edge;
      context.lineWidth = Math.max(0.6, size / 6);
      context.stroke();
    }
    const pixels = context.getImageData(0, 0, canvas.width, canvas.width).data;
    const visible = [];
    for (let y = -reach; y <= reach; y++) {
      for (let x = -reach; x <= reach; x++) {
        const at = 4 * ((y + reach) * canvas.width + x + reach);
        if (pixels[at + 3] > 8) visible.push([x, y, ...pixels.subarray(at, at + 4)]);
      }
    }
    this.reach = reach;
    this.pixels = visible;
  }

  /* Prepares for a picture of that width in pixels. */
  fit(width) {
    if (this.width === width) return this;
    this.width = width;
    const count = this.pixels.length;
    this.offsets = new Int32Array(count);
    this.solid = new Uint32Array(count);
    this.alphas = new Uint8Array(count);
    this.pixels.forEach(([x, y, r, g, b, a], i) => {
      this.offsets[i] = y * width + x;
      this.solid[i] = ((a << 24) | (b << 16) | (g << 8) | r) >>> 0;
      this.alphas[i] = a;
    });
    return this;
  }

  /* Blends it into a picture of packed RGBA pixels that are not premultiplied. */
  put(picture, middle) {
    const { offsets, solid, alphas } = this;
    for (let i = 0; i < offsets.length; i++) {
      const at = middle + offsets[i];
      const a = alphas[i];
      const under = picture[at];
      const below = under >>> 24;
      if (a > 250 || !below) {
        picture[at] = solid[i];
        continue;
      }
      const over = solid[i];
      const rest = (below * (255 - a)) / 255;
      const whole = a + rest;
      const red = ((over & 255) * a + (under & 255) * rest) / whole;
      const green = (((over >> 8) & 255) * a + ((under >> 8) & 255) * rest) / whole;
      const blue = (((over >> 16) & 255) * a + ((under >> 16) & 255) * rest) / whole;
      picture[at] = ((whole << 24) | (blue << 16) | (green << 8) | red) >>> 0;
    }
  }
}
