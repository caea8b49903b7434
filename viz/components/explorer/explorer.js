// The explorer: a photo, its patches, and where each of them looks in every head of a layer.
// Queries and keys come once a layer; every frame after that is drawn from them here.

import { attentionRows, fusedRow, peakOf } from "../shared/attention.js";
import { Component, mountable } from "../shared/component.js";
import { setText } from "../shared/controls.js";
import { centreOf, clamp, nextPatch, patchAt, sameToken } from "../shared/grid.js";
import { ARROWS, fitHead, isShortcut, nextOf } from "../shared/navigation.js";
import { beginView } from "../shared/shared_view.js";
import { WithoutLinks } from "../shared/without.js";
import { ControlPanel, headsAndFusions } from "./control_panel.js";
import { Pictures } from "./pictures.js";
import { announcement, Readout } from "./readout.js";

class Explorer extends Component {
  static selector = ".explorer";

  constructor(root) {
    super(root);
    this.canvas = this.find(".photo");
    this.hovered = null; // the token of the patch under the mouse
    this.panel = new ControlPanel(this);
    this.pictures = new Pictures(this);
    this.readout = new Readout(this);
    this.without = new WithoutLinks(this);
    this.listen();
  }

  // -- what Python sends -----------------------------------------------------------------

  receive(header) {
    const newPicture = header.image !== this.header?.image;
    const newModel = header.model !== this.header?.model;
    this.header = header;
    if (newPicture) {
      this.hovered = null;
      this.loadPhoto();
    }
    this.follow(beginView(header, this.answers));
    if (newModel || newPicture) this.panel.build();
    this.viewChanged();
  }

  // The layer that is looked at, once it is here.
  get layer() {
    return this.answers.here(this.question);
  }

  get question() {
    return `layer/${this.view.layer}`;
  }

  get view() {
    return this.followed.values;
  }

  get style() {
    return { ...this.header.style, ...this.view };
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

  // -- the view --------------------------------------------------------------------------

  change(update) {
    this.followed.change(update);
  }

  viewChanged() {
    if (!this.layer) this.wait(this.answers.part(this.question));
    this.panel.show();
    this.showWithout();
    this.schedule();
  }

  // The chosen head and the held patch may be tried on the page What if.
  showWithout() {
    const { layer, head, held, query } = this.view;
    const off = typeof head === "number" ? [layer, this.header.numbers[layer], head] : null;
    const patch = query - this.firstPatch;
    this.without.show(this.header.whatIf, off, held && patch >= 0 ? patch : null);
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
    const [heads] = this.header.layers[layer];
    const query = sameToken(this.view.query, this.view.layer, layer, this.header);
    this.hovered = null;
    this.change({ layer, query, head: fitHead(this.view.head, heads) });
  }

  stepHead(step) {
    this.change({ head: nextOf(headsAndFusions(this.heads), this.view.head, step) });
  }

  // One patch on from the one that asks, be it held or under the mouse; from a token that has no
  // place on the photo, to the middle.
  move(direction) {
    const patch = this.query - this.firstPatch;
    const next = patch < 0 ? centreOf(this.grid) : nextPatch(patch, direction, this.grid);
    this.hovered = null;
    this.change({ query: this.firstPatch + next, held: true });
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
    this.root.classList.remove("waiting");
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
