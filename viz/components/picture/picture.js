// A saved picture as it is in its SVG file, whose numbers are read where one points.

import { Component, mountable } from "../shared/component.js";
import { setText } from "../shared/controls.js";
import { fitCanvas, pixelRatio } from "../shared/drawing.js";
import { ARROWS, isShortcut } from "../shared/navigation.js";
import { capital, short } from "../shared/text.js";
import { drawMarks } from "./marks.js";
import { boxOf, firstSpot, nameOfSpot, spotAt, spotBeside } from "./spots.js";

const HINT = "Point at the picture, tap it, or use the arrow keys: its numbers are read here.";

class Picture extends Component {
  static selector = ".picture";

  constructor(root) {
    super(root);
    this.canvas = this.find("canvas");
    this.spot = null;
    this.on(this.canvas, "pointermove", (event) => this.choose(this.spotUnder(event)));
    this.on(this.canvas, "pointerdown", (event) => this.choose(this.spotUnder(event)));
    this.on(this.root, "keydown", (event) => this.onKey(event));
    this.sizes.observe(this.canvas.parentElement);
  }

  receive(header, arrays) {
    Object.assign(this, { header, arrays, spot: null });
    this.canvas.setAttribute("aria-label", `${header.title} ${header.spots ? HINT : ""}`);
    this.photos = Array.from({ length: header.photos }, () => ({}));
    for (const [at, photo] of this.photos.entries()) this.loadPhoto(`photo${at}`, photo);
  }

  draw() {
    const { canvas, header, arrays } = this;
    fitCanvas(canvas, header.width / header.height);
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    const scale = canvas.width / header.width;
    const photos = this.photos.map(({ photo }) => photo);
    drawMarks(context, header.marks, scale, photos, arrays, this.theme());
    this.drawSpot(context, scale);
    this.read();
  }

  theme() {
    const style = getComputedStyle(this.root);
    const ink = style.getPropertyValue("--st-text-color");
    const faint = style.getPropertyValue("--st-border-color");
    return { ink, muted: ink, faint, font: style.fontFamily };
  }

  drawSpot(context, scale) {
    if (this.spot === null) return;
    const [left, top, right, bottom] = boxOf(this.spot, this.arrays.spots).map((x) => x * scale);
    context.strokeStyle = getComputedStyle(this.root).getPropertyValue("--st-primary-color");
    context.lineWidth = 2 * pixelRatio();
    context.strokeRect(left, top, right - left, bottom - top);
  }

  read() {
    const { header, arrays, spot } = this;
    if (spot === null) return setText(this.find(".readout"), header.spots ? HINT : "");
    const value = arrays.values?.[spot];
    const shown = value === undefined || Number.isNaN(value) ? "" : `: ${this.write(value)}`;
    setText(this.find(".readout"), `${capital(nameOfSpot(spot, header.axes))}${shown}`);
  }

  write(value) {
    const { texts } = this.header;
    return texts.length ? texts[value] : short(value).replace("-", "−");
  }

  spotUnder(event) {
    if (!this.header?.spots) return null;
    const box = this.canvas.getBoundingClientRect();
    const scale = this.header.width / box.width;
    const point = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    return spotAt(point, this.arrays.spots);
  }

  choose(spot) {
    if (spot === null || spot === this.spot) return;
    this.spot = spot;
    this.schedule();
  }

  onKey(event) {
    if (!this.header?.spots || !(event.key in ARROWS) || isShortcut(event)) return;
    event.preventDefault();
    const { spots } = this.arrays;
    this.choose(
      this.spot === null ? firstSpot(spots) : spotBeside(this.spot, ARROWS[event.key], spots),
    );
  }
}

export default mountable(Picture);
