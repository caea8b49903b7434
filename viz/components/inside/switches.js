// The switches that take one thing away from the head, each beside the step that explains it.

import { element, setText } from "../shared/controls.js";

export const SWITCHES = {
  token: ["positions", "Take the position codes away"],
  scale: ["scale", "Leave the division out"],
  mask: ["mask", "Lift the mask"],
  heads: ["heads", "One merged map for all heads"],
  output: ["output", "Leave the output projection out"],
};

const NAMES = {
  positions: "without position codes",
  scale: "without the division",
  mask: "without the mask",
  heads: "with one merged map",
  output: "without the output projection",
};

// Built when the step changes, so that a slider or a switch keeps the focus while it is used.
export class Switches {
  constructor(inside) {
    this.inside = inside;
    this.root = inside.find(".switch");
    this.width = null; // of the random vectors
  }

  build(step) {
    const { numbers, header } = this.inside;
    const [name, label] = SWITCHES[step] ?? [];
    const nodes = [];
    if (name && header.switches[name]) nodes.push(note(header.switches[name]));
    else if (name) nodes.push(this.toggle(name, label));
    if (step === "scale") nodes.push(this.slider());
    this.root.replaceChildren(...nodes);
    this.root.hidden = nodes.length === 0;
    this.numbers = numbers;
  }

  toggle(name, label) {
    const input = element("input", { type: "checkbox", role: "switch" });
    input.checked = this.inside.numbers.off[name];
    this.inside.on(input, "change", () => this.inside.turn(name, input.checked));
    return element("label", { class: "toggle" }, input, element("span", {}, label));
  }

  slider() {
    const { header } = this.inside;
    this.width ??= header.width;
    const steps = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];
    const at = steps.reduce((best, d, i) => (d <= this.width ? i : best), 0);
    const input = element("input", { type: "range", min: 0, max: steps.length - 1, step: 1 });
    input.value = at;
    this.width = steps[at];
    const shown = element("output", {}, `d = ${this.width}`);
    this.inside.on(input, "input", () => {
      this.width = steps[Number(input.value)];
      setText(shown, `d = ${this.width}`);
      this.inside.schedule();
    });
    return element("label", { class: "slider" }, "Random vectors of width", input, shown);
  }

  // What is off now, wherever the switch stands, and the way back.
  showChanged() {
    const { numbers } = this.inside;
    const changed = this.inside.find(".changed");
    const off = Object.keys(NAMES).filter((name) => numbers.off[name]);
    changed.hidden = off.length === 0;
    setText(
      changed.querySelector("span"),
      `These are no longer the model's own numbers: ${off.map((name) => NAMES[name]).join(", ")}.`,
    );
  }
}

function note(text) {
  return element("p", { class: "note" }, text);
}
