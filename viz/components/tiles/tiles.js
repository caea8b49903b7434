// Similarity tiles of several codes: the mouse over a tile enlarges it in each of them.

import { opaquePalette } from "../shared/colors.js";
import { Component, mountable } from "../shared/component.js";
import { element } from "../shared/controls.js";
import { drawBox, drawScale, fitCanvas, pixelRatio } from "../shared/drawing.js";
import { centreOf, nextPatch, patchAt, patchBox, placeName, rowAndColumn } from "../shared/grid.js";
import { ARROWS } from "../shared/navigation.js";
import { isMouse } from "../shared/pointer.js";
import { capital, short } from "../shared/text.js";
import { paintMosaic } from "./mosaic.js";

class Tiles extends Component {
  static selector = ".tiles";

  constructor(root) {
    super(root);
    this.sizes.observe(root);
  }

  receive(header, arrays) {
    const known = this.header && String(this.header.patches) === String(header.patches);
    this.header = header;
    if (!known) this.chosen = centreOf(header.tiles);
    this.panels = header.titles.map((title, i) => this.panel(title, i, arrays[`values${i}`]));
    this.root.replaceChildren(...this.panels.map((panel) => panel.figure));
    this.draw();
  }

  panel(title, index, values) {
    const { spans, style, unit, tiles } = this.header;
    const [low, high] = spans[index];
    const mosaic = element("canvas", {
      class: "mosaic",
      tabindex: "0",
      role: "img",
      "aria-label": `${title}: ${unit} of each patch with all others. Arrow keys choose.`,
    });
    const bar = element("canvas", { class: "bar", "aria-hidden": "true" });
    const large = element("canvas", { class: "large", "aria-hidden": "true" });
    const readout = element("p", { class: "readout" });
    if (index === 0) readout.setAttribute("aria-live", "polite");
    const scale = element("div", { class: "scale" }, short(low), bar, short(high));
    const detail = element("div", { class: "detail" }, large, readout);
    const heading = element("p", { class: "title" }, title);
    const figure = element("figure", { class: "panel" }, heading, mosaic, scale, detail);
    drawScale(bar, style.colors);
    const picture = paintMosaic(values, [low, high], this.header, opaquePalette(style.colors));
    const panel = { figure, mosaic, large, readout, values, picture };
    for (const name of ["pointermove", "pointerdown"])
      this.on(mosaic, name, (event) => this.choose(patchAt(event, mosaic, tiles)));
    this.on(mosaic, "keydown", (event) => this.onKey(event));
    for (const name of ["pointermove", "pointerdown"])
      this.on(large, name, (event) => this.read(event, panel));
    this.on(large, "pointerleave", (event) => isMouse(event) && this.describe(panel));
    return panel;
  }

  draw() {
    if (!this.panels) return;
    const accent = getComputedStyle(this.root).getPropertyValue("--st-primary-color");
    for (const panel of this.panels) {
      this.drawMosaic(panel, accent);
      this.drawLarge(panel);
      this.describe(panel);
    }
  }

  // Left, top, width and height of the chosen tile, in pixels of the picture.
  get tile() {
    const [rows, columns] = this.header.grid;
    const [row, column] = rowAndColumn(this.chosen, this.header.tiles);
    return [column * (columns + 1), row * (rows + 1), columns, rows];
  }

  drawMosaic({ mosaic, picture }, accent) {
    fitCanvas(mosaic, picture.width / picture.height);
    const context = mosaic.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.clearRect(0, 0, mosaic.width, mosaic.height);
    context.drawImage(picture, 0, 0, mosaic.width, mosaic.height);
    const [x, y, width, height] = this.tile;
    const [scaleX, scaleY] = [mosaic.width / picture.width, mosaic.height / picture.height];
    context.strokeStyle = accent;
    context.lineWidth = 3 * pixelRatio();
    context.strokeRect(x * scaleX, y * scaleY, width * scaleX, height * scaleY);
  }

  // The chosen tile, with the patch itself framed in it.
  drawLarge({ large, picture }) {
    const { grid } = this.header;
    fitCanvas(large, grid[1] / grid[0]);
    const context = large.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(picture, ...this.tile, 0, 0, large.width, large.height);
    drawBox(context, patchBox(this.patch, grid), { rim: 3 });
  }

  get patch() {
    return this.header.patches[this.chosen];
  }

  valuesOf(panel) {
    const [rows, columns] = this.header.grid;
    return panel.values.subarray(this.chosen * rows * columns, (this.chosen + 1) * rows * columns);
  }

  describe(panel) {
    const values = this.valuesOf(panel);
    let best = this.patch === 0 ? 1 : 0;
    for (let patch = 0; patch < values.length; patch++) {
      if (patch !== this.patch && values[patch] > values[best]) best = patch;
    }
    const place = placeName(best, this.header.grid);
    this.write(panel, values.length > 1 ? `Most like ${place}: ${short(values[best])}` : "");
  }

  read(event, panel) {
    const { grid, unit } = this.header;
    const patch = patchAt(event, panel.large, grid);
    if (patch === null) return;
    const value = short(this.valuesOf(panel)[patch]);
    this.write(panel, capital(`${unit} with ${placeName(patch, grid)}: ${value}`));
  }

  write({ readout }, line) {
    const own = `Patch at ${placeName(this.patch, this.header.grid)}.`;
    readout.replaceChildren(element("span", {}, own), element("span", {}, line));
  }

  onKey(event) {
    if (!(event.key in ARROWS)) return;
    event.preventDefault();
    this.choose(nextPatch(this.chosen, ARROWS[event.key], this.header.tiles));
  }

  choose(tile) {
    if (tile === null || tile === this.chosen) return;
    this.chosen = tile;
    this.draw();
  }
}

export default mountable(Tiles);
