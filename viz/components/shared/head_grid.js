// Every head of every layer on one grid: a row is a layer, a column a head, each cell a map over
// the photo. Mouse, finger and arrow keys go from head to head.

import { palette } from "./colors.js";
import { Component } from "./component.js";
import { setText } from "./controls.js";
import { fitCanvas, mutedPhoto, paintMap, pixelRatio } from "./drawing.js";
import { ARROWS, isShortcut, nextHead } from "./navigation.js";
import { markScale } from "./projector.js";

const LABEL = 22; // pixels above the cells, for the numbers of the heads
const LETTER = 7; // pixels of a letter beside them, for the numbers of the layers

// A subclass says how many `heads` each layer has, draws a cell in `drawHead(cell)`, writes the
// sentence of a head in `describe(layer, head)`, and does in `choose(layer, head)` what a click does.
export class HeadGrid extends Component {
  constructor(root) {
    super(root);
    this.canvas = this.find("canvas");
    this.cursor = null; // [layer, head] that the mouse or the keys have reached
    this.on(this.canvas, "pointermove", (event) => this.point(this.cellAt(event)));
    this.on(this.canvas, "pointerleave", () => this.point(null));
    this.on(this.canvas, "click", (event) => this.chooseCell(this.cellAt(event)));
    this.on(this.canvas, "keydown", (event) => this.onKey(event));
    this.sizes.observe(root);
  }

  // [layer, head] that stands out, and from which the arrow keys go on; null for none.
  get chosen() {
    return null;
  }

  get style() {
    return this.header.style;
  }

  get columns() {
    return Math.max(...this.heads);
  }

  exists(layer, head) {
    return layer >= 0 && layer < this.heads.length && head >= 0 && head < this.heads[layer];
  }

  nameOf(layer, head) {
    return `Layer ${this.header.numbers[layer]}, head ${head + 1}`;
  }

  // -- drawing ---------------------------------------------------------------------------

  // As large as the width allows, but no taller than a screen and no larger than a thumbnail.
  get layout() {
    const { columns } = this;
    const longest = Math.max(...this.header.numbers.map((number) => String(number).length));
    const left = Math.max(LABEL, 8 + LETTER * longest);
    const rows = this.heads.length;
    const width = this.root.clientWidth;
    const aspect = this.photo.width / this.photo.height;
    const tallest = Math.max(40, (columns < 5 ? 900 : 640) / rows);
    const cell = Math.min(150, (width - left) / columns, tallest * aspect);
    return {
      cell,
      height: cell / aspect,
      gap: Math.max(1, cell * 0.04),
      rows,
      columns,
      width,
      left,
    };
  }

  draw() {
    if (!this.photo) return;
    const { layout } = this;
    const tall = LABEL + layout.rows * layout.height;
    fitCanvas(this.canvas, layout.width / tall, layout.width);
    const context = this.canvas.getContext("2d");
    context.setTransform(pixelRatio(), 0, 0, pixelRatio(), 0, 0);
    context.clearRect(0, 0, layout.width, tall);
    this.drawCells(context, layout);
    const style = getComputedStyle(this.canvas);
    const accent = style.getPropertyValue("--st-primary-color").trim() || style.color;
    this.drawNumbers(context, layout, style);
    if (this.chosen) frameHead(context, layout, this.chosen, accent, 3);
    if (this.cursor) frameHead(context, layout, this.cursor, style.color, 1.5);
  }

  drawCells(context, { cell, height, gap, rows, columns, left }) {
    const size = [cell - gap, height - gap];
    const pixels = size.map((side) => Math.ceil(side * pixelRatio()));
    this.base = mutedPhoto(this.photo, ...pixels, this.style);
    this.colors = palette(this.style);
    context.imageSmoothingEnabled = false;
    for (let at = 0; at < rows * columns; at++) {
      const [layer, head] = [Math.floor(at / columns), at % columns];
      const corner = [left + head * cell, LABEL + layer * height];
      if (this.exists(layer, head)) this.drawHead({ context, at, layer, head, corner, size });
    }
  }

  // A map over the photo in a cell, or over black; the photo alone where there is no map yet.
  drawMap({ context, corner, size }, values, top, grid, isBare = false) {
    context.fillStyle = "#000";
    if (isBare) context.fillRect(...corner, ...size);
    else context.drawImage(this.base, ...corner, ...size);
    if (!values) return;
    this.map = paintMap(values, top, grid, this.colors, this.map);
    context.drawImage(this.map, ...corner, ...size);
  }

  drawNumbers(context, { cell, height, rows, columns, left }, style) {
    context.fillStyle = style.color;
    context.font = `11px ${style.fontFamily}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (let i = 0; i < columns; i++) context.fillText(i + 1, left + (i + 0.5) * cell, LABEL / 2);
    for (let i = 0; i < rows; i++)
      context.fillText(this.header.numbers[i], left / 2, LABEL + (i + 0.5) * height);
  }

  // -- mouse, finger, keyboard -----------------------------------------------------------

  cellAt(event) {
    if (!this.photo) return null;
    const { cell, height, left } = this.layout;
    const box = this.canvas.getBoundingClientRect();
    const head = Math.floor((event.clientX - box.left - left) / cell);
    const layer = Math.floor((event.clientY - box.top - LABEL) / height);
    return this.exists(layer, head) ? [layer, head] : null;
  }

  point(cell) {
    if (String(cell) === String(this.cursor)) return;
    this.cursor = cell;
    this.readCursor();
    this.draw();
  }

  readCursor() {
    setText(this.find(".readout"), this.cursor ? this.describe(...this.cursor) : "");
  }

  chooseCell(cell) {
    if (cell) this.choose(...cell);
  }

  onKey(event) {
    if (isShortcut(event) || !this.header) return;
    if (event.key === "Enter" || event.key === " ") this.chooseCell(this.cursor);
    else if (event.key in ARROWS) {
      const from = this.cursor ?? this.chosen;
      this.point(from ? nextHead(from, ARROWS[event.key], this.heads) : [0, 0]);
    } else return;
    event.preventDefault();
  }
}

function frameHead(context, { cell, height, gap, left }, [layer, head], color, thin) {
  const line = thin * markScale();
  context.strokeStyle = color;
  context.lineWidth = line;
  context.strokeRect(
    left + head * cell + line / 2 - 1,
    LABEL + layer * height + line / 2 - 1,
    cell - gap - line + 2,
    height - gap - line + 2,
  );
}
