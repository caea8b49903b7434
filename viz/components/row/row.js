// The maps of several methods over one photo. The same patch is marked in all of them.

import { Component, mountable } from "../shared/component.js";
import { element, setText } from "../shared/controls.js";
import { drawBox, drawScale, MapCanvas } from "../shared/drawing.js";
import { centreOf, nextPatch, patchAt, patchBox, placeName } from "../shared/grid.js";
import { ARROWS } from "../shared/navigation.js";
import { forPointer, isMouse } from "../shared/pointer.js";
import { capital } from "../shared/text.js";
import { ranksOf, valueAndRank } from "./ranks.js";

class Row extends Component {
  static selector = ".row";

  constructor(root) {
    super(root);
    this.cells = this.find(".cells");
    this.point = null; // the patch that is marked
    this.maps = []; // one a canvas: its values, their ranks, and the line under it
    this.on(root, "keydown", (event) => this.onKey(event));
    this.sizes.observe(this.cells);
  }

  receive(header, { values }) {
    this.header = header;
    this.patches = header.grid[0] * header.grid[1];
    if (this.point >= this.patches) this.point = null;
    this.build(values);
    drawScale(this.find(".bar"), header.style.colors);
    this.showValues();
    this.loadPhoto();
  }

  build(values) {
    const { cells, variants, chosen } = this.header;
    this.maps = [];
    this.cells.classList.toggle("few", cells.length < 3);
    let next = 0;
    const take = () => {
      next += this.patches;
      return values.subarray(next - this.patches, next);
    };
    const figures = cells.map((cell) => {
      const group = element("span", { class: "group" });
      const figure = element("figure", { class: "cell" }, group, this.name(cell));
      figure.dataset.method = cell.id;
      figure.classList.toggle("chosen", cell.id === chosen);
      if (cell.missing) figure.append(element("p", { class: "missing" }, cell.missing));
      else variants.forEach((name, v) => void figure.append(...this.map(cell, name, v, take())));
      return figure;
    });
    this.cells.replaceChildren(...figures);
  }

  name(cell) {
    const { chosen, choosable } = this.header;
    const attributes = { class: "name", title: cell.short };
    if (!choosable) return element("p", attributes, cell.title);
    const name = element("button", { ...attributes, type: "button" }, cell.title);
    name.setAttribute("aria-pressed", cell.id === chosen);
    this.on(name, "click", () => this.choose(cell.id));
    return name;
  }

  map(cell, variant, index, values) {
    const canvas = element("canvas", { class: "photo", role: "img" });
    const parts = [cell.title, variant, "over the photo"].filter(Boolean);
    canvas.setAttribute("aria-label", parts.join(", "));
    for (const event of ["pointermove", "pointerdown"])
      this.on(canvas, event, (e) => this.mark(patchAt(e, canvas, this.header.grid)));
    this.on(canvas, "pointerleave", (e) => isMouse(e) && this.mark(null));
    if (this.header.choosable) this.on(canvas, "click", () => this.choose(cell.id));
    const line = element("p", { class: "value" });
    const note = cell.notes?.[index] ?? "";
    const picture = new MapCanvas(canvas);
    this.maps.push({ canvas, picture, values, line, note, ranks: ranksOf(values) });
    return variant ? [element("p", { class: "which" }, variant), canvas, line] : [canvas, line];
  }

  choose(id) {
    this.setTriggerValue("choose", id);
  }

  // A group is named where it begins, and again where a line begins within it.
  nameGroups() {
    const figures = [...this.cells.children];
    for (const [i, { group }] of this.header.cells.entries()) {
      const isFirst = this.header.cells[i - 1]?.group !== group;
      const isOnNewLine = figures[i - 1]?.offsetTop !== figures[i].offsetTop;
      setText(figures[i].firstChild, isFirst || isOnNewLine ? group : "");
    }
  }

  draw() {
    if (this.header) this.nameGroups();
    if (!this.photo || !this.maps.length) return;
    const { grid, style, box } = this.header;
    const width = this.maps[0].canvas.clientWidth;
    for (const { picture, values } of this.maps) {
      const context = picture.draw(this.photo, values, 1, grid, style, width);
      if (box) drawBox(context, box, { dash: [4, 3] });
      if (this.point !== null) drawBox(context, patchBox(this.point, grid), { rim: 3 });
    }
  }

  mark(patch) {
    if (patch === this.point) return;
    this.point = patch;
    this.showValues();
    this.draw();
  }

  showValues() {
    const { point, patches } = this;
    const { grid, hint } = this.header;
    for (const { values, ranks, line, note } of this.maps) {
      setText(line, point === null ? note : valueAndRank(values[point], ranks[point]));
    }
    const where = () => `${capital(placeName(point, grid))} in every map, of ${patches} patches.`;
    setText(this.find(".readout"), point === null ? forPointer(hint) : where());
  }

  // The first step goes to the middle.
  onKey(event) {
    const { grid } = this.header;
    if (event.key === "Escape") this.mark(null);
    else if (event.key in ARROWS) {
      const next = () => nextPatch(this.point, ARROWS[event.key], grid);
      this.mark(this.point === null ? centreOf(grid) : next());
    } else return;
    event.preventDefault();
  }
}

export default mountable(Row);
