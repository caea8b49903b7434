// The explorer's controls: tokens that are no patch, layers, heads with their small maps, the
// model's guess, and how maps are drawn.

import { element, listenToStyle, radio, setText, shareRow, showStyle } from "../shared/controls.js";
import { drawScale, MapCanvas } from "../shared/drawing.js";
import { headName, prefixName } from "../shared/text.js";

const FUSED = { mean: "mean: average", max: "max: any head", min: "min: all heads" };

// What the buttons of a layer with so many heads stand for.
export function headsAndFusions(heads) {
  return [...Array(heads).keys(), ...Object.keys(FUSED)];
}

export class ControlPanel {
  constructor(explorer) {
    this.explorer = explorer;
    listenToStyle(explorer, (update) => explorer.change(update));
  }

  // For another model or picture.
  build() {
    const { classes, note } = this.explorer.header;
    this.buildTokens();
    this.buildLayers();
    const rows = classes.map(([name, share]) => shareRow("li", name, share));
    this.explorer.find(".classes").replaceChildren(...rows);
    setText(this.explorer.find(".prediction .note"), note);
    this.explorer.find(".prediction").hidden = classes.length === 0 && !note;
  }

  buildTokens() {
    const { explorer } = this;
    this.tokens = explorer.header.prefix.map((name, token) => {
      const share = element("small");
      const button = element("button", { type: "button", class: "token" }, prefixName(name), share);
      explorer.on(button, "click", () => explorer.change({ query: token, held: true }));
      return { button, share };
    });
    this.patch = element("button", { type: "button", class: "token patch" });
    explorer.on(this.patch, "click", () => {
      if (explorer.view.query < explorer.firstPatch) explorer.move([0, 0]);
    });
    const buttons = this.tokens.map(({ button }) => button);
    explorer.find(".tokens").replaceChildren(...buttons, this.patch);
  }

  buildLayers() {
    const { explorer } = this;
    this.layers = [];
    const chips = explorer.header.numbers.map((number, layer) => {
      const input = radio("layer", `Layer ${number}`);
      explorer.on(input, "change", () => explorer.goTo(layer));
      this.layers.push(input);
      return element("label", { class: "chip" }, input, String(number));
    });
    explorer.find(".layers").replaceChildren(...chips);
  }

  buildHeads() {
    const { explorer } = this;
    this.heads = headsAndFusions(explorer.heads).map((head) => {
      const name = headName(head);
      const input = radio("head", name);
      explorer.on(input, "change", () => explorer.change({ head }));
      const canvas = element("canvas");
      const label = element(
        "label",
        { class: "small-map head" },
        input,
        canvas,
        element("span", {}, FUSED[head] ?? name),
      );
      return { head, input, label, picture: new MapCanvas(canvas) };
    });
    const labels = this.heads.map(({ label }) => label);
    explorer.find(".heads").replaceChildren(...labels.slice(0, explorer.heads));
    explorer.find(".fused").replaceChildren(...labels.slice(explorer.heads));
  }

  show() {
    const { view, style, heads, layer, root } = this.explorer;
    if (this.heads?.length !== headsAndFusions(heads).length) this.buildHeads();
    if (!layer) root.classList.add("waiting");
    for (const [number, input] of this.layers.entries()) input.checked = number === view.layer;
    for (const { head, input } of this.heads) input.checked = head === view.head;
    showStyle(this.explorer, style);
    drawScale(this.explorer.find(".bar"), style.colors);
  }
}
