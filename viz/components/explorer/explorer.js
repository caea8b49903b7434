// The explorer: a photo, its patches, and where each of them looks in every head of a layer.
// The page sends queries and keys once a layer; every frame after that is drawn from them here.

import { attentionRows, fusedRow, peakOf } from "../shared/attention.js";
import { Component, mountable } from "../shared/component.js";
import { setText } from "../shared/controls.js";
import { centreOf, clamp, nextPatch, patchAt, samePatch } from "../shared/grid.js";
import { ARROWS, fitHead, isShortcut, nextOf } from "../shared/navigation.js";
import { ControlPanel, headsAndFusions } from "./control_panel.js";
import { Pictures } from "./pictures.js";
import { announcement, Readout } from "./readout.js";

class Explorer extends Component {
  static selector = ".explorer";

  constructor(root) {
    super(root);
    this.canvas = this.find(".photo");
    this.layers = new Map(); // layer number -> its queries and keys
    this.hovered = null; // the token of the patch under the mouse
    this.panel = new ControlPanel(this);
    this.pictures = new Pictures(this);
    this.readout = new Readout(this);
    this.listen();
  }

  // -- what Python sends -----------------------------------------------------------------

  receive(header, arrays) {
    const newPicture = header.image !== this.header?.image;
    const newModel = header.model !== this.header?.model;
    this.header = header;
    if (newPicture) {
      this.layers.clear();
      this.hovered = null;
      this.photo = null;
    }
    this.keep(header, arrays);
    if (header.revision !== this.revision) {
      this.revision = header.revision;
      this.view = header.view;
      this.style = header.style;
      this.sent = this.wording;
    }
    if (this.photoOf !== header.image || !this.layers.has(header.layer)) this.ask();
    if (newModel || newPicture) this.panel.build();
    this.panel.show();
  }

  // What was sent once is not sent again: see `has` in the message to Python.
  keep(header, arrays) {
    if (arrays.photo) {
      this.photoOf = header.image;
      this.decode(arrays.photo);
    }
    if (header.kind) {
      const [heads, rows, columns] = header.layers[header.layer];
      const tokens = header.prefix.length + rows * columns;
      this.layers.set(header.layer, { ...header, ...arrays, heads, tokens });
    }
  }

  // Python took something to be here that is not.
  ask() {
    this.sent = null;
    this.later(() => this.send(), 0);
  }

  get layer() {
    return this.layers.get(this.view.layer);
  }

  get heads() {
    return this.header.layers[this.view.layer][0];
  }

  get grid() {
    return this.header.layers[this.view.layer].slice(1);
  }

  get firstPatch() {
    return this.header.prefix.length; // the token of the first patch
  }

  // -- what is sent to Python ------------------------------------------------------------

  change(update, delay = 0) {
    Object.assign(this.view, update);
    this.changed(delay);
  }

  changeStyle(update) {
    Object.assign(this.style, update);
    this.changed("opacity" in update ? 300 : 0);
  }

  changed(delay) {
    this.panel.show();
    this.schedule();
    this.later(() => this.send(), delay);
  }

  get wording() {
    return JSON.stringify({ ...this.view, ...this.style });
  }

  send() {
    if (this.wording === this.sent) return;
    this.sent = this.wording;
    const has = this.photo ? { image: this.header.image, layers: [...this.layers.keys()] } : null;
    const { view, style, revision } = this;
    this.setStateValue("view", { ...view, ...style, revision, has });
  }

  // -- mouse, keyboard, files ------------------------------------------------------------

  listen() {
    this.on(this.canvas, "pointermove", (event) => this.hover(this.tokenAt(event)));
    this.on(this.canvas, "pointerleave", () => this.hover(null));
    this.on(this.canvas, "click", (event) => this.toggle(this.tokenAt(event)));
    this.on(this.root, "keydown", (event) => this.onKey(event));
    this.sizes.observe(this.canvas.parentElement);
    this.onPaste = this.guard((event) => this.handOver(event, event.clipboardData));
    document.addEventListener("paste", this.onPaste);
    this.on(this.root, "dragover", (event) => event.preventDefault());
    this.on(this.root, "drop", (event) => this.handOver(event, event.dataTransfer));
  }

  close() {
    super.close();
    document.removeEventListener("paste", this.onPaste);
  }

  // A picture dropped on the photo or pasted goes the way of the page's own upload field.
  handOver(event, transfer) {
    const input = document.querySelector(`.st-key-${this.header?.upload} input[type="file"]`);
    if (!input || !transfer?.files.length) return;
    event.preventDefault();
    const files = new DataTransfer();
    files.items.add(transfer.files[0]);
    input.files = files.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  }

  tokenAt(event) {
    if (!this.header) return null;
    const patch = patchAt(event, this.canvas, this.grid);
    return patch === null ? null : this.firstPatch + patch;
  }

  hover(token) {
    if (token === this.hovered) return;
    this.hovered = token;
    this.schedule();
  }

  // Hold a patch, or let it go if it is the one held.
  toggle(token) {
    if (token === null) return;
    const held = !(this.view.held && this.view.query === token);
    this.change({ query: token, held });
  }

  onKey(event) {
    const typing = event.target.matches("select, input[type=range]");
    if (typing || isShortcut(event)) return;
    const last = this.header.layers.length - 1;
    const keys = {
      "[": () => this.goTo(clamp(this.view.layer - 1, 0, last)),
      "]": () => this.goTo(clamp(this.view.layer + 1, 0, last)),
      ",": () => this.stepHead(-1),
      ".": () => this.stepHead(1),
      c: () => this.firstPatch > 0 && this.change({ query: 0, held: true }),
      Escape: () => this.change({ held: false }),
    };
    const onPhoto = event.target === this.canvas;
    if (event.key in keys) keys[event.key]();
    else if (onPhoto && event.key in ARROWS) this.move(ARROWS[event.key]);
    else if (onPhoto && event.key === "Enter") {
      this.change({ query: this.query, held: !this.view.held });
    } else return;
    event.preventDefault();
    requestAnimationFrame(this.guard(() => setText(this.find(".announcer"), announcement(this))));
  }

  // Another layer, from the same place: the layers of a hierarchical model differ in their grids.
  goTo(layer) {
    const [heads, ...newGrid] = this.header.layers[layer];
    const patch = this.view.query - this.firstPatch;
    const query =
      patch < 0 ? this.view.query : this.firstPatch + samePatch(patch, this.grid, newGrid);
    this.hovered = null;
    this.change({ layer, query, head: fitHead(this.view.head, heads) }, 80);
  }

  stepHead(step) {
    this.change({ head: nextOf(headsAndFusions(this.heads), this.view.head, step) }, 80);
  }

  // One patch on from the one that asks, be it held or under the mouse; from a token that has no
  // place on the photo, to the middle.
  move(direction) {
    const patch = this.query - this.firstPatch;
    const next = patch < 0 ? centreOf(this.grid) : nextPatch(patch, direction, this.grid);
    this.hovered = null;
    this.change({ query: this.firstPatch + next, held: true }, 250);
  }

  // -- a frame ---------------------------------------------------------------------------

  // Held: the held patch asks, and the mouse reads values. Not held: the patch under the mouse asks.
  get query() {
    return this.view.held || this.hovered === null ? this.view.query : this.hovered;
  }

  // While a patch is held, the mouse reads the value of another one.
  get reading() {
    return this.view.held && this.hovered !== null && this.hovered !== this.view.query;
  }

  draw() {
    const { layer, view } = this;
    if (!this.photo || !layer) return;
    const rows = attentionRows(layer, this.query);
    const row = fusedRow(rows, layer.heads, layer.tokens, view.head);
    const shared = this.style.scaling === "layer" ? this.layerTop(rows, layer) : null;
    const patches = row.subarray(this.firstPatch);
    const top = shared ?? patches[peakOf(patches)];
    this.pictures.draw(rows, patches, top, shared);
    this.readout.write(row, top);
  }

  layerTop(rows, { heads, tokens }) {
    let top = 0;
    for (let head = 0; head < heads; head++) {
      const patches = rows.subarray(head * tokens + this.firstPatch, (head + 1) * tokens);
      top = Math.max(top, patches[peakOf(patches)]);
    }
    return top;
  }
}

export default mountable(Explorer);
