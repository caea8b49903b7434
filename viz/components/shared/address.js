// How a view is written into the address, as viz/pages/shared/view.py does it.

import { rowAndColumn } from "./grid.js";

const DEFAULTS = {
  opacity: 0.75,
  discard: 0,
  colors: "viridis",
  scaling: "map",
  fusion: "mean",
  held: false,
  lines: true,
  smooth: false,
};
export const VIEW_NAMES = ["layer", "head", "from", ...Object.keys(DEFAULTS)];

function place(index) {
  return typeof index === "number" ? String(index + 1) : index;
}

function written(value) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  return typeof value === "number" ? String(Number(value.toPrecision(6))) : value;
}

function tokenName(token, prefix, grid) {
  if (token < prefix.length) return prefix[token];
  const [row, column] = rowAndColumn(token - prefix.length, grid);
  return `r${row + 1}c${column + 1}`;
}

// The parameters of a view; defaults are left out. `layers` has heads, rows and columns of each.
export function viewParams(view, { layers, numbers, prefix }) {
  const params = {
    layer: String(numbers[view.layer]),
    head: place(view.head),
    from: tokenName(view.query, prefix, layers[view.layer].slice(1)),
  };
  for (const [name, usual] of Object.entries(DEFAULTS)) {
    if (name in view && view[name] !== usual) params[name] = written(view[name]);
  }
  return params;
}

export const CAPTION_NAMES = ["layer", "head", "word"];

// The parameters of a caption's view.
export function captionParams({ layer, head, word }) {
  return { layer: place(layer), head: place(head), word: place(word) };
}
