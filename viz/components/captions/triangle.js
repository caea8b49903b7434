// The decoder's attention among the words: a row a word, a square for each word before it.

import { peakOf } from "../shared/attention.js";
import { element, setText } from "../shared/controls.js";
import { clamp } from "../shared/grid.js";
import { ARROWS } from "../shared/navigation.js";
import { aboutMask, aboutTrace } from "./sentences.js";

const HINT =
  "Each row sums to one. Point at a square or tap it: the words above show where the attention went.";

export class Triangle {
  constructor(captions) {
    this.captions = captions;
    this.root = captions.find(".triangle");
    this.clear();
    captions.on(this.root, "pointermove", (event) =>
      this.hover(event.target.closest("[data-row]")?.dataset),
    );
    captions.on(this.root, "pointerleave", () => this.hover());
    captions.on(this.root, "click", (event) => this.tap(event.target.closest(".square")?.dataset));
    captions.on(this.root, "blur", () => this.stepTo(null));
  }

  clear() {
    this.squares = [];
    this.names = [];
    this.hovered = null; // { row, column } under the mouse; without a column, the whole row
    this.stepped = null; // the same, reached by the arrow keys
  }

  build() {
    const { header, maps, count } = this.captions;
    this.clear();
    this.captions.find(".triangle-group").hidden = !count;
    this.root.hidden = !maps.hasOwn;
    this.captions.find(".why-mask").hidden = !maps.hasOwn;
    if (!maps.hasOwn) {
      this.root.replaceChildren();
      setText(this.captions.find(".trace"), header.noSelf);
      return;
    }
    const squares = `repeat(${count + 1}, minmax(0, 1.5rem))`;
    this.root.style.gridTemplateColumns = `${squares} minmax(4rem, 1fr)`;
    const rows = ["start", ...header.words].map((text, i) => this.buildRow(text, i - 1));
    this.root.replaceChildren(...rows.flat());
    this.showTrace();
  }

  // The name of a word stands at the end of its row and at the head of its column.
  buildRow(text, row) {
    const parts = [];
    for (let column = 0; column <= row; column++) {
      const place = { "data-row": row, "data-column": column };
      const square = element("span", { class: "square", ...place });
      square.style.gridArea = `${row + 2} / ${column + 1}`;
      this.squares.push({ square, row, column });
      parts.push(square);
    }
    const name = element("span", { class: "name" }, element("bdi", {}, text));
    name.style.gridArea = `${row + 2} / ${row + 2} / auto / -1`;
    if (row >= 0) {
      name.dataset.row = row;
      this.captions.on(name, "click", () => this.captions.choose(row));
      this.names.push(name);
    }
    return [...parts, name];
  }

  draw() {
    if (!this.squares.length) return;
    const { header, maps, view } = this.captions;
    const rows = header.words.map((_, word) => maps.ownRow(view, word));
    for (const { square, row, column } of this.squares) {
      square.style.setProperty("--strength", rows[row][column].toFixed(3));
    }
  }

  markWord() {
    const { header, word } = this.captions;
    if (this.names.length) setText(this.captions.find(".mask"), aboutMask(header.words, word));
    for (const [i, name] of this.names.entries()) {
      name.classList.toggle("now", i === this.captions.word);
    }
  }

  // A row, or one square of it: where the mouse is, or else where the arrow keys are.
  get traced() {
    return this.hovered ?? this.stepped;
  }

  hover({ row, column } = {}) {
    const number = (text) => (text === undefined ? undefined : Number(text));
    this.hovered = row === undefined ? null : { row: Number(row), column: number(column) };
    this.traceChanged();
  }

  // A finger leaves as soon as it has tapped, so a square that was tapped stays.
  tap(square) {
    if (square) this.stepTo({ row: Number(square.row), column: Number(square.column) });
  }

  // The arrow keys count until the mouse moves again.
  stepTo(place) {
    this.hovered = null;
    this.stepped = place;
    this.traceChanged();
  }

  traceChanged() {
    this.showTrace();
    this.captions.schedule();
  }

  // Whether the triangle takes a key.
  onKey(key) {
    if (key in ARROWS) this.stepBy(...ARROWS[key]);
    else if (key === "Escape") this.stepTo(null);
    else if (key === "Enter") this.captions.choose(this.traced?.row ?? this.captions.word);
    else return false;
    return true;
  }

  // A step up or down keeps to whole rows, until one to the side takes up a single square.
  stepBy(down, right) {
    const { traced } = this;
    if (!traced) return this.stepTo({ row: this.captions.word });
    const row = clamp(traced.row + down, 0, this.captions.count - 1);
    if (traced.column === undefined && !right) return this.stepTo({ row });
    const start = traced.column ?? (right > 0 ? -1 : row + 1);
    this.stepTo({ row, column: clamp(start + right, 0, row) });
  }

  showTrace() {
    if (!this.squares.length) return;
    const { traced } = this;
    for (const { square, row, column } of this.squares) {
      const lit = traced?.row === row && (traced.column ?? column) === column;
      square.classList.toggle("lit", lit);
    }
    setText(this.captions.find(".trace"), traced ? this.sentence(traced) : HINT);
  }

  sentence({ row, column }) {
    const { header, maps, view } = this.captions;
    const values = maps.ownRow(view, row);
    const from = column ?? peakOf(values);
    return aboutTrace(header.words, row, from, values[from], column === undefined);
  }
}
