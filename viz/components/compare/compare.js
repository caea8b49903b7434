// Two maps side by side and their difference, with one cursor for all: the same place of the photo
// in each, also where their grids differ.

import { peakOf } from "../shared/attention.js";
import { Component, mountable } from "../shared/component.js";
import { element, setText } from "../shared/controls.js";
import { drawFrame } from "../shared/drawing.js";
import { centreOf, nextPatch, patchAt, patchBox, placeName, samePatch } from "../shared/grid.js";
import { divergence, finerGrid, rankCorrelation, sharesOn } from "../shared/map_distance.js";
import { ARROWS, isShortcut } from "../shared/navigation.js";
import { capital, decimals, percent, prefixName } from "../shared/text.js";
import { drawDifference, largest } from "./difference.js";
import { Pane } from "./pane.js";

const REPORT_AFTER = 300; // milliseconds without another choice

class Compare extends Component {
  static selector = ".compare";

  constructor(root) {
    super(root);
    this.hovered = null; // {grid, patch}: under the mouse
    this.held = null; // the same, held by a click or by the page; or a name, such as "cls"
    this.panes = [new Pane(this, "A"), new Pane(this, "B")];
    this.apart = this.differenceFigure();
    this.find(".panes").replaceChildren(
      ...this.panes.map(({ figure }) => figure),
      this.apart.figure,
    );
    for (const pane of this.panes) this.listen(pane.canvas, () => pane.grid);
    this.listen(this.apart.canvas, () => this.grid);
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
    if (first || header.query !== this.reported) this.held = this.pointOf(header.query);
    this.reported = header.query;
    this.hovered = null;
  }

  // The point of one of A's tokens.
  pointOf(token) {
    const { prefix, grid } = this.panes[0].header;
    return token < prefix.length ? prefix[token] : { grid, patch: token - prefix.length };
  }

  get point() {
    return this.hovered ?? this.held;
  }

  // Of the difference.
  get grid() {
    return finerGrid(this.panes[0].grid, this.panes[1].grid);
  }

  // -- drawing ---------------------------------------------------------------------------

  draw() {
    if (!this.header) return;
    const { style } = this.header;
    const looked = this.panes.map((pane) => pane.look(this.point));
    for (const pane of this.panes) pane.draw(style, this.point);
    this.apart.figure.hidden = this.panes.some(({ header }) => header.missing);
    if (looked.every(Boolean) && this.panes.every(({ photo }) => photo)) this.compare();
    this.read();
  }

  compare() {
    const { grid, panes } = this;
    const [a, b] = panes.map((pane) => sharesOn(grid, pane.values, pane.grid));
    const difference =
      a && b ? a.map((share, i) => share - b[i]) : new Float64Array(grid[0] * grid[1]);
    const [{ photo }] = panes;
    const under = this.header.samePhoto ? photo : null;
    const aspect = photo.width / photo.height;
    const context = drawDifference(this.apart.canvas, difference, grid, under, aspect);
    if (typeof this.point !== "string") {
      drawFrame(context, patchBox(samePatch(this.point.patch, this.point.grid, grid), grid), 1.6);
    }
    setText(this.apart.numbers, a && b ? distanceText(a, b) : "");
    setText(this.apart.note, a && b ? differenceText(difference) : "A map is zero everywhere.");
  }

  // -- words -----------------------------------------------------------------------------

  read() {
    const { point, panes } = this;
    const where =
      typeof point === "string" ? prefixName(point) : placeName(point.patch, point.grid);
    const lines = panes
      .filter(({ values, header }) => values && !header.missing)
      .map((pane) => {
        return element("div", {}, this.line(pane));
      });
    this.find(".readout").replaceChildren(element("b", {}, capital(where)), ...lines);
  }

  // Where a map is strongest, and its value under the cursor.
  line(pane) {
    const { values, grid, letter } = pane;
    const total = values.reduce((sum, value) => sum + value, 0);
    if (!(total > 0)) return `${letter.textContent}: zero everywhere.`;
    const best = peakOf(values);
    const peak = `most at ${placeName(best, grid)}, ${percent(values[best] / total)}`;
    if (typeof this.point === "string") return `${letter.textContent}: ${peak}.`;
    const here = values[samePatch(this.point.patch, this.point.grid, grid)] / total;
    return `${letter.textContent}: ${percent(here)} of the map lies here; ${peak}.`;
  }

  // -- mouse, finger and keyboard --------------------------------------------------------

  listen(canvas, grid) {
    this.on(canvas, "pointermove", (event) => this.hover(this.pointAt(event, canvas, grid)));
    this.on(canvas, "pointerleave", () => this.hover(null));
    this.on(canvas, "click", (event) => this.hold(this.pointAt(event, canvas, grid)));
    this.on(canvas, "keydown", (event) => this.onKey(event));
  }

  pointAt(event, canvas, grid) {
    if (!this.header) return null;
    const patch = patchAt(event, canvas, grid());
    return patch === null ? null : { grid: grid(), patch };
  }

  hover(point) {
    if (point?.patch === this.hovered?.patch && point?.grid === this.hovered?.grid) return;
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
    if (!this.header || isShortcut(event) || !(event.key in ARROWS)) return;
    event.preventDefault();
    const { grid } = this.panes[0];
    const here = this.held.grid ? this.held.patch : centreOf(grid);
    this.hold({ grid, patch: nextPatch(here, ARROWS[event.key], grid) });
  }
}

function distanceText(a, b) {
  const related = rankCorrelation(a, b);
  const correlation = Number.isNaN(related) ? "none, a map is flat" : decimals(related);
  return `Divergence ${decimals(divergence(a, b))}, rank correlation ${correlation}`;
}

function differenceText(difference) {
  const most = largest(difference);
  if (most === 0) return "The same everywhere";
  return `At most ${percent(most)} of a map, at one patch`;
}

export default mountable(Compare);
