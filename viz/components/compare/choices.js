// The choice of layer and head where no page has it: in a file, and in a notebook's cell. Both panes
// follow it.

import { element, setText } from "../shared/controls.js";
import { capital, headName } from "../shared/text.js";

const FUSED = ["mean", "max", "min"];

export class Choices {
  constructor(compare) {
    this.compare = compare;
    this.layer = element("select", { class: "layer" });
    this.head = element("select", { class: "head" });
    const labels = [
      ["Layer", this.layer],
      ["Head", this.head],
    ].map(([name, select]) => element("label", {}, name, " ", select));
    this.root = compare.find(".choices");
    this.root.replaceChildren(...labels);
    for (const select of [this.layer, this.head])
      compare.on(select, "change", () => this.choose(Number(this.layer.value), this.headValue));
  }

  // Take what can be chosen: a number and a count of heads for each layer that both panes have.
  receive({ choices, panes }) {
    this.root.hidden = !choices;
    this.choices = choices;
    if (!choices) return;
    const names = choices.numbers.map((number, at) =>
      element("option", { value: at }, `${number}`),
    );
    this.layer.replaceChildren(...names);
    this.show(panes[0].layer, panes[0].head);
  }

  get headValue() {
    return FUSED.includes(this.head.value) ? this.head.value : Number(this.head.value);
  }

  show(layer, head) {
    this.layer.value = layer;
    const heads = [...FUSED, ...Array(this.choices.heads[layer]).keys()];
    const options = heads.map((one) => element("option", { value: one }, capital(headName(one))));
    this.head.replaceChildren(...options);
    this.head.value = heads.includes(head) ? head : "mean";
  }

  choose(layer, head) {
    this.show(layer, head);
    const chosen = { layer, head: this.headValue };
    for (const pane of this.compare.panes) {
      if (pane.header.method !== "attention") continue;
      Object.assign(pane.header, chosen);
      const where = `Layer ${this.choices.numbers[layer]}, ${headName(chosen.head)}`;
      setText(pane.about, `${where}, from the patch that you point at`);
    }
    this.compare.schedule();
    this.compare.setStateValue?.("view", chosen);
  }

  // [ and ] change the layer, comma and full stop the head, as on Explore.
  onKey(key) {
    const steps = { "[": [-1, 0], "]": [1, 0], ",": [0, -1], ".": [0, 1] };
    if (!this.choices || !(key in steps)) return false;
    const [layers, heads] = steps[key];
    const layer = Math.min(Math.max(Number(this.layer.value) + layers, 0), this.layer.length - 1);
    if (layers) this.choose(layer, this.headValue);
    else {
      const at = (this.head.selectedIndex + heads + this.head.length) % this.head.length;
      this.head.selectedIndex = at;
      this.choose(layer, this.headValue);
    }
    return true;
  }
}
