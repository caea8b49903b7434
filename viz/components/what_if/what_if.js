// A photo on which patches are hidden, and the model's answer before and after.
// What was chosen is drawn at once; Python answers with the new bars.

import { answersFor } from "../shared/answers.js";
import { opaquePalette } from "../shared/colors.js";
import { Component, mountable } from "../shared/component.js";
import { element, setText } from "../shared/controls.js";
import {
  drawFrame,
  drawGrid,
  drawScale,
  fitCanvas,
  mutedPhoto,
  paintMap,
} from "../shared/drawing.js";
import { sharedExperiment } from "../shared/experiment.js";
import { clamp, nextPatch, patchAt, patchBox, placeName, rowAndColumn } from "../shared/grid.js";
import { ARROWS, isShortcut } from "../shared/navigation.js";
import { forPointer, isMouse } from "../shared/pointer.js";
import { capital, decimals, percent } from "../shared/text.js";
import { paintHidden } from "./hidden.js";

const SURE = 0.99; // the probability from which a word is all but certain

class WhatIf extends Component {
  static selector = ".what_if";

  constructor(root) {
    super(root);
    this.canvas = this.find(".photo");
    this.cursor = null; // the patch that the arrow keys have reached
    this.hovered = null;
    this.rows = new Map(); // class -> its row of bars
    this.listen();
  }

  // -- what Python sends -----------------------------------------------------------------

  receive(header, arrays) {
    if (header.image !== this.header?.image) this.cursor = this.hovered = null;
    if (header.second !== this.header?.second) this.second = null;
    this.header = header;
    this.effects = arrays.effects ?? null;
    this.loadPhoto();
    if (header.second) this.loadSecond();
    this.follow(sharedExperiment(header.scope));
    this.followed.take(header);
    if (!header.question || header.question === this.followed.question) this.showAnswer(header);
    this.showTools();
  }

  loadSecond() {
    const { second, key } = this.header;
    this.wait(answersFor({ photo: second, key }, {}, this.ask).photo(), (photo) => {
      if (this.header.second === second) this.second = photo;
    });
  }

  get hidden() {
    return this.followed.hidden;
  }

  // Draw what was done, and ask for its answer: it comes before Python has run the page again.
  viewChanged() {
    if (!this.header) return;
    this.schedule();
    const { question } = this.followed;
    if (!this.header.question || question === this.answered) return;
    this.answers.part(question).then(
      this.guard((answer) => {
        if (question === this.followed.question) this.showAnswer({ ...answer, question });
      }),
      () => {}, // then Python's own answer is the first
    );
  }

  act(what, more = {}) {
    const serial = this.followed.change(more);
    this.setTriggerValue("act", { do: what, serial, ...more });
  }

  // -- the answer ------------------------------------------------------------------------

  showAnswer({ words, classes, changed, captions, question = null }) {
    this.answered = question;
    setText(this.find(".words"), words);
    this.find(".captions").replaceChildren(...(captions ?? []).map(captionLine));
    this.find(".legend").hidden = !(classes.length && changed);
    const most = Math.max(...classes.flatMap(([, before, after]) => [before, after]), 0.01);
    const known = this.rows;
    this.rows = new Map();
    for (const [place, [name, before, after]] of classes.entries()) {
      const id = `${place} ${name}`;
      const row = known.get(id) ?? pairOfBars(name);
      this.rows.set(id, row);
      row.before.style.width = `${(100 * before) / most}%`;
      row.after.style.width = `${(100 * after) / most}%`;
      setText(row.was, changed ? `${percent(before)} → ` : "");
      setText(row.now, percent(after));
    }
    const rows = [...this.rows.values()];
    const best = captions ? -1 : bestOf(classes); // words of a caption do not compete
    for (const [place, { node }] of rows.entries()) node.classList.toggle("top", place === best);
    this.find(".classes").replaceChildren(...rows.map(({ node }) => node));
    this.foldSureWords(Boolean(captions) && !changed, classes);
  }

  // Before a change, words that are all but certain are one sentence, not as many equal bars.
  foldSureWords(isUnchangedCaption, classes) {
    const least = Math.min(...classes.map(([, before]) => before));
    const isSure = isUnchangedCaption && classes.length > 0 && least >= SURE;
    const told = `Each word has at least ${percent(Math.floor(1000 * least) / 1000)}; the bars come with the first change.`;
    this.find(".classes").hidden = isSure;
    setText(this.find(".sure"), isSure ? told : "");
  }

  // In a file the experiment is a finished one: there is no model that could answer another.
  get fixed() {
    return Boolean(this.header?.fixed);
  }

  showTools() {
    const { undo, redo, hides, hide } = this.header;
    this.find(".tools").hidden = this.fixed;
    this.find(".undo").disabled = !undo;
    this.find(".redo").disabled = !redo;
    this.find(".restore").disabled = !this.header.any;
    const select = this.find(".hide");
    select.replaceChildren(...hides.map(([value, name]) => element("option", { value }, name)));
    select.value = hide;
    const scale = this.find(".scale");
    scale.hidden = !this.effects;
    if (!this.effects) return;
    drawScale(this.find(".bar"), this.header.style.colors);
    const { lost } = this.header;
    setText(this.find(".high"), `${decimals(this.largest)} ${lost} lost without the patch`);
  }

  get largest() {
    return this.effects.reduce((most, value) => Math.max(most, -value), 0);
  }

  // -- drawing ---------------------------------------------------------------------------

  draw() {
    if (!this.photo) return;
    const { grid, style } = this.header;
    const { canvas, photo } = this;
    fitCanvas(canvas, photo.width / photo.height);
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    if (this.effects) this.drawEffects(context, style);
    else context.drawImage(photo, 0, 0, canvas.width, canvas.height);
    if (style.lines) drawGrid(context, grid);
    const look = { grid, hide: this.followed.hide, photo, second: this.second };
    paintHidden(context, this.shownHidden, look);
    const at = this.hovered ?? this.cursor;
    if (at !== null) drawFrame(context, patchBox(at, grid), 1.5);
    if (this.box) drawFrame(context, boxOf(this.box, grid), 1.5, true);
    this.read(at);
  }

  drawEffects(context, style) {
    const { width, height } = this.canvas;
    context.drawImage(mutedPhoto(this.photo, width, height, style), 0, 0);
    const losses = this.effects.map((value) => Math.max(0, -value));
    const alphas = opaquePalette(style.colors).map(
      (word, step) => (word & 0xffffff) | (Math.round(220 * (step / 255) ** 0.5) << 24),
    );
    this.map = paintMap(losses, this.largest, this.header.grid, alphas, this.map);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.map, 0, 0, width, height);
  }

  // Hidden patches, and what the stroke under way would make of them.
  get shownHidden() {
    if (!this.stroke) return this.hidden;
    const shown = new Set(this.hidden);
    for (const patch of this.box ? patchesOf(this.box, this.header.grid) : this.stroke.patches)
      if (this.stroke.hides) shown.add(patch);
      else shown.delete(patch);
    return shown;
  }

  read(patch) {
    const { grid } = this.header;
    const count = this.shownHidden.size;
    const rest = count ? `${count} of ${grid[0] * grid[1]} patches hidden.` : "";
    if (patch === null) return setText(this.find(".readout"), rest || forPointer(this.header.hint));
    const effect = this.effects ? `: ${this.sentenceOf(this.effects[patch])}` : "";
    setText(this.find(".readout"), `${capital(placeName(patch, grid))}${effect}. ${rest}`);
  }

  sentenceOf(effect) {
    const way = effect < 0 ? "goes down" : "goes up";
    return `without it the ${this.header.lost} ${way} by ${decimals(Math.abs(effect))}`;
  }

  // -- mouse, finger, keyboard -----------------------------------------------------------

  listen() {
    const { canvas } = this;
    this.on(canvas, "pointerdown", (event) => this.begin(event));
    this.on(canvas, "pointermove", (event) => this.move(event));
    this.on(canvas, "pointerup", () => this.end());
    this.on(canvas, "pointercancel", () => this.end());
    this.on(canvas, "pointerleave", (event) => (isMouse(event) || !this.fixed) && this.hover(null));
    this.on(canvas, "blur", () => this.stepTo(null));
    this.on(this.root, "keydown", (event) => this.onKey(event));
    for (const step of ["undo", "redo", "restore"])
      this.on(this.find(`.${step}`), "click", () => {
        this.act(step);
        canvas.focus({ preventScroll: true }); // a button that is then off would lose the keys
      });
    this.on(this.find(".hide"), "change", (event) =>
      this.act("ways", { hide: event.target.value }),
    );
    this.sizes.observe(canvas.parentElement);
  }

  begin(event) {
    if (!this.photo || event.button > 0) return;
    const patch = patchAt(event, this.canvas, this.header.grid);
    if (patch === null) return;
    if (this.fixed) return this.hover(patch);
    this.canvas.setPointerCapture(event.pointerId);
    this.stroke = { hides: !this.hidden.has(patch), patches: new Set([patch]), last: patch };
    const boxes = event.shiftKey || this.find(".boxed").checked;
    this.box = boxes ? [patch, patch] : null;
    this.hovered = patch;
    this.schedule();
  }

  move(event) {
    if (!this.header) return;
    const patch = patchAt(event, this.canvas, this.header.grid);
    if (!this.stroke) return this.hover(patch);
    const at = patch ?? nearestPatch(event, this.canvas, this.header.grid);
    if (this.box) this.box[1] = at;
    else
      for (const each of line(this.stroke.last, at, this.header.grid))
        this.stroke.patches.add(each);
    this.stroke.last = at;
    this.hovered = at;
    this.schedule();
  }

  end() {
    if (!this.stroke) return;
    const hidden = this.shownHidden;
    this.stroke = this.box = null;
    this.hidePatches(hidden);
  }

  hidePatches(hidden) {
    const serial = this.followed.change({ hidden });
    this.setTriggerValue("act", { do: "hidden", serial, hidden: this.followed.patches });
  }

  hover(patch) {
    if (patch === this.hovered) return;
    this.hovered = patch;
    this.schedule();
  }

  stepTo(patch) {
    this.cursor = patch;
    this.hovered = null;
    this.schedule();
  }

  onKey(event) {
    if (!this.header) return;
    const key = event.key.toLowerCase();
    const undoes = (event.ctrlKey || event.metaKey) && (key === "z" || key === "y");
    if (undoes && !this.fixed) this.act(key === "y" || event.shiftKey ? "redo" : "undo");
    else if (event.target !== this.canvas || isShortcut(event)) return;
    else if (event.key in ARROWS) this.step(event);
    else if (event.key === " " || event.key === "Enter") this.toggle();
    else if (event.key === "Escape") this.stepTo(null);
    else return;
    event.preventDefault();
  }

  step(event) {
    const from = this.cursor ?? this.hovered ?? 0;
    this.stepTo(this.cursor === null ? from : nextPatch(from, ARROWS[event.key], this.header.grid));
    if (event.shiftKey && !this.hidden.has(this.cursor)) this.toggle();
  }

  toggle() {
    if (this.cursor === null || this.fixed) return;
    const hidden = new Set(this.hidden);
    if (!hidden.delete(this.cursor)) hidden.add(this.cursor);
    this.hidePatches(hidden);
  }
}

function pairOfBars(name) {
  const before = element("span", { class: "fill before" });
  const after = element("span", { class: "fill after" });
  const was = element("span", { class: "was" });
  const now = element("span", { class: "now" });
  const tracks = [before, after].map((fill) => element("span", { class: "track" }, fill));
  const node = element(
    "li",
    { class: "pair" },
    element("bdi", { class: "name", title: name }, name),
    element("span", { class: "bars" }, ...tracks),
    element("span", { class: "value" }, was, now),
  );
  return { node, before, after, was, now };
}

// A caption, the words that the other one lacks marked.
function captionLine([title, words]) {
  const nodes = words.map(([word, changed]) => (changed ? element("mark", {}, word) : word));
  const spaced = nodes.flatMap((node) => [" ", node]);
  return element("p", {}, element("span", { class: "when" }, `${title}:`), ...spaced);
}

function bestOf(classes) {
  const after = classes.map(([, , share]) => share);
  return after.indexOf(Math.max(...after));
}

// The patches between two, corners of a box.
function patchesOf([one, other], grid) {
  const [top, left] = rowAndColumn(one, grid);
  const [bottom, right] = rowAndColumn(other, grid);
  const found = [];
  for (let row = Math.min(top, bottom); row <= Math.max(top, bottom); row++)
    for (let column = Math.min(left, right); column <= Math.max(left, right); column++)
      found.push(row * grid[1] + column);
  return found;
}

function boxOf([one, other], grid) {
  const [a, b] = [patchBox(one, grid), patchBox(other, grid)];
  const low = [0, 1].map((side) => Math.min(a[side], b[side]));
  const high = [2, 3].map((side) => Math.max(a[side], b[side]));
  return [...low, ...high];
}

// The patches on the way from one to another, so that a fast stroke has no gaps.
function line(from, to, grid) {
  const [row, column] = rowAndColumn(from, grid);
  const [down, right] = [rowAndColumn(to, grid)[0] - row, rowAndColumn(to, grid)[1] - column];
  const steps = Math.max(Math.abs(down), Math.abs(right), 1);
  return Array.from({ length: steps + 1 }, (_, step) => {
    const share = step / steps;
    return Math.round(row + share * down) * grid[1] + Math.round(column + share * right);
  });
}

function nearestPatch(event, node, [rows, columns]) {
  const box = node.getBoundingClientRect();
  const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
  const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
  return clamp(row, 0, rows - 1) * columns + clamp(column, 0, columns - 1);
}

export default mountable(WhatIf);
