// Every head of every layer, each a switch: a click turns it off, and it is struck out.

import { opaquePalette } from "../shared/colors.js";
import { mountable } from "../shared/component.js";
import { element, radio, setText } from "../shared/controls.js";
import { drawScale } from "../shared/drawing.js";
import { HeadGrid } from "../shared/head_grid.js";
import { decodeSent } from "../shared/sent_photo.js";
import { decimals, percent } from "../shared/text.js";

const SHOWN = { after: "Maps now", before: "Maps as they were", effects: "What each head adds" };

class Switches extends HeadGrid {
  static selector = ".switches";

  constructor(root) {
    super(root);
    this.off = new Set(); // "layer head"
    this.serial = 0;
    this.shown = "after";
    this.on(this.find(".on"), "click", () => this.switchAllOn());
  }

  get heads() {
    return this.header.heads;
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

  // -- one head --------------------------------------------------------------------------

  drawHead(cell) {
    const { at, layer, head } = cell;
    const patches = this.header.grid[0] * this.header.grid[1];
    if (this.shown === "effects") this.drawEffect(cell, this.effects[at]);
    else {
      const maps = this.maps[this.shown];
      this.drawMap(cell, maps.subarray(at * patches, (at + 1) * patches), 255, this.header.grid);
    }
    if (this.off.has(`${layer} ${head}`)) strikeOut(cell);
  }

  drawEffect({ context, corner, size }, effect) {
    const step = Math.round(255 * Math.min(1, Math.max(0, -effect / (this.largest || 1))));
    const word = opaquePalette(this.header.style.colors)[step];
    context.fillStyle = `rgb(${word & 255} ${(word >> 8) & 255} ${(word >> 16) & 255})`;
    context.fillRect(...corner, ...size);
    if (size[0] < 44) return;
    context.fillStyle = step > 150 ? "#000" : "#fff";
    context.font = `11px ${getComputedStyle(this.canvas).fontFamily}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    const sign = effect > 0.005 ? "+" : "";
    context.fillText(sign + decimals(effect), corner[0] + size[0] / 2, corner[1] + size[1] / 2);
  }

  describe(layer, head) {
    const at = layer * this.columns + head;
    const name = this.nameOf(layer, head);
    const state = this.off.has(`${layer} ${head}`) ? "off" : "on";
    if (this.shown === "effects") {
      const effect = this.effects[at];
      const way = effect < 0 ? "falls" : "rises";
      return `${name}: without it the log-odds ${way} by ${decimals(Math.abs(effect))}; ${state} now`;
    }
    return `${name}: strongest patch ${percent(this.maxima[this.shown][at])}; ${state}`;
  }

  choose(layer, head) {
    const name = `${layer} ${head}`;
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
    this.readCursor();
    this.act("off", { off: [...this.off].map((place) => place.split(" ").map(Number)) });
  }
}

// A head that is off: faded, with a line through it.
function strikeOut({ context, corner: [x, y], size: [width, height] }) {
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
