// The diagram of the model's block: its parts in a row, residual connections above. Any part can
// be chosen.

import { element } from "../shared/controls.js";
import { formula } from "./figures.js";

export class Diagram {
  constructor(inside) {
    this.inside = inside;
    this.root = inside.find(".diagram");
  }

  build() {
    const { parts, skips } = this.inside.header;
    this.buttons = parts.map((part) => this.button(part));
    this.arcs = skips.map(([from, to]) => {
      const arc = element("li", { class: "skip", "aria-hidden": "true" });
      return { arc, from: this.buttons[from], to: this.buttons[to] };
    });
    this.root.replaceChildren(
      ...this.buttons.map((button) => element("li", { class: "place" }, button)),
      ...this.arcs.map(({ arc }) => arc),
    );
  }

  button({ step, name, note, round }) {
    const button = element(
      "button",
      { type: "button", class: round ? "part round" : "part" },
      element("span", { class: "name" }, ...formula(name)),
    );
    if (note) button.append(element("small", {}, note));
    button.dataset.step = step;
    this.inside.on(button, "click", () => this.inside.goTo(step));
    return button;
  }

  // Several parts may belong to one step.
  mark() {
    const { step } = this.inside.view;
    for (const button of this.buttons) {
      const now = button.dataset.step === step;
      button.classList.toggle("now", now);
      if (now) button.setAttribute("aria-current", "step");
      else button.removeAttribute("aria-current");
    }
    this.drawArcs();
  }

  // From the middle of one part to the middle of another; none where the parts wrap into rows.
  drawArcs() {
    const isWrapped = this.buttons.some(
      (part) => Math.abs(part.offsetTop - this.buttons[0].offsetTop) > part.offsetHeight / 2,
    );
    this.root.classList.toggle("wrapped", isWrapped);
    for (const { arc, from, to } of this.arcs) {
      const [left, right] = [from, to].map((part) => part.offsetLeft + part.offsetWidth / 2);
      arc.hidden = Math.abs(from.offsetTop - to.offsetTop) > from.offsetHeight / 2;
      arc.style.left = `${left}px`;
      arc.style.width = `${right - left}px`;
    }
  }
}
