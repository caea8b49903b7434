// Whether the page is shown on a projector: larger type, stronger contrast, thicker marks, fewer
// controls. The choice stays in this browser.

import { pageWide } from "./page_wide.js";

const PLACE = "saccade.projector";
const THICKER = 1.8;

export function projector() {
  return pageWide("projector", () => new Projector(() => globalThis.localStorage));
}

// How much thicker marks are drawn than on a screen of one's own.
export function markScale() {
  return projector().on ? THICKER : 1;
}

export class Projector {
  value = ""; // "light" or "dark" on a projector
  listeners = new Set();

  // `storage` returns where the choice is kept. A browser may refuse that; then it lasts as long as
  // the page.
  constructor(storage) {
    this.storage = storage;
  }

  get on() {
    return this.value !== "";
  }

  // What was chosen in this browser before.
  get remembered() {
    try {
      return this.storage().getItem(PLACE) === "yes";
    } catch {
      return false;
    }
  }

  remember(on) {
    try {
      if (on) this.storage().setItem(PLACE, "yes");
      else this.storage().removeItem(PLACE);
    } catch {
      // Storage is full or refused.
    }
  }

  // Show the page so, in the scheme "light" or "dark".
  show(on, scheme) {
    const value = on ? scheme : "";
    if (value === this.value) return;
    this.value = value;
    this.mark(document.documentElement);
    for (const listener of this.listeners) listener();
  }

  // Let an element have a projector's colours, or its own again.
  mark(node) {
    if (this.on) node.dataset.projector = this.value;
    else delete node.dataset.projector;
  }
}
