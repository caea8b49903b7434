// Patches that a model takes for alike: the cosines of one patch with all others, over one photo or
// two, computed here from vectors that were sent once; or colours that Python gave each patch.

import { Component, mountable } from "../shared/component.js";
import { element, setText } from "../shared/controls.js";
import { cosines, mostAlike, unitVectors } from "../shared/cosine.js";
import {
  drawBox,
  drawFrame,
  drawScale,
  fitCanvas,
  MapCanvas,
  mutedPhoto,
  pixelRatio,
} from "../shared/drawing.js";
import { centreOf, nextPatch, patchAt, patchBox, placeName } from "../shared/grid.js";
import { ARROWS, isShortcut } from "../shared/navigation.js";
import { capital, decimals, short } from "../shared/text.js";

class Features extends Component {
  static selector = ".features";

  constructor(root) {
    super(root);
    this.link = element("canvas", { class: "link", "aria-hidden": "true" });
    this.hovered = null; // {photo, token}: under the mouse
    this.held = null; // the same, held by a click, or by the page
    this.panes = [];
    this.on(root, "keydown", (event) => this.onKey(event));
    this.sizes.observe(root);
  }

  receive(header, arrays) {
    const before = this.header;
    const changed = header.pictures !== before?.pictures;
    this.header = header;
    if (changed) this.build();
    for (const [index, pane] of this.panes.entries()) this.keep(pane, index, arrays);
    if (changed || !sameTokens(header, before)) {
      this.hovered = null;
      this.held = { photo: 0, token: header.query };
    }
    if (this.lacks) this.later(() => this.setTriggerValue("lacking", header.vectors), 0);
    const { style, span, scale } = header;
    this.find(".scale").hidden = !scale && !this.compares;
    drawScale(this.find(".bar"), style.colors);
    setText(this.find(".low"), short(span[0]));
    setText(this.find(".high"), `${short(span[1])} ${header.unit}`);
    this.showTokens();
  }

  build() {
    this.hovered = null;
    this.panes = this.header.titles.map((title, index) => this.pane(title, index));
    const place = this.find(".photos");
    place.replaceChildren(...this.panes.map((pane) => pane.figure), this.link);
    this.root.classList.toggle("single", this.panes.length === 1);
  }

  pane(title, index) {
    const canvas = element("canvas", {
      class: "photo",
      tabindex: "0",
      role: "application",
      "aria-label": `${title}. Arrow keys go from patch to patch, Enter holds one.`,
    });
    const pane = { canvas, index, picture: new MapCanvas(canvas) };
    const several = this.header.titles.length > 1; // else the row of choices names the photo
    const caption = several ? [element("figcaption", {}, title)] : [];
    pane.figure = element("figure", {}, ...caption, canvas);
    this.on(canvas, "pointermove", (event) => this.hover(pane, this.patchAt(event, pane)));
    this.on(canvas, "pointerleave", () => this.hover(pane, null));
    this.on(canvas, "click", (event) => this.hold(pane, this.patchAt(event, pane)));
    return pane;
  }

  keep(pane, index, arrays) {
    const { prefix, grid } = this.header;
    const patches = grid[0] * grid[1];
    this.loadPhoto(`photo${index}`, pane);
    if (arrays[`vectors${index}`]) {
      pane.key = this.header.vectors;
      pane.units = unitVectors(arrays[`vectors${index}`], prefix.length + patches);
      pane.cosines = new Float32Array(patches);
      pane.shares = new Float32Array(patches);
    }
    pane.values = arrays[`values${index}`];
    pane.marked = arrays[`marked${index}`] ?? [];
    pane.paint = arrays[`paint${index}`] ? this.paintOf(arrays[`paint${index}`]) : null;
  }

  // A canvas with one pixel a patch.
  paintOf(bytes) {
    const [rows, columns] = this.header.grid;
    const canvas = element("canvas");
    canvas.width = columns;
    canvas.height = rows;
    const image = new ImageData(new Uint8ClampedArray(bytes), columns, rows);
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }

  // Whether Python took something to be here that is not.
  get lacks() {
    return this.panes.some((pane) => pane.key !== this.header.vectors);
  }

  get compares() {
    return this.header.mode === "similarity";
  }

  get point() {
    return this.hovered ?? this.held;
  }

  // The patch of a point, or null for a token that is none.
  patchOf({ token }) {
    const patch = token - this.header.prefix.length;
    return patch >= 0 ? patch : null;
  }

  // -- drawing ---------------------------------------------------------------------------

  draw() {
    if (!this.header || this.lacks || this.panes.some((pane) => !pane.photo)) return;
    if (this.compares) this.compare();
    for (const pane of this.panes) {
      if (this.compares) this.drawCosines(pane);
      else this.drawPaint(pane);
    }
    this.drawLink();
    this.read();
  }

  // The cosines of the point with every patch of both photos, and where each has its best.
  compare() {
    const { point, panes, header } = this;
    const { units } = panes[point.photo];
    const width = units.length / (header.prefix.length + panes[0].cosines.length);
    const query = units.subarray(point.token * width, (point.token + 1) * width);
    const own = this.patchOf(point);
    for (const pane of panes) {
      cosines(query, pane.units, header.prefix.length, pane.cosines);
      pane.best = mostAlike(pane.cosines, pane.index === point.photo && own !== null ? own : -1);
    }
    const low = Math.min(...panes.map(({ cosines }) => lowest(cosines)));
    const high = Math.max(...panes.map(({ cosines, best }) => cosines[best] ?? low));
    this.span = [low, Math.max(high, low + 1e-6)];
    for (const { cosines, shares } of panes) {
      for (let i = 0; i < shares.length; i++) {
        shares[i] = Math.max(0, (cosines[i] - low) / (this.span[1] - low));
      }
    }
  }

  drawCosines(pane) {
    const { grid, style, box } = this.header;
    const context = pane.picture.draw(pane.photo, pane.shares, 1, grid, style);
    this.drawMarks(context, pane, box);
  }

  drawPaint(pane) {
    const { style, box, grid } = this.header;
    const { canvas, photo, paint, marked } = pane;
    fitCanvas(canvas, photo.width / photo.height);
    const context = canvas.getContext("2d");
    const muted = this.header.mode !== "mask";
    const base = muted ? mutedPhoto(photo, canvas.width, canvas.height, style) : photo;
    context.drawImage(base, 0, 0, canvas.width, canvas.height);
    context.imageSmoothingEnabled = false;
    if (paint) context.drawImage(paint, 0, 0, canvas.width, canvas.height);
    for (const patch of marked) drawFrame(context, patchBox(patch, grid), 1.5);
    this.drawMarks(context, pane, box);
  }

  drawMarks(context, pane, box) {
    const { grid } = this.header;
    if (box && pane.index === 0) drawBox(context, box, { dash: [4, 3] });
    const patch = this.patchOf(this.point);
    if (this.point.photo === pane.index && patch !== null) drawBox(context, patchBox(patch, grid));
    else if (this.compares && this.panes.length > 1) drawBox(context, patchBox(pane.best, grid));
  }

  // A line from the patch to the one most like it in the other photo.
  drawLink() {
    const { link } = this;
    const box = link.getBoundingClientRect();
    link.width = Math.round(box.width * pixelRatio());
    link.height = Math.round(box.height * pixelRatio());
    const patch = this.patchOf(this.point);
    if (!this.compares || this.panes.length < 2 || patch === null) return;
    const there = this.panes[1 - this.point.photo];
    const from = this.centre(this.panes[this.point.photo], patch, box);
    const to = this.centre(there, there.best, box);
    const context = link.getContext("2d");
    for (const [color, width] of [
      ["#000", 4],
      ["#fff", 2],
    ]) {
      context.beginPath();
      context.moveTo(...from);
      context.lineTo(...to);
      context.strokeStyle = color;
      context.lineWidth = width * pixelRatio();
      context.stroke();
    }
  }

  // The middle of a patch, in device pixels of the link.
  centre({ canvas }, patch, box) {
    const photo = canvas.getBoundingClientRect();
    const [left, top, right, bottom] = patchBox(patch, this.header.grid);
    const x = photo.left - box.left + ((left + right) / 2) * photo.width;
    const y = photo.top - box.top + ((top + bottom) / 2) * photo.height;
    return [x * pixelRatio(), y * pixelRatio()];
  }

  // -- words -----------------------------------------------------------------------------

  read() {
    const { point, header } = this;
    const patch = this.patchOf(point);
    const from = patch === null ? header.prefix[point.token] : placeName(patch, header.grid);
    const lines = this.compares ? this.likeness() : this.valueAt(patch);
    const heading = this.compares || patch !== null ? [element("b", {}, capital(from))] : [];
    const rest = lines.map((line) => element("div", {}, line));
    this.find(".readout").replaceChildren(...heading, ...rest);
    if (this.compares) {
      setText(this.find(".low"), decimals(this.span[0]));
      setText(this.find(".high"), `${decimals(this.span[1])} cosine`);
    }
  }

  likeness() {
    const { grid, titles } = this.header;
    const found = this.panes.map(({ best, cosines, index }) => {
      if (best < 0) return "";
      const where = titles.length > 1 ? ` in ${titles[index]}` : "";
      return `Most like ${placeName(best, grid)}${where}: cosine ${decimals(cosines[best])}.`;
    });
    return found.filter(Boolean);
  }

  valueAt(patch) {
    const { unit, mode } = this.header;
    const { values } = this.panes[this.point.photo];
    if (patch === null || !values || !unit) return [];
    const value = mode === "groups" ? `${values[patch] + 1}` : short(values[patch]);
    return [`${capital(unit)}: ${value}`];
  }

  // -- mouse and keyboard ----------------------------------------------------------------

  patchAt(event, pane) {
    return this.header ? patchAt(event, pane.canvas, this.header.grid) : null;
  }

  hover(pane, patch) {
    const token = patch === null ? null : patch + this.header.prefix.length;
    if (token === (this.hovered?.token ?? null) && pane.index === this.hovered?.photo) return;
    this.hovered = token === null ? null : { photo: pane.index, token };
    this.schedule();
  }

  hold(pane, patch) {
    if (patch === null) return;
    this.holdToken(pane.index, patch + this.header.prefix.length);
  }

  holdToken(photo, token) {
    this.held = { photo, token };
    this.hovered = null;
    this.showTokens();
    this.schedule();
    if (photo === 0) this.later(() => this.setStateValue("query", token), 300);
  }

  onKey(event) {
    if (!this.header || isShortcut(event) || !(event.key in ARROWS)) return;
    event.preventDefault();
    const { grid, prefix } = this.header;
    const patch = this.patchOf(this.point) ?? centreOf(grid);
    const next = nextPatch(patch, ARROWS[event.key], grid);
    this.holdToken(this.point.photo, prefix.length + next);
  }

  // Buttons for the tokens that are no patch.
  showTokens() {
    const { prefix } = this.header;
    const place = this.find(".tokens");
    place.hidden = !prefix.length || !this.compares;
    const buttons = prefix.map((name, token) => {
      const pressed = this.held?.photo === 0 && this.held.token === token;
      const attributes = { type: "button", class: "token", "aria-pressed": `${pressed}` };
      const button = element("button", attributes, name);
      this.on(button, "click", () => this.holdToken(0, token));
      return button;
    });
    place.replaceChildren(...buttons);
  }
}

function sameTokens(one, other) {
  return String(one.grid) === String(other.grid) && one.prefix.length === other.prefix.length;
}

function lowest(values) {
  let low = values[0];
  for (const value of values) if (value < low) low = value;
  return low;
}

export default mountable(Features);
