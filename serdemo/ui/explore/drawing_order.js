/* The order in which points are drawn. */
const SIDE = 512; // squares across the map by which neighbours are brought together

/* All rows (n,) in a mixed order, so that no class lies on top of the others. */
export const mixed = (n) => {
  const order = new Uint32Array(n).map((_, row) => row);
  let seed = 1;
  for (let i = n - 1; i > 0; i--) {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    const j = seed % (i + 1);
    const row = order[i];
    order[i] = order[j];
    order[j] = row;
  }
  return order;
};

/* The same rows with those of a neighbourhood one after another, where the memory that a frame draws to is
   near too; within a neighbourhood their order stays. */
export const gathered = (order, places, axes) => {
  const n = order.length;
  const low = [Infinity, Infinity];
  const high = [-Infinity, -Infinity];
  for (let at = 0; at < n * axes; at += axes) {
    for (let axis = 0; axis < 2; axis++) {
      const value = places[at + axis];
      if (value < low[axis]) low[axis] = value;
      if (value > high[axis]) high[axis] = value;
    }
  }
  const square = (row, axis) => {
    const share = (places[row * axes + axis] - low[axis]) / Math.max(high[axis] - low[axis], 1e-9);
    return Math.min(SIDE - 1, Math.floor(SIDE * share));
  };
  const squares = new Uint32Array(n);
  const starts = new Uint32Array(SIDE * SIDE + 1);
  for (let row = 0; row < n; row++) {
    squares[row] = square(row, 1) * SIDE + square(row, 0);
    starts[squares[row] + 1] += 1;
  }
  for (let at = 1; at < starts.length; at++) starts[at] += starts[at - 1];
  const near = new Uint32Array(n);
  for (const row of order) near[starts[squares[row]]++] = row;
  return near;
};
