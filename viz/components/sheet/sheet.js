// Every head of every layer from one query, on one grid. A click opens the head in the explorer.

import { palette } from "../shared/colors.js";
import { Component, mountable } from "../shared/component.js";
import { setText } from "../shared/controls.js";
import { fitCanvas, mutedPhoto, paintMap, pixelRatio } from "../shared/drawing.js";
import { ARROWS, nextHead } from "../shared/navigation.js";
import { percent } from "../shared/text.js";

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
  }

  receive(header, { values, maxima, photo }) {
    Object.assign(this, { header, values, maxima });
    if (this.cursor && !this.exists(...this.cursor)) this.point(null);
    this.decode(photo);
  }

  // As large as the width allows, but no taller than a screen and no larger than a thumbnail.
  get layout() {
    const rows = this.header.layers;
    const columns = Math.max(...this.header.heads);
    const width = this.root.clientWidth;
    const aspect = this.photo.width / this.photo.height;
    const tallest = Math.max(40, (columns < 5 ? 900 : 640) / rows);
    const cell = Math.min(150, (width - LABEL) / columns, tallest * aspect);
    return { cell, height: cell / aspect, gap: Math.max(1, cell * 0.04), rows, columns, width };
  }

  draw() {
    if (!this.photo) return;
    const { layer, head } = this.header;
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
    const { grid, style } = this.header;
    const { cell, height, gap, rows, columns } = this.layout;
    const inner = [cell - gap, height - gap];
    const size = inner.map((side) => Math.ceil(side * pixelRatio()));
    const base = mutedPhoto(this.photo, ...size, style);
    const colors = palette(style);
    const patches = grid[0] * grid[1];
    let map;
    context.imageSmoothingEnabled = false;
    for (let i = 0; i < rows * columns; i++) {
      const [layer, head] = [Math.floor(i / columns), i % columns];
      if (!this.exists(layer, head)) continue;
      const corner = [LABEL + head * cell, LABEL + layer * height];
      map = paintMap(this.values.subarray(i * patches, (i + 1) * patches), 255, grid, colors, map);
      context.drawImage(base, ...corner, ...inner);
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
    const { layers, heads } = this.header;
    return layer >= 0 && layer < layers && head >= 0 && head < heads[layer];
  }

  point(cell) {
    if (String(cell) === String(this.cursor)) return;
    this.cursor = cell;
    setText(this.find(".readout"), cell ? this.describe(...cell) : "");
    this.draw();
  }

  describe(layer, head) {
    const { numbers, shares, heads } = this.header;
    const at = layer * Math.max(...heads) + head;
    const others = shares.map(([name, values]) => `, ${name} ${percent(values[at])}`).join("");
    const peak = percent(this.maxima[at]);
    return `Layer ${numbers[layer]}, head ${head + 1}: strongest patch ${peak}${others}`;
  }

  open(cell) {
    if (cell) this.setTriggerValue("choose", { layer: cell[0], head: cell[1] });
  }

  onKey(event) {
    if (event.key === "Enter") this.open(this.cursor);
    else if (event.key in ARROWS) {
      const { heads, layer, head } = this.header;
      const start = this.cursor ?? [layer, typeof head === "number" ? head : 0];
      this.point(nextHead(start, ARROWS[event.key], heads));
    } else return;
    event.preventDefault();
  }
}

export default mountable(Sheet);
