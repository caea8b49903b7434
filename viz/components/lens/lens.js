// The lens: the class that every patch would answer with after each layer, as small multiples, and
// the probability of one class through the layers as curves. The mouse marks a patch in all.

import { Component, mountable } from "../shared/component.js";
import { element, setText } from "../shared/controls.js";
import { drawBox, fitCanvas, mutedPhoto } from "../shared/drawing.js";
import { nextPatch, patchAt, patchBox, placeName } from "../shared/grid.js";
import { ARROWS, isShortcut } from "../shared/navigation.js";
import { capital, percent } from "../shared/text.js";
import { drawCurves } from "./chart.js";

const MUTED = { saturation: 0.35, brightness: 0.9 };
const OTHER = [140, 140, 140];

class Lens extends Component {
  static selector = ".lens";

  constructor(root) {
    super(root);
    this.on(root, "keydown", (event) => this.onKey(event));
    this.sizes.observe(root);
  }

  receive(header, arrays) {
    const changed = header.id !== this.header?.id;
    Object.assign(this, { header, arrays });
    if (changed) {
      this.chosen = header.chosen;
      this.held = header.patch;
      this.hovered = null;
      this.layer = header.layers - 1;
      this.build();
    }
    this.loadPhoto();
  }

  build() {
    const { layers, classes, palette } = this.header;
    this.panes = Array.from({ length: layers }, (_, layer) => this.pane(layer));
    this.find(".layers").replaceChildren(...this.panes.map((pane) => pane.figure));
    this.buttons = classes.map((name, index) => {
      const swatch = element("span", { class: "swatch" });
      swatch.style.background = `rgb(${palette[index].join(" ")})`;
      const attributes = { type: "button", class: "class", role: "radio" };
      const button = element("button", attributes, swatch, element("bdi", {}, name));
      this.on(button, "click", () => this.choose(index));
      return button;
    });
    this.find(".legend").replaceChildren(...this.buttons);
    this.mark();
  }

  pane(layer) {
    const canvas = element("canvas", {
      class: "photo",
      tabindex: "0",
      role: "application",
      "aria-label": `Layer ${layer + 1}. Arrow keys go from patch to patch.`,
    });
    const caption = element("figcaption", {}, `Layer ${layer + 1}`);
    const pane = { canvas, layer, paint: this.paint(layer) };
    pane.figure = element("figure", { class: "layer" }, caption, canvas);
    this.on(canvas, "pointermove", (event) => this.hover(layer, this.patchAt(event, canvas)));
    this.on(canvas, "pointerleave", () => this.hover(this.layer, null));
    this.on(canvas, "click", (event) => this.hold(layer, this.patchAt(event, canvas)));
    return pane;
  }

  // A canvas with one pixel a patch: the colour of its class, opaque as the class is likely.
  paint(layer) {
    const { grid, palette } = this.header;
    const [rows, columns] = grid;
    const canvas = element("canvas");
    canvas.width = columns;
    canvas.height = rows;
    const context = canvas.getContext("2d");
    const image = context.createImageData(columns, rows);
    for (let patch = 0; patch < rows * columns; patch++) {
      const [red, green, blue] = palette[this.bestOf(layer, patch)] ?? OTHER;
      const share = this.arrays.bestShare[layer * rows * columns + patch];
      image.data.set([red, green, blue, 70 + 170 * Math.sqrt(share)], 4 * patch);
    }
    context.putImageData(image, 0, 0);
    return canvas;
  }

  bestOf(layer, patch) {
    return this.arrays.best[layer * this.patches + patch];
  }

  get patches() {
    return this.header.grid[0] * this.header.grid[1];
  }

  get patch() {
    return this.hovered ?? this.held;
  }

  // -- drawing ---------------------------------------------------------------------------

  draw() {
    if (!this.photo) return;
    for (const pane of this.panes) this.drawPane(pane);
    this.drawChart();
    this.read();
  }

  drawPane({ canvas, paint }) {
    const { photo, patch } = this;
    fitCanvas(canvas, photo.width / photo.height);
    const context = canvas.getContext("2d");
    context.drawImage(mutedPhoto(photo, canvas.width, canvas.height, MUTED), 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(paint, 0, 0, canvas.width, canvas.height);
    drawBox(context, patchBox(patch, this.header.grid), { rim: 3 });
  }

  drawChart() {
    const { curveNames, layers, classes, grid } = this.header;
    const style = getComputedStyle(this.root);
    const [text, line, font, accent] = ["text-color", "border-color", "font", "primary-color"].map(
      (name) => style.getPropertyValue(`--st-${name}`),
    );
    const count = curveNames.length;
    const named = curveNames.map((_, curve) => {
      const at = (this.chosen * count + curve) * layers;
      return this.arrays.curves.subarray(at, at + layers);
    });
    const own = Array.from({ length: layers }, (_, layer) => this.shareOf(layer, this.patch));
    const colors = [text, "#d55e00", "#009e73"].slice(0, count).concat(accent);
    drawCurves(this.find(".curves"), [...named, own], colors, { text, line, font });
    const names = [...curveNames, `the patch at ${placeName(this.patch, grid)}`];
    this.showKeys(names, colors);
    setText(this.find(".title"), `Probability of ${classes[this.chosen]}`);
    const last = own[layers - 1];
    const label = `${classes[this.chosen]} through ${layers} layers; this patch ends at ${percent(last)}`;
    this.find(".curves").setAttribute("aria-label", label);
  }

  showKeys(names, colors) {
    const keys = names.map((name, index) => {
      const dash = element("span", { class: "dash" });
      dash.style.borderTopColor = colors[index];
      return element("span", { class: "key" }, dash, name);
    });
    this.find(".keys").replaceChildren(...keys);
  }

  shareOf(layer, patch) {
    const { layers } = this.header;
    return this.arrays.shares[(this.chosen * layers + layer) * this.patches + patch];
  }

  read() {
    const { classes, others, grid } = this.header;
    const best = this.bestOf(this.layer, this.patch);
    const name = classes[best] ?? others[best - classes.length];
    const share = this.arrays.bestShare[this.layer * this.patches + this.patch];
    const where = `Layer ${this.layer + 1}, ${placeName(this.patch, grid)}`;
    const words = `${capital(name)} ${percent(share)}.`;
    this.find(".readout").replaceChildren(element("b", {}, where), element("bdi", {}, words));
  }

  // -- mouse and keyboard ----------------------------------------------------------------

  patchAt(event, canvas) {
    return this.header ? patchAt(event, canvas, this.header.grid) : null;
  }

  hover(layer, patch) {
    if (layer === this.layer && patch === this.hovered) return;
    this.layer = layer;
    this.hovered = patch;
    this.schedule();
  }

  hold(layer, patch) {
    if (patch === null) return;
    this.held = patch;
    this.hover(layer, null);
    this.schedule();
  }

  onKey(event) {
    if (!this.header || isShortcut(event) || !(event.key in ARROWS)) return;
    const pane = this.panes.find(({ canvas }) => canvas === event.target);
    if (!pane) return;
    event.preventDefault();
    this.hold(pane.layer, nextPatch(this.patch, ARROWS[event.key], this.header.grid));
  }

  choose(index) {
    this.chosen = index;
    this.mark();
    this.schedule();
  }

  mark() {
    this.buttons.forEach((button, index) => {
      button.setAttribute("aria-checked", `${index === this.chosen}`);
    });
  }
}

export default mountable(Lens);
