// Every head of every layer from one query, on one grid. A click opens the head in the explorer.
// Small models' maps are computed here from all layers; of a large one the server sends the rows.

import { palette } from "../shared/colors.js";
import { Component, mountable } from "../shared/component.js";
import { setText } from "../shared/controls.js";
import { fitCanvas, mutedPhoto, paintMap, pixelRatio } from "../shared/drawing.js";
import { sameToken } from "../shared/grid.js";
import { ARROWS, nextHead } from "../shared/navigation.js";
import { beginView } from "../shared/shared_view.js";
import { percent, prefixName, tokenTitle } from "../shared/text.js";
import { SheetMaps } from "./maps.js";

const LABEL = 22; // pixels beside and above the maps, for the numbers

class Sheet extends Component {
  static selector = ".sheet";

  constructor(root) {
    super(root);
    this.canvas = this.find("canvas");
    this.cursor = null; // [layer, head] that the mouse or the keys have reached
    this.on(this.canvas, "pointermove", (event) => this.point(this.cellAt(event)));
    this.on(this.canvas, "pointerleave", () => this.point(null));
    this.on(this.canvas, "click", (event) => this.open(this.cellAt(event)));
    this.on(this.canvas, "keydown", (event) => this.onKey(event));
    this.sizes.observe(root);
    this.whenNear(() => {
      this.near = true;
      this.viewChanged();
    });
  }

  receive(header) {
    this.header = header;
    this.maps = null;
    this.loadPhoto();
    this.follow(beginView(header, this.answers));
    if (this.cursor && !this.exists(...this.cursor)) this.point(null);
    this.viewChanged();
  }

  get view() {
    return this.followed.values;
  }

  get style() {
    return { ...this.header.style, ...this.view };
  }

  // -- the maps --------------------------------------------------------------------------

  viewChanged() {
    if (!this.header) return;
    const { layers, prefix } = this.header;
    const place = tokenTitle(this.view.query, prefix, layers[this.view.layer].slice(1));
    const grid = "A row is a layer, a column a head; each map is scaled to its own maximum.";
    setText(this.find(".lead"), `From ${place}. ${grid} Choose one to open it above.`);
    if (this.near) this.loadMaps();
    this.schedule();
  }

  // The maps that were asked for last are shown; until they are here, the ones before.
  loadMaps() {
    const { header, answers, view } = this;
    const id = `${view.layer} ${view.query}`;
    if (this.maps?.id === id) return;
    const show = (maps) => {
      if (this.answers === answers && id === `${this.view.layer} ${this.view.query}`) {
        this.maps = Object.assign(maps, { id });
      }
    };
    const questions = header.whole
      ? header.layers.map((_, layer) => `layer/${layer}`)
      : [`sheet/${view.layer}/${view.query}`];
    const here = questions.map((question) => answers.here(question));
    const make = (parts) =>
      header.whole
        ? SheetMaps.fromLayers(header, view, parts)
        : SheetMaps.fromServer(header, parts[0]);
    if (here.every(Boolean)) return show(make(here));
    const parts = Promise.all(questions.map((question) => answers.part(question)));
    this.wait(parts, (found) => show(make(found)));
  }

  // As large as the width allows, but no taller than a screen and no larger than a thumbnail.
  get layout() {
    const rows = this.header.layers.length;
    const columns = Math.max(...this.header.layers.map(([heads]) => heads));
    const width = this.root.clientWidth;
    const aspect = this.photo.width / this.photo.height;
    const tallest = Math.max(40, (columns < 5 ? 900 : 640) / rows);
    const cell = Math.min(150, (width - LABEL) / columns, tallest * aspect);
    return { cell, height: cell / aspect, gap: Math.max(1, cell * 0.04), rows, columns, width };
  }

  draw() {
    if (!this.photo) return;
    const { layer, head } = this.view;
    const { height, rows, width } = this.layout;
    const tall = LABEL + rows * height;
    fitCanvas(this.canvas, width / tall, width);
    const context = this.canvas.getContext("2d");
    context.setTransform(pixelRatio(), 0, 0, pixelRatio(), 0, 0);
    context.clearRect(0, 0, width, tall);
    this.drawMaps(context);
    const style = getComputedStyle(this.canvas);
    const accent = style.getPropertyValue("--st-primary-color").trim() || style.color;
    this.drawNumbers(context, style);
    if (typeof head === "number") this.frameHead(context, layer, head, accent, 3);
    if (this.cursor) this.frameHead(context, ...this.cursor, style.color, 1.5);
  }

  drawMaps(context) {
    const { style, maps } = this;
    const { cell, height, gap, rows, columns } = this.layout;
    const inner = [cell - gap, height - gap];
    const size = inner.map((side) => Math.ceil(side * pixelRatio()));
    const base = mutedPhoto(this.photo, ...size, style);
    const colors = palette(style);
    let map;
    context.imageSmoothingEnabled = false;
    for (let i = 0; i < rows * columns; i++) {
      const [layer, head] = [Math.floor(i / columns), i % columns];
      if (!this.exists(layer, head)) continue;
      const corner = [LABEL + head * cell, LABEL + layer * height];
      context.drawImage(base, ...corner, ...inner);
      if (!maps) continue;
      map = paintMap(maps.map(i), maps.tops[i], maps.grid, colors, map);
      context.drawImage(map, ...corner, ...inner);
    }
  }

  drawNumbers(context, style) {
    const { cell, height, rows, columns } = this.layout;
    context.fillStyle = style.color;
    context.font = `11px ${style.fontFamily}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (let i = 0; i < columns; i++) {
      context.fillText(i + 1, LABEL + (i + 0.5) * cell, LABEL / 2);
    }
    for (let i = 0; i < rows; i++) {
      context.fillText(this.header.numbers[i], LABEL / 2, LABEL + (i + 0.5) * height);
    }
  }

  frameHead(context, layer, head, color, line) {
    const { cell, height, gap } = this.layout;
    context.strokeStyle = color;
    context.lineWidth = line;
    context.strokeRect(
      LABEL + head * cell + line / 2 - 1,
      LABEL + layer * height + line / 2 - 1,
      cell - gap - line + 2,
      height - gap - line + 2,
    );
  }

  cellAt(event) {
    if (!this.photo) return null;
    const { cell, height } = this.layout;
    const box = this.canvas.getBoundingClientRect();
    const head = Math.floor((event.clientX - box.left - LABEL) / cell);
    const layer = Math.floor((event.clientY - box.top - LABEL) / height);
    return this.exists(layer, head) ? [layer, head] : null;
  }

  exists(layer, head) {
    const { layers } = this.header;
    return layer >= 0 && layer < layers.length && head >= 0 && head < layers[layer][0];
  }

  point(cell) {
    if (String(cell) === String(this.cursor)) return;
    this.cursor = cell;
    setText(this.find(".readout"), cell ? this.describe(...cell) : "");
    this.draw();
  }

  describe(layer, head) {
    const { numbers, prefix } = this.header;
    const name = `Layer ${numbers[layer]}, head ${head + 1}`;
    if (!this.maps) return name;
    const { columns, maxima, shares } = this.maps;
    const at = layer * columns + head;
    const others = prefix.map((token, i) => `, ${prefixName(token)} ${percent(shares[i][at])}`);
    return `${name}: strongest patch ${percent(maxima[at])}${others.join("")}`;
  }

  open(cell) {
    if (!cell) return;
    const [layer, head] = cell;
    const query = sameToken(this.view.query, this.view.layer, layer, this.header);
    this.followed.change({ layer, head, query });
  }

  onKey(event) {
    if (event.key === "Enter") this.open(this.cursor);
    else if (event.key in ARROWS) {
      const { layer, head } = this.view;
      const start = this.cursor ?? [layer, typeof head === "number" ? head : 0];
      const counts = this.header.layers.map(([heads]) => heads);
      this.point(nextHead(start, ARROWS[event.key], counts));
    } else return;
    event.preventDefault();
  }
}

export default mountable(Sheet);
