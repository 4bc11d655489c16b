/* Hand, wheel and keys on the map: move or turn it, come nearer, draw round points, point at one.
   `on` has hover(row, x, y), click(row) and lasso(rows). */
const NEAREST = 60;
const STILL_PX = 4; // a press that moved less is a click

// The points round all others, one after another.
const hull = (points) => {
  const sorted = [...points].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const half = (row) => {
    const kept = [];
    for (const [x, y] of row) {
      while (kept.length > 1) {
        const [[ax, ay], [bx, by]] = kept.slice(-2);
        if ((bx - ax) * (y - ay) > (by - ay) * (x - ax)) break;
        kept.pop();
      }
      kept.push([x, y]);
    }
    return kept;
  };
  const lower = half(sorted);
  return [...lower, ...half(sorted.reverse()).slice(1, -1)];
};

const NEAR_PX = 70; // points of a cluster nearer than this are drawn as one island
const MOST_LINKED = 600;

// Points in groups that hang together, the largest first.
const islands = (points) => {
  if (points.length > MOST_LINKED) return [points];
  const left = new Set(points);
  const found = [];
  for (const first of points) {
    if (!left.delete(first)) continue;
    const island = [first];
    for (const [x, y] of island) {
      for (const other of left) {
        if (Math.hypot(other[0] - x, other[1] - y) > NEAR_PX) continue;
        left.delete(other);
        island.push(other);
      }
    }
    found.push(island);
  }
  return found.sort((a, b) => b.length - a.length);
};

// Lines round the points of a cluster wherever some of them lie together, its name above the most.
const drawCluster = (pen, every, name) =>
  islands(every).forEach((island, i) => (!i || island.length > 2) && drawHull(pen, island, i ? "" : name));

const drawHull = (pen, island, name) => {
  const points = hull(island.flatMap(([px, py]) => Array.from({ length: 12 }, (_, i) =>
    [px + 13 * Math.cos((i * Math.PI) / 6), py + 13 * Math.sin((i * Math.PI) / 6)])));
  const ink = getComputedStyle(element).getPropertyValue("--body-text-color") || "#000";
  pen.save();
  pen.strokeStyle = pen.fillStyle = ink;
  pen.beginPath();
  points.forEach((one) => pen.lineTo(...one));
  pen.closePath();
  pen.globalAlpha = 0.05;
  pen.fill();
  pen.globalAlpha = 0.55;
  pen.setLineDash([4, 4]);
  pen.stroke();
  pen.globalAlpha = 0.8;
  pen.font = "12px system-ui, sans-serif";
  pen.textAlign = "center";
  const top = points.reduce((best, one) => (one[1] < best[1] ? one : best));
  const half = pen.measureText(name).width / 2 + 4;
  const across = Math.min(part("field").clientWidth - half, Math.max(half, top[0]));
  pen.fillText(name, across, Math.max(12, top[1] - 5));
  pen.restore();
};

class Hand {
  constructor(scatter, field, on) {
    Object.assign(this, { scatter, field, on, drawing: false, line: [], fingers: new Map() });
    field.addEventListener("pointerdown", (event) => this.down(event));
    field.addEventListener("pointermove", (event) => this.move(event));
    field.addEventListener("pointerup", (event) => this.up(event));
    field.addEventListener("pointercancel", (event) => this.lift(event));
    field.addEventListener("pointerleave", () => this.on.hover(-1));
    field.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), ...this.where(event));
    }, { passive: false });
    field.addEventListener("keydown", (event) => this.key(event));
  }

  where(event) {
    const box = this.field.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  down(event) {
    if (event.button > 0 || !this.scatter.n) return;
    this.field.setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, this.where(event));
    this.start = this.where(event);
    this.moved = false;
    this.span = 0;
    this.encircling = (this.drawing || event.shiftKey) && this.fingers.size === 1;
    this.line = this.encircling ? [this.start] : [];
  }

  move(event) {
    const [x, y] = this.where(event);
    const before = this.fingers.get(event.pointerId);
    if (!before) {
      this.on.hover(this.scatter.n ? this.scatter.at(x, y) : -1, x, y);
      return;
    }
    this.fingers.set(event.pointerId, [x, y]);
    if (Math.hypot(x - this.start[0], y - this.start[1]) > STILL_PX) this.moved = true;
    if (this.fingers.size > 1) return this.pinch();
    if (this.encircling) {
      this.line.push([x, y]);
      this.scatter.draw();
    } else if (this.moved) {
      this.drag(x - before[0], y - before[1]);
    }
  }

  drag(dx, dy) {
    const { eye, ratio, flat } = this.scatter;
    if (flat) {
      eye.x -= (dx * ratio) / this.scatter.scale();
      eye.y += (dy * ratio) / this.scatter.scale();
    } else {
      eye.yaw += dx / 160;
      eye.pitch = Math.max(-1.5, Math.min(1.5, eye.pitch + dy / 160));
    }
    this.scatter.draw();
  }

  pinch() {
    const [[ax, ay], [bx, by]] = [...this.fingers.values()];
    const span = Math.hypot(ax - bx, ay - by);
    if (this.span) this.zoom(span / this.span, (ax + bx) / 2, (ay + by) / 2);
    this.span = span;
    this.moved = true;
    this.encircling = false;
    this.line = [];
  }

  up(event) {
    const [x, y] = this.where(event);
    const own = this.fingers.has(event.pointerId);
    this.lift(event);
    if (!own) return;
    if (this.encircling && this.moved) {
      const line = this.line;
      this.line = [];
      this.scatter.draw();
      this.on.lasso(this.scatter.inside(line));
    } else if (!this.moved && this.scatter.n) {
      this.on.click(this.scatter.at(x, y));
    }
    this.encircling = false;
    this.line = [];
  }

  lift(event) {
    this.fingers.delete(event.pointerId);
    this.span = 0;
  }

  // Nearer by so much; what lies at (x, y) stays there.
  zoom(factor, x, y) {
    const { eye, canvas, ratio, flat } = this.scatter;
    const old = this.scatter.scale();
    eye.zoom = Math.max(0.3, Math.min(NEAREST, eye.zoom * factor));
    if (flat && x !== undefined) {
      const now = this.scatter.scale();
      eye.x += (x * ratio - canvas.width / 2) * (1 / old - 1 / now);
      eye.y -= (y * ratio - canvas.height / 2) * (1 / old - 1 / now);
    }
    this.scatter.draw();
  }

  key(event) {
    const step = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };
    if (step[event.key]) this.drag(...step[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoom(1.25);
    else if (event.key === "-") this.zoom(0.8);
    else if (event.key === "0") this.scatter.home();
    else return;
    event.preventDefault();
  }
}
