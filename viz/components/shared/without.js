// Links to the page What if, with the chosen head switched off, or the held patch hidden. A click
// opens it in the same session; in a new tab, or sent to somebody, the address says the same.

import { setText } from "./controls.js";

export class WithoutLinks {
  constructor(component) {
    this.component = component;
    for (const kind of ["head", "patch"])
      component.on(this.link(kind), "click", (event) => this.open(event, kind));
  }

  link(kind) {
    return this.component.find(`.without .${kind}`);
  }

  // `base` is the address without either, `head` is [row of the sheet, number of that row as an
  // address has it, head], and `patch` its number; null for none.
  show(base, head, patch) {
    this.chosen = {
      head: head && { off: [[head[0], head[2]]] },
      patch: patch !== null && { hidden: [patch] },
    };
    const params = { head: head && `off=${head[1]}.${head[2] + 1}`, patch: `hidden=${patch}` };
    for (const kind of ["head", "patch"]) {
      const link = this.link(kind);
      link.hidden = !base || !this.chosen[kind];
      link.href = `${base}&${params[kind]}`;
    }
    if (head) setText(this.link("head"), `Without head ${head[2] + 1}`);
  }

  open(event, kind) {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button > 0) return; // a new tab
    event.preventDefault();
    this.component.setTriggerValue("without", this.chosen[kind]);
  }
}
