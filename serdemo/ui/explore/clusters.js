/* Outlines round the clusters of one speaker, for the eye to compare. */
const NEAR_PX = 70; // points of a cluster nearer than this are drawn as one island
const MAX_LINKED = 600;
const MARGIN_PX = 13;
const CORNERS = 12; // of the polygon round each point
const MIN_ISLAND = 3; // points of an island beside the largest

/* The corners of the convex hull of points [x, y], one after another. */
export const convexHull = (points) => {
  const sorted = [...points].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const chain = (row) => {
    const corners = [];
    for (const [x, y] of row) {
      while (corners.length > 1) {
        const [[ax, ay], [bx, by]] = corners.slice(-2);
        if ((bx - ax) * (y - ay) > (by - ay) * (x - ax)) break;
        corners.pop();
      }
      corners.push([x, y]);
    }
    return corners;
  };
  const lower = chain(sorted);
  return [...lower, ...chain(sorted.reverse()).slice(1, -1)];
};

/* Connected groups of points, the largest first. */
export const islands = (points) => {
  if (points.length > MAX_LINKED) return [points];
  const rest = new Set(points);
  const groups = [];
  for (const first of points) {
    if (!rest.delete(first)) continue;
    const island = [first];
    for (const [x, y] of island) {
      for (const other of rest) {
        if (Math.hypot(other[0] - x, other[1] - y) > NEAR_PX) continue;
        rest.delete(other);
        island.push(other);
      }
    }
    groups.push(island);
  }
  return groups.sort((a, b) => b.length - a.length);
};

const drawHull = (pen, island, name, ink, width) => {
  const points = convexHull(convexHull(island).flatMap(([x, y]) => Array.from({ length: CORNERS }, (_, i) => {
    const angle = (2 * Math.PI * i) / CORNERS;
    return [x + MARGIN_PX * Math.cos(angle), y + MARGIN_PX * Math.sin(angle)];
  })));
  pen.save();
  pen.strokeStyle = pen.fillStyle = ink;
  pen.beginPath();
  points.forEach(([x, y]) => pen.lineTo(x, y));
  pen.closePath();
  pen.globalAlpha = 0.05;
  pen.fill();
  pen.globalAlpha = 0.55;
  pen.setLineDash([4, 4]);
  pen.stroke();
  pen.globalAlpha = 0.8;
  pen.font = "12px system-ui, sans-serif";
  pen.textAlign = "center";
  const top = points.reduce((best, point) => (point[1] < best[1] ? point : best));
  const half = pen.measureText(name).width / 2 + 4;
  const across = Math.min(width - half, Math.max(half, top[0]));
  pen.fillText(name, across, Math.max(12, top[1] - 5));
  pen.restore();
};

/* Draws an outline wherever some points of a cluster lie near each other, its name above the most.
   `ink` is a colour and `width` that of the map in pixels. */
export const drawCluster = (pen, points, name, ink, width) =>
  islands(points).forEach((island, i) => {
    if (!i || island.length >= MIN_ISLAND) drawHull(pen, island, i ? "" : name, ink, width);
  });
