// How far apart two maps are: what model/features/map_distance.py computes, patch by patch.

import { samePatch } from "./grid.js";

// The finer of two grids, side by side of each.
export function finerGrid(a, b) {
  return [Math.max(a[0], b[0]), Math.max(a[1], b[1])];
}

// A map on a finer grid, each patch repeated, divided by its sum; null where it holds nothing.
export function sharesOn(grid, values, from) {
  const shares = new Float64Array(grid[0] * grid[1]);
  let total = 0;
  for (let i = 0; i < shares.length; i++) {
    shares[i] = values[samePatch(i, grid, from)];
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
