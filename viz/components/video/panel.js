// The controls beside a clip: tokens that ask, layers and rollout, heads with their small maps.

import { element, listenToStyle, radio, setText, showStyle } from "../shared/controls.js";
import { headName, prefixName, tokenTitle } from "../shared/text.js";

export const FUSED = ["mean", "max", "min"];

export class Panel {
  constructor(video) {
    this.video = video;
    listenToStyle(video, (update) => video.change(update));
  }

  build() {
    const { header } = this.video;
    this.tokens = header.prefix.map((name, token) => {
      const button = element("button", { type: "button", class: "token" }, prefixName(name));
      this.video.on(button, "click", () => this.video.lookFrom(token));
      return button;
    });
    this.patch = element("button", { type: "button", class: "token patch" });
    this.video.find(".tokens").replaceChildren(...this.tokens, this.patch);
    this.layers = header.numbers.map((number, layer) =>
      this.layerChip(`Layer ${number}`, String(number), () => this.video.goToLayer(layer)),
    );
    if (header.rollout) {
      const show = () => this.video.change({ map: "rollout" });
      this.layers.push(this.layerChip("Rollout through all layers", "Rollout", show));
    }
    this.video.find(".layers").replaceChildren(...this.layers.map(({ chip }) => chip));
    this.heads = null;
  }

  layerChip(label, text, choose) {
    const input = radio("layer", label);
    this.video.on(input, "change", choose);
    return { input, chip: element("label", { class: "chip" }, input, text) };
  }

  buildHeads(count) {
    this.heads = [...Array(count).keys(), ...FUSED].map((head) => {
      const input = radio("head", headName(head));
      this.video.on(input, "change", () => this.video.change({ head }));
      const canvas = element("canvas");
      const name = element("span", {}, headName(head));
      return {
        head,
        input,
        canvas,
        label: element("label", { class: "small-map head" }, input, canvas, name),
      };
    });
    this.video.find(".heads").replaceChildren(...this.heads.map(({ label }) => label));
  }

  show() {
    const { view, header, isRollout, style, asking, grid } = this.video;
    const [count] = header.layers[view.layer];
    if (this.heads?.length !== count + FUSED.length) this.buildHeads(count);
    for (const [layer, { input }] of this.layers.entries()) {
      input.checked = isRollout ? layer === header.numbers.length : layer === view.layer;
    }
    for (const { head, input } of this.heads) input.checked = head === view.head;
    this.video.find(".head-group").hidden = isRollout;
    for (const [token, button] of this.tokens.entries()) {
      button.setAttribute("aria-pressed", `${token === asking}`);
      button.hidden = header.fixed && token !== asking; // a file has the maps of one token
    }
    const isPatch = asking >= header.prefix.length;
    this.patch.hidden = header.fixed && !isPatch;
    this.patch.setAttribute("aria-pressed", `${isPatch}`);
    setText(this.patch, isPatch ? tokenTitle(asking, header.prefix, grid) : "a patch: click one");
    showStyle(this.video, style);
  }
}
