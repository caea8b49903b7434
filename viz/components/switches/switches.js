// Every head of every layer, each a switch: a click turns it off, and it is struck out.

import { opaquePalette } from "../shared/colors.js";
import { mountable } from "../shared/component.js";
import { element, radio, setText } from "../shared/controls.js";
import { drawScale } from "../shared/drawing.js";
import { sharedExperiment } from "../shared/experiment.js";
import { HeadGrid } from "../shared/head_grid.js";
import { decimals, percent } from "../shared/text.js";

const GAINED = "gray"; // the colours of heads without which the answer gains
const SHOWN = { after: "Maps now", before: "Maps as they were", effects: "Without each head" };

class Switches extends HeadGrid {
  static selector = ".switches";

  constructor(root) {
    super(root);
    this.shown = "after";
    this.on(this.find(".on"), "click", () => this.act({ off: new Set() }));
    this.on(this.find(".by"), "change", (event) => this.chooseWay(event.target.value));
  }

  receive(header, arrays) {
    this.header = header;
    this.maps = { before: arrays.before, after: arrays.after };
    this.maxima = { before: arrays.before_maxima, after: arrays.after_maxima };
    if (arrays.effects && !this.effects) this.shown = "effects";
    this.effects = arrays.effects ?? null;
    if (!this.effects && this.shown === "effects") this.shown = "after";
    if (this.cursor && !this.exists(...this.cursor)) this.point(null);
    this.loadPhoto();
    this.follow(sharedExperiment(header.scope));
    this.followed.take(header);
    this.showWays();
    this.viewChanged();
  }

  get heads() {
    return this.header.heads;
  }

  get off() {
    return this.followed.off;
  }

  nameOf(layer, head) {
    return `${this.header.names[layer]}, head ${head + 1}`;
  }

  viewChanged() {
    if (!this.header) return;
    this.showChoices();
    this.readCursor();
    this.schedule();
  }

  // Switch heads off or on: drawn at once; Python follows.
  act(update) {
    const serial = this.followed.change(update);
    this.setTriggerValue("act", { do: "off", serial, off: this.followed.places });
  }

  chooseWay(by) {
    const serial = this.followed.change({ by });
    this.setTriggerValue("act", { do: "ways", serial, by });
  }

  showWays() {
    const { ways, by } = this.header;
    const select = this.find(".by");
    const nodes = ways.map(([value, name]) => element("option", { value }, name));
    select.replaceChildren(...nodes);
    select.value = by;
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
    const { lost } = this.header;
    setText(
      this.find(".high"),
      `${decimals(this.largest)} ${lost} lost without the head; grey with +: gained`,
    );
  }

  show(name) {
    this.shown = name;
    this.showChoices();
    this.schedule();
  }

  get largest() {
    let most = 0;
    for (const value of this.effects) if (Math.abs(value) > most) most = Math.abs(value); // NaN is no head
    return most;
  }

  // -- one head --------------------------------------------------------------------------

  drawHead(cell) {
    const { at, layer, head } = cell;
    if (this.shown === "effects") this.drawEffect(cell, this.effects[at]);
    else this.drawMap(cell, this.mapOf(at, layer), 255, ...this.gridOf(layer));
    if (this.off.has(`${layer} ${head}`)) strikeOut(cell);
  }

  // The grid of a layer's maps, and whether they lie on no photo: words by words.
  gridOf(layer) {
    return [this.header.grids[layer], this.header.bare?.[layer]];
  }

  // Maps of all heads have the room of the largest one.
  mapOf(at, layer) {
    const [rows, columns] = this.header.grids[layer];
    const maps = this.maps[this.shown];
    const room = maps.length / this.maxima[this.shown].length;
    return maps.subarray(at * room, at * room + rows * columns);
  }

  drawEffect({ context, corner, size }, effect) {
    const step = Math.round((255 * Math.abs(effect)) / (this.largest || 1));
    const word = opaquePalette(effect > 0 ? GAINED : this.header.style.colors)[step];
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
      const way = effect < 0 ? "goes down" : "goes up";
      const much = decimals(Math.abs(effect));
      return `${name}: without it the ${this.header.lost} ${way} by ${much}; ${state} now`;
    }
    const strongest = percent(this.maxima[this.shown][at]);
    return `${name}: strongest ${this.header.bare?.[layer] ? "word" : "patch"} ${strongest}; ${state}`;
  }

  choose(layer, head) {
    const off = new Set(this.off);
    const name = `${layer} ${head}`;
    if (!off.delete(name)) off.add(name);
    this.act({ off });
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
