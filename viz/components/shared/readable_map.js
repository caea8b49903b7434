// One finished map over the photo, with its scale and the value of the patch under the mouse, or
// of the patch that the arrow keys have reached.

import { isEven, peakOf } from "./attention.js";
import { Component } from "./component.js";
import { setText } from "./controls.js";
import { drawBox, drawScale, MapCanvas } from "./drawing.js";
import { nextPatch, patchAt, patchBox, placeName } from "./grid.js";
import { ARROWS, isShortcut } from "./navigation.js";
import { isMouse } from "./pointer.js";
import { capital, percent } from "./text.js";

export class ReadableMap extends Component {
  constructor(root) {
    super(root);
    this.canvas = this.find(".photo");
    this.picture = new MapCanvas(this.canvas);
    this.readout = this.find(".readout");
    for (const name of ["pointermove", "pointerdown"])
      this.on(this.canvas, name, (event) => this.hover(this.patchAt(event)));
    this.on(this.canvas, "pointerleave", (event) => isMouse(event) && this.hover(null));
    this.on(this.canvas, "blur", () => this.stepTo(null));
    this.on(this.canvas, "keydown", (event) => this.onKey(event));
    this.sizes.observe(root);
  }

  // Take a map to show: its values, their unit, a caption, and its name for screen readers.
  show({ values, unit, caption, alt }) {
    this.values = values;
    this.top = values[peakOf(values)];
    this.hovered = null; // the patch under the mouse
    this.stepped = null; // the patch that the arrow keys have reached
    this.caption = `${caption}${isEven(values) ? " Spread almost evenly." : ""}`;
    setText(this.find(".high"), `${percent(this.top)} ${unit}`);
    setText(this.readout, this.caption);
    this.canvas.setAttribute("aria-label", `${alt}. Arrow keys read it patch by patch.`);
    drawScale(this.find(".bar"), this.style.colors);
    this.schedule();
  }

  get style() {
    return this.header.style;
  }

  draw() {
    if (!this.photo || !this.values) return;
    const { style } = this;
    const { grid, box } = this.header;
    const context = this.picture.draw(this.photo, this.values, this.top, grid, style);
    if (box) drawBox(context, box, { dash: [4, 3] });
    if (this.point !== null) drawBox(context, patchBox(this.point, grid));
  }

  get point() {
    return this.hovered ?? this.stepped;
  }

  patchAt(event) {
    return this.values ? patchAt(event, this.canvas, this.header.grid) : null;
  }

  hover(patch) {
    if (!this.values || patch === this.hovered) return;
    this.hovered = patch;
    this.read();
  }

  // The arrow keys count until the mouse moves again.
  stepTo(patch) {
    if (!this.values) return;
    this.hovered = null;
    this.stepped = patch;
    this.read();
  }

  read() {
    this.draw();
    if (this.point === null) return setText(this.readout, this.caption);
    const place = capital(placeName(this.point, this.header.grid));
    setText(this.readout, `${place}: ${percent(this.values[this.point])}`);
  }

  onKey(event) {
    if (!this.values || isShortcut(event)) return;
    if (event.key === "Escape") this.stepTo(null);
    else if (event.key in ARROWS) this.step(ARROWS[event.key]);
    else return;
    event.preventDefault();
  }

  // The first step goes to where the map is highest.
  step(direction) {
    if (this.point === null) return this.stepTo(peakOf(this.values));
    this.stepTo(nextPatch(this.point, direction, this.header.grid));
  }
}
