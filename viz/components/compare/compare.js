// Two maps side by side and their difference, with one cursor for all: the same place of the photo
// in each, also where their grids differ.

import { isEven, peakOf } from "../shared/attention.js";
import { Component, mountable } from "../shared/component.js";
import { element, setText } from "../shared/controls.js";
import { drawFrame } from "../shared/drawing.js";
import { centreOf, nextPatch, patchAt, patchBox, placeName } from "../shared/grid.js";
import {
  commonPart,
  divergence,
  isInside,
  patchThere,
  placeOf,
  rankCorrelation,
  sharesOn,
} from "../shared/map_distance.js";
import { ARROWS, isShortcut } from "../shared/navigation.js";
import { capital, decimals, percent, prefixName } from "../shared/text.js";
import { Choices } from "./choices.js";
import { drawDifference, largest } from "./difference.js";
import { Pane } from "./pane.js";

const REPORT_AFTER = 300; // milliseconds without another choice

class Compare extends Component {
  static selector = ".compare";

  constructor(root) {
    super(root);
    this.hovered = null; // a place of the photo, [x, y]: under the mouse
    this.held = null; // the same, held by a click or by the page; or a name, such as "cls"
    this.panes = [new Pane(this, "A"), new Pane(this, "B")];
    this.apart = this.differenceFigure();
    this.choices = new Choices(this);
    this.find(".panes").replaceChildren(
      ...this.panes.map(({ figure }) => figure),
      this.apart.figure,
    );
    for (const pane of this.panes) this.listen(pane.canvas, () => pane.part);
    this.listen(this.apart.canvas, () => this.part);
    this.sizes.observe(root);
  }

  differenceFigure() {
    const canvas = element("canvas", { class: "photo", role: "img", "aria-label": "A minus B" });
    const numbers = element("span", { class: "about distance" });
    const note = element("span", { class: "about" });
    const caption = element("figcaption", {}, element("b", {}, "A minus B"), numbers, note);
    const ends = element("div", { class: "ends" });
    ends.append(element("span", {}, "more in B"), element("i"), element("span", {}, "more in A"));
    const figure = element("figure", { class: "apart" }, caption, canvas, ends);
    return { canvas, figure, numbers, note };
  }

  receive(header, arrays) {
    const first = !this.header;
    this.header = header;
    this.panes.forEach((pane, index) => {
      pane.receive(header.panes[index], arrays[`map${index}`] ?? null);
    });
    this.choices.receive(header);
    if (first || header.query !== this.reported) this.held = this.pointOf(header.query);
    this.reported = header.query;
    this.hovered = null;
  }

  // The place of one of A's tokens.
  pointOf(token) {
    const { prefix } = this.panes[0].header;
    return token < prefix.length
      ? prefix[token]
      : placeOf(token - prefix.length, this.panes[0].part);
  }

  get point() {
    return this.hovered ?? this.held;
  }

  // What the difference covers.
  get part() {
    return commonPart(this.panes[0].part, this.panes[1].part);
  }

  // -- drawing ---------------------------------------------------------------------------

  draw() {
    if (!this.header) return;
    const { style } = this.header;
    const looked = this.panes.map((pane) => pane.look(this.point));
    for (const pane of this.panes) pane.draw(style, this.point);
    const comparable = this.part && !this.panes.some(({ header }) => header.missing);
    this.apart.figure.hidden = !comparable;
    if (comparable && looked.every(Boolean) && this.panes.every(({ photo }) => photo))
      this.compare();
    this.read();
  }

  compare() {
    const { part, panes, point } = this;
    const [a, b] = panes.map((pane) => sharesOn(part, pane.values, pane.part));
    const patches = part.grid[0] * part.grid[1];
    const difference = a && b ? a.map((share, i) => share - b[i]) : new Float64Array(patches);
    const [{ photo, part: whole }] = panes;
    const box = boxWithin(part.box, whole.box);
    const aspect = (photo.width * (box[2] - box[0])) / (photo.height * (box[3] - box[1]));
    const under = this.header.samePhoto ? { photo, box } : null;
    const { canvas, numbers, note } = this.apart;
    const context = drawDifference(canvas, difference, part.grid, under, aspect);
    if (typeof point !== "string" && isInside(point, part.box)) {
      drawFrame(context, patchBox(patchThere(point, part), part.grid), 1.6);
    }
    setText(numbers, a && b ? distanceText(a, b) : "");
    setText(note, a && b ? differenceText(difference) : "A map is zero everywhere.");
  }

  // -- words -----------------------------------------------------------------------------

  read() {
    const { point, panes } = this;
    const shown = panes.filter(({ values, header }) => values && !header.missing);
    const lines = shown.map((pane) => element("div", {}, this.line(pane)));
    const heading = element("b", {}, capital(this.whereOf(point)));
    this.find(".readout").replaceChildren(heading, ...lines);
  }

  // How A calls a place, or B where A does not see it.
  whereOf(point) {
    if (typeof point === "string") return prefixName(point);
    const { part } = this.panes.find((pane) => pane.sees(point)) ?? this.panes[0];
    return placeName(patchThere(point, part), part.grid);
  }

  // Where a map is strongest, and its value under the cursor.
  line(pane) {
    const { values, part, letter } = pane;
    const name = letter.textContent;
    const total = values.reduce((sum, value) => sum + value, 0);
    if (!(total > 0)) return `${name}: zero everywhere.`;
    const best = peakOf(values);
    const flat = isEven(values) ? "almost even, " : "";
    const peak = `${flat}most at ${placeName(best, part.grid)}, ${percent(values[best] / total)}`;
    if (typeof this.point === "string") return `${name}: ${peak}.`;
    if (!pane.sees(this.point)) return `${name} does not see this place; ${peak}.`;
    const here = values[patchThere(this.point, part)] / total;
    return `${name}: ${percent(here)} of the map lies here; ${peak}.`;
  }

  // -- mouse, finger and keyboard --------------------------------------------------------

  listen(canvas, partOf) {
    this.on(canvas, "pointermove", (event) => this.hover(this.pointAt(event, canvas, partOf)));
    this.on(canvas, "pointerleave", () => this.hover(null));
    this.on(canvas, "click", (event) => this.hold(this.pointAt(event, canvas, partOf)));
    this.on(canvas, "keydown", (event) => this.onKey(event));
  }

  // The middle of the patch under the mouse.
  pointAt(event, canvas, partOf) {
    if (!this.header) return null;
    const part = partOf();
    const patch = patchAt(event, canvas, part.grid);
    return patch === null ? null : placeOf(patch, part);
  }

  hover(point) {
    if (String(point) === String(this.hovered)) return;
    this.hovered = point;
    this.schedule();
  }

  // The address names a patch of A, so it is one of A's that is held.
  hold(point) {
    if (!point) return;
    this.reported = this.panes[0].tokenOf(point);
    this.held = this.pointOf(this.reported);
    this.hovered = null;
    this.schedule();
    this.later(() => this.setStateValue("query", this.reported), REPORT_AFTER);
  }

  onKey(event) {
    if (!this.header || isShortcut(event)) return;
    if (this.choices.onKey(event.key)) return event.preventDefault();
    if (!(event.key in ARROWS)) return;
    event.preventDefault();
    const { part } = this.panes[0];
    const onPatch = typeof this.held !== "string";
    const here = onPatch ? patchThere(this.held, part) : centreOf(part.grid);
    this.hold(placeOf(nextPatch(here, ARROWS[event.key], part.grid), part));
  }
}

// A box as shares of another one, of which it is a part.
function boxWithin(box, [left, top, right, bottom]) {
  const [width, height] = [right - left, bottom - top];
  return [
    (box[0] - left) / width,
    (box[1] - top) / height,
    (box[2] - left) / width,
    (box[3] - top) / height,
  ];
}

function distanceText(a, b) {
  const related = rankCorrelation(a, b);
  const correlation = Number.isNaN(related) ? "none, a map is flat" : decimals(related);
  return `Divergence ${decimals(divergence(a, b))}, rank correlation ${correlation}`;
}

function differenceText(difference) {
  const most = largest(difference);
  if (most === 0) return "The same everywhere";
  return `They differ most at one patch, by ${percent(most)} of a map`;
}

export default mountable(Compare);
