// Every head of every layer, each a switch: a click turns it off, and it is struck out.

import { opaquePalette, palette } from "../shared/colors.js";
import { Component, mountable } from "../shared/component.js";
import { element, radio, setText } from "../shared/controls.js";
import { drawScale, fitCanvas, mutedPhoto, paintMap, pixelRatio } from "../shared/drawing.js";
import { ARROWS, isShortcut, nextHead } from "../shared/navigation.js";
import { decodeSent } from "../shared/sent_photo.js";
import { decimals, percent } from "../shared/text.js";

const LABEL = 22; // pixels beside and above the maps, for the numbers
const SHOWN = { after: "Maps now", before: "Maps as they were", effects: "What each head adds" };

class Switches extends Component {
  static selector = ".switches";

  constructor(root) {
    super(root);
    this.canvas = this.find("canvas");
    this.off = new Set(); // "layer head"
    this.serial = 0;
    this.cursor = null;
    this.shown = "after";
    this.on(this.canvas, "pointermove", (event) => this.point(this.cellAt(event)));
    this.on(this.canvas, "pointerleave", () => this.point(null));
    this.on(this.canvas, "click", (event) => this.flip(this.cellAt(event)));
    this.on(this.canvas, "keydown", (event) => this.onKey(event));
    this.on(this.find(".on"), "click", () => this.switchAllOn());
    this.sizes.observe(root);
  }

  receive(header, arrays) {
    this.header = header;
    this.maps = { before: arrays.before, after: arrays.after };
    this.maxima = { before: arrays.before_maxima, after: arrays.after_maxima };
    if (arrays.effects && !this.effects) this.shown = "effects";
    this.effects = arrays.effects ?? null;
    if (!this.effects && this.shown === "effects") this.shown = "after";
    if (header.serial >= this.serial) {
      this.serial = header.serial;
      this.off = new Set(header.off.map((place) => place.join(" ")));
    }
    if (arrays.photo) {
      this.photoOf = header.image;
      this.photo = null;
      decodeSent(this, "photo", arrays.photo);
    }
    if (this.photoOf !== header.image) this.act("ask");
    this.showChoices();
  }

  act(what, more = {}) {
    this.serial += 1;
    this.setTriggerValue("act", {
      do: what,
      serial: this.serial,
      image: this.header.image,
      ...more,
    });
  }

  showChoices() {
    const names = Object.keys(SHOWN).filter((name) => name !== "effects" || this.effects);
    const nodes = names.map((name) => {
      const input = radio("shown", SHOWN[name]);
      input.checked = name === this.shown;
      this.on(input, "change", () => this.show(name));
      return element("label", { class: "choice" }, input, SHOWN[name]);
    });
    this.find(".shown").replaceChildren(...nodes);
    this.find(".on").disabled = !this.off.size;
    const scale = this.find(".scale");
    scale.hidden = this.shown !== "effects";
    if (scale.hidden) return;
    drawScale(this.find(".bar"), this.header.style.colors);
    setText(this.find(".high"), `${decimals(this.largest)} log-odds lost without the head`);
  }

  show(name) {
    this.shown = name;
    this.showChoices();
    this.schedule();
  }

  get largest() {
    let most = 0;
    for (const value of this.effects) if (-value > most) most = -value; // NaN is no head
    return most;
  }

  get layout() {
    const rows = this.header.heads.length;
    const columns = Math.max(...this.header.heads);
    const width = this.root.clientWidth;
    const aspect = this.photo.width / this.photo.height;
    const tallest = Math.max(40, 760 / rows);
    const cell = Math.min(150, (width - LABEL) / columns, tallest * aspect);
    return { cell, height: cell / aspect, gap: Math.max(1, cell * 0.04), rows, columns, width };
  }

  draw() {
    if (!this.photo) return;
    const { height, rows, width } = this.layout;
    const tall = LABEL + rows * height;
    fitCanvas(this.canvas, width / tall, width);
    const context = this.canvas.getContext("2d");
    context.setTransform(pixelRatio(), 0, 0, pixelRatio(), 0, 0);
    context.clearRect(0, 0, width, tall);
    this.drawCells(context);
    const style = getComputedStyle(this.canvas);
    this.drawNumbers(context, style);
    if (this.cursor) this.frameHead(context, ...this.cursor, style.color);
  }

  drawCells(context) {
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
      if (this.shown === "effects") this.drawEffect(context, this.effects[i], corner, inner);
      else {
        const values = this.maps[this.shown].subarray(i * patches, (i + 1) * patches);
        map = paintMap(values, 255, grid, colors, map);
        context.drawImage(base, ...corner, ...inner);
        context.drawImage(map, ...corner, ...inner);
      }
      if (this.off.has(`${layer} ${head}`)) strikeOut(context, corner, inner);
    }
  }

  drawEffect(context, effect, corner, inner) {
    const step = Math.round(255 * Math.min(1, Math.max(0, -effect / (this.largest || 1))));
    const word = opaquePalette(this.header.style.colors)[step];
    context.fillStyle = `rgb(${word & 255} ${(word >> 8) & 255} ${(word >> 16) & 255})`;
    context.fillRect(...corner, ...inner);
    if (inner[0] < 44) return;
    context.fillStyle = step > 150 ? "#000" : "#fff";
    context.font = `11px ${getComputedStyle(this.canvas).fontFamily}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    const sign = effect > 0.005 ? "+" : "";
    context.fillText(sign + decimals(effect), corner[0] + inner[0] / 2, corner[1] + inner[1] / 2);
  }

  drawNumbers(context, style) {
    const { cell, height, rows, columns } = this.layout;
    context.fillStyle = style.color;
    context.font = `11px ${style.fontFamily}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (let i = 0; i < columns; i++) context.fillText(i + 1, LABEL + (i + 0.5) * cell, LABEL / 2);
    for (let i = 0; i < rows; i++)
      context.fillText(this.header.numbers[i], LABEL / 2, LABEL + (i + 0.5) * height);
  }

  frameHead(context, layer, head, color) {
    const { cell, height, gap } = this.layout;
    context.strokeStyle = color;
    context.lineWidth = 2;
    context.strokeRect(LABEL + head * cell, LABEL + layer * height, cell - gap, height - gap);
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
    const { heads } = this.header;
    return layer >= 0 && layer < heads.length && head >= 0 && head < heads[layer];
  }

  point(cell) {
    if (String(cell) === String(this.cursor)) return;
    this.cursor = cell;
    setText(this.find(".readout"), cell ? this.describe(...cell) : "");
    this.draw();
  }

  describe(layer, head) {
    const { numbers, heads } = this.header;
    const at = layer * Math.max(...heads) + head;
    const name = `Layer ${numbers[layer]}, head ${head + 1}`;
    const state = this.off.has(`${layer} ${head}`) ? "off" : "on";
    if (this.shown === "effects") {
      const effect = this.effects[at];
      const way = effect < 0 ? "falls" : "rises";
      return `${name}: without it the log-odds ${way} by ${decimals(Math.abs(effect))}; ${state} now`;
    }
    return `${name}: strongest patch ${percent(this.maxima[this.shown][at])}; ${state}`;
  }

  flip(cell) {
    if (!cell) return;
    const name = cell.join(" ");
    if (!this.off.delete(name)) this.off.add(name);
    this.changed();
  }

  switchAllOn() {
    this.off.clear();
    this.changed();
  }

  changed() {
    this.schedule();
    this.find(".on").disabled = !this.off.size;
    if (this.cursor) setText(this.find(".readout"), this.describe(...this.cursor));
    this.act("off", { off: [...this.off].map((place) => place.split(" ").map(Number)) });
  }

  onKey(event) {
    if (isShortcut(event)) return;
    if (event.key === "Enter" || event.key === " ") this.flip(this.cursor);
    else if (event.key in ARROWS) {
      const start = this.cursor ?? [0, 0];
      this.point(this.cursor ? nextHead(start, ARROWS[event.key], this.header.heads) : start);
    } else return;
    event.preventDefault();
  }
}

// A head that is off: faded, with a line through it.
function strikeOut(context, [x, y], [width, height]) {
  context.save();
  context.fillStyle = "rgb(128 128 128 / 0.72)";
  context.fillRect(x, y, width, height);
  for (const [color, line] of [
    ["#000", 4],
    ["#fff", 2],
  ]) {
    context.beginPath();
    context.moveTo(x + width * 0.2, y + height * 0.8);
    context.lineTo(x + width * 0.8, y + height * 0.2);
    context.lineWidth = line;
    context.strokeStyle = color;
    context.stroke();
  }
  context.restore();
}

export default mountable(Switches);
