// The experiment of the page What if, which its components share: the heads that are off, the
// patches that are hidden, and how. Each change is drawn at once; Python hears of it as an act.

import { pageWide } from "./page_wide.js";

// `scope` tells figures apart that share a page, as in a notebook.
export function sharedExperiment(scope = "") {
  return pageWide(`experiment ${scope}`, () => new Experiment());
}

class Experiment {
  listeners = new Set();
  serial = 0; // of the last act
  off = new Set(); // "layer head"
  hidden = new Set();
  hide = "mean";
  by = "zero";
  query = 0;

  // Take the experiment as Python has it, unless something was done since.
  take({ session, serial, off, hidden, hide, by, query }) {
    const isNew = session !== this.session;
    if (!isNew && serial < this.serial) return;
    this.off = new Set(off.map((place) => place.join(" ")));
    this.hidden = new Set(hidden);
    Object.assign(this, { session, serial, hide, by, query });
    this.tell();
  }

  // Somebody did something: the number of the act is returned.
  change(update) {
    Object.assign(this, update);
    this.serial += 1;
    this.tell();
    return this.serial;
  }

  tell() {
    for (const listen of this.listeners) listen();
  }

  // Layer and head of each head that is off, in order.
  get places() {
    const places = [...this.off].map((place) => place.split(" ").map(Number));
    return places.sort(([a, b], [c, d]) => a - c || b - d);
  }

  get patches() {
    return [...this.hidden].sort((a, b) => a - b);
  }

  // The question for the answer, as viz/pages/what_if_source.py reads it.
  get question() {
    const off = this.places.map(([layer, head]) => `${layer + 1}.${head + 1}`).join(",");
    const hidden = rangesOf(this.patches).join(",");
    return [this.query, off || "-", this.by, hidden || "-", this.hide].join("/");
  }
}

// Numbers in order as ranges: 3-5, 9.
export function rangesOf(numbers) {
  const ranges = [];
  for (const number of numbers) {
    const last = ranges.at(-1);
    if (last && last[1] === number - 1) last[1] = number;
    else ranges.push([number, number]);
  }
  return ranges.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`));
}
