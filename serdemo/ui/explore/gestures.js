/* Pointer, wheel and keys on the map: move or turn it, zoom, draw a lasso, point at a clip. */
const MIN_ZOOM = 0.3;
const MAX_ZOOM = 60;
const STILL_PX = 4; // a press that moved less is a click
const PX_PER_RADIAN = 160;
const MAX_PITCH = 1.5;
const STEPS = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };

/* `on` has the handlers hover(row, x, y), click(row) and lasso(mask). */
export class Gestures {
  constructor(scatter, field, on) {
    Object.assign(this, { scatter, field, on, drawing: false, line: [], pointers: new Map() });
    field.addEventListener("pointerdown", (event) => this.down(event));
    field.addEventListener("pointermove", (event) => this.move(event));
    field.addEventListener("pointerup", (event) => this.up(event));
    field.addEventListener("pointercancel", (event) => this.release(event));
    field.addEventListener("pointerleave", () => this.on.hover(-1));
    field.addEventListener("wheel", (event) => {
      event.preventDefault();
      const perUnit = event.deltaMode ? 0.05 : 0.0016;
      this.zoom(Math.exp(-event.deltaY * perUnit), ...this.position(event));
    }, { passive: false });
    field.addEventListener("keydown", (event) => this.key(event));
  }

  position(event) {
    const box = this.field.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  down(event) {
    if (event.button > 0 || !this.scatter.n) return;
    this.field.setPointerCapture(event.pointerId);
    this.start = this.position(event);
    this.pointers.set(event.pointerId, this.start);
    this.moved = false;
    this.span = 0;
    this.encircling = (this.drawing || event.shiftKey) && this.pointers.size === 1;
    this.line = this.encircling ? [this.start] : [];
  }

  move(event) {
    const [x, y] = this.position(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      this.on.hover(this.scatter.n ? this.scatter.at(x, y) : -1, x, y);
      return;
    }
    this.pointers.set(event.pointerId, [x, y]);
    if (Math.hypot(x - this.start[0], y - this.start[1]) > STILL_PX) this.moved = true;
    if (this.pointers.size > 1) return this.pinch();
    if (this.encircling) {
      this.line.push([x, y]);
      this.scatter.draw();
    } else if (this.moved) {
      this.drag(x - before[0], y - before[1]);
    }
  }

  drag(dx, dy) {
    const { camera, ratio, flat } = this.scatter;
    if (flat) {
      camera.x -= (dx * ratio) / this.scatter.scale();
      camera.y += (dy * ratio) / this.scatter.scale();
    } else {
      camera.yaw += dx / PX_PER_RADIAN;
      const pitch = camera.pitch + dy / PX_PER_RADIAN;
      camera.pitch = Math.max(-MAX_PITCH, Math.min(MAX_PITCH, pitch));
    }
    this.scatter.draw();
  }

  pinch() {
    const [[ax, ay], [bx, by]] = [...this.pointers.values()];
    const span = Math.hypot(ax - bx, ay - by);
    if (this.span) this.zoom(span / this.span, (ax + bx) / 2, (ay + by) / 2);
    this.span = span;
    this.moved = true;
    this.encircling = false;
    this.line = [];
  }

  up(event) {
    const [x, y] = this.position(event);
    const pressed = this.pointers.has(event.pointerId);
    this.release(event);
    if (!pressed) return;
    const { line } = this;
    this.line = [];
    if (this.encircling && this.moved) {
      this.scatter.draw();
      this.on.lasso(this.scatter.inside(line));
    } else if (!this.moved && this.scatter.n) {
      this.on.click(this.scatter.at(x, y));
    }
    this.encircling = false;
  }

  release(event) {
    this.pointers.delete(event.pointerId);
    this.span = 0;
  }

  /* Zooms in by a factor; what lies at (x, y) stays there. */
  zoom(factor, x, y) {
    const { camera, canvas, ratio, flat } = this.scatter;
    const before = this.scatter.scale();
    camera.zoom = Math.max(MIN_ZOOM, Math.min(MAX_ZOOM, camera.zoom * factor));
    if (flat && x !== undefined) {
      const after = this.scatter.scale();
      camera.x += (x * ratio - canvas.width / 2) * (1 / before - 1 / after);
      camera.y -= (y * ratio - canvas.height / 2) * (1 / before - 1 / after);
    }
    this.scatter.draw();
  }

  key(event) {
    if (STEPS[event.key]) this.drag(...STEPS[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoom(1.25);
    else if (event.key === "-") this.zoom(0.8);
    else if (event.key === "0") this.scatter.home();
    else return;
    event.preventDefault();
  }
}
