// Moving by keyboard: which keys are meant for a component, and from head to head.

import { clamp } from "./grid.js";

// What an arrow key moves: [down, right].
export const ARROWS = {
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
};

// Whether a key is meant for the browser or the system. Many keyboards have [ and ] only with
// Option or AltGr; typed so, they are meant for the component.
export function isShortcut(event) {
  const typed = event.altKey && (event.key === "[" || event.key === "]");
  return event.metaKey || ((event.ctrlKey || event.altKey) && !typed);
}

// The next of a list, around its end. What is not in the list counts as one before its first.
export function nextOf(list, item, step) {
  return list[(list.indexOf(item) + step + list.length) % list.length];
}

// A head's number, or "mean", "max", "min", in a layer with so many heads.
export function fitHead(head, heads) {
  return typeof head === "number" ? Math.min(head, heads - 1) : head;
}

// One step [down, right] on the sheet of layers and heads, whose rows may differ in length.
export function nextHead([layer, head], [down, right], headCounts) {
  const next = clamp(layer + down, 0, headCounts.length - 1);
  return [next, clamp(head + right, 0, headCounts[next] - 1)];
}
