// How far apart two maps are: what model/features/map_distance.py computes, patch by patch.
//
// A map lies over a part of a photo: {grid, box}, where box is [left, top, right, bottom] as shares
// of the photo. A place is [x, y], as shares of the photo too.

// The place in the middle of a patch.
export function placeOf(patch, { grid: [rows, columns], box: [left, top, right, bottom] }) {
  const [row, column] = [Math.floor(patch / columns), patch % columns];
  return [
    left + ((column + 0.5) / columns) * (right - left),
    top + ((row + 0.5) / rows) * (bottom - top),
  ];
}

// The patch at a place, or the nearest one.
export function patchThere([x, y], { grid: [rows, columns], box: [left, top, right, bottom] }) {
  const row = Math.floor(((y - top) / (bottom - top)) * rows);
  const column = Math.floor(((x - left) / (right - left)) * columns);
  const within = (index, count) => Math.min(count - 1, Math.max(0, index));
  return within(row, rows) * columns + within(column, columns);
}

export function isInside([x, y], [left, top, right, bottom]) {
  return x >= left && x <= right && y >= top && y <= bottom;
}

// The part of the photo that both maps cover, in patches as fine as the finer map's; null where
// there is none.
export function commonPart(a, b) {
  const box = [0, 1].map((i) => Math.max(a.box[i], b.box[i]));
  box.push(...[2, 3].map((i) => Math.min(a.box[i], b.box[i])));
  if (!(box[2] > box[0] && box[3] > box[1])) return null;
  const count = ({ grid, box: whole }, side) =>
    Math.round(
      (grid[side] * (box[3 - side] - box[1 - side])) / (whole[3 - side] - whole[1 - side]),
    );
  const grid = [0, 1].map((side) => Math.max(1, count(a, side), count(b, side)));
  return { grid, box };
}

// A map over a part of what it covers, each patch repeated, divided by its sum there; null where it
// holds nothing.
export function sharesOn(part, values, from) {
  const shares = new Float64Array(part.grid[0] * part.grid[1]);
  let total = 0;
  for (let i = 0; i < shares.length; i++) {
    shares[i] = values[patchThere(placeOf(i, part), from)];
    total += shares[i];
  }
  if (!(total > 0)) return null;
  for (let i = 0; i < shares.length; i++) shares[i] /= total;
  return shares;
}

// The Jensen-Shannon divergence of two distributions, in nats: from 0 to ln 2.
export function divergence(p, q) {
  let sum = 0;
  for (let i = 0; i < p.length; i++) {
    const middle = (p[i] + q[i]) / 2;
    if (p[i] > 0) sum += p[i] * Math.log(p[i] / middle);
    if (q[i] > 0) sum += q[i] * Math.log(q[i] / middle);
  }
  return Math.min(Math.LN2, Math.max(0, sum / 2));
}

// Spearman's rank correlation; NaN where a map is the same everywhere.
export function rankCorrelation(p, q) {
  return correlation(ranks(p), ranks(q));
}

// Ranks from 0; equal values share the mean of theirs.
function ranks(values) {
  const ordered = Float64Array.from(values).sort();
  const mean = new Map();
  for (let i = 0; i < ordered.length; ) {
    let end = i;
    while (end < ordered.length && ordered[end] === ordered[i]) end++;
    mean.set(ordered[i], (i + end - 1) / 2);
    i = end;
  }
  return values.map((value) => mean.get(value));
}

function correlation(p, q) {
  const middle = (p.length - 1) / 2; // the mean of the ranks
  let [pq, pp, qq] = [0, 0, 0];
  for (let i = 0; i < p.length; i++) {
    const [a, b] = [p[i] - middle, q[i] - middle];
    pq += a * b;
    pp += a * a;
    qq += b * b;
  }
  return pq / Math.sqrt(pp * qq);
}
