// Numbers and names as the pages write them.

import { placeName } from "./grid.js";

export function percent(value) {
  return `${(100 * value).toFixed(value < 0.00995 ? 2 : 1)} %`;
}

// Two decimals with a true minus sign, and no sign before a zero.
export function decimals(value) {
  return value
    .toFixed(2)
    .replace(/^-(?!0\.00)/, "−")
    .replace("-", "");
}

// As many digits as a small space has.
export function short(value) {
  const size = Math.abs(value);
  if (size >= 100) return value.toFixed(0);
  return size >= 0.005 || size === 0 ? value.toFixed(2) : value.toExponential(1);
}

export function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export function headName(head) {
  return typeof head === "number" ? `head ${head + 1}` : head;
}

// How the pages call any token.
export function tokenTitle(token, prefix, grid) {
  const patch = token - prefix.length;
  return patch < 0 ? prefixName(prefix[token]) : placeName(patch, grid);
}

// How the pages call a token that is no patch: CLS, register 2.
export function prefixName(name) {
  return name.startsWith("reg") ? `register ${name.slice(3)}` : name.toUpperCase();
}
