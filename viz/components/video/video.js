// A clip: its frames with the chosen map over them, a timeline, and numbers over time. The maps of
// all frames come once a layer; playing, scrubbing and choosing a head are drawn from them here.

import { VIEW_NAMES, viewParams } from "../shared/address.js";
import { fusedRow, peakOf, sumOf } from "../shared/attention.js";
import { opaquePalette, palette } from "../shared/colors.js";
import { Component, mountable } from "../shared/component.js";
import { setText } from "../shared/controls.js";
import { drawFrame, fitCanvas, paintMap } from "../shared/drawing.js";
import {
  centreOf,
  clamp,
  nextPatch,
  patchAt,
  patchBox,
  placeName,
  sameToken,
} from "../shared/grid.js";
import { ARROWS, fitHead, isShortcut, nextOf } from "../shared/navigation.js";
import { isMouse } from "../shared/pointer.js";
import { sharedView } from "../shared/shared_view.js";
import { capital, headName, percent } from "../shared/text.js";
import { drawMuted, Frames } from "./frames.js";
import { Lines, spreadOf } from "./lines.js";
import { FUSED, Panel } from "./panel.js";

class Video extends Component {
  static selector = ".video";

  constructor(root) {
    super(root);
    this.canvas = this.find(".photo");
    this.slider = this.find(".slider");
    this.panel = new Panel(this);
    this.lines = new Lines(
      this.find(".lines"),
      this.guard((share) => this.goToShare(share)),
    );
    this.now = 0;
    this.pointed = null; // the patch under the mouse, or that the keys have reached
    this.listen();
  }

  // -- what Python sends -----------------------------------------------------------------

  receive(header, { shares }) {
    const isNew = header.source !== this.header?.source;
    Object.assign(this, { header, shares });
    this.followView();
    if (isNew) {
      this.pause();
      this.frames = null;
      this.shown = null;
      this.painted = undefined;
      this.spreads = new Map();
      this.panel.build();
      this.slider.max = header.frames - 1;
      this.wait(this.answers.part("photos"), (photos) => {
        if (header.source !== this.header.source) return;
        this.frames = new Frames(
          photos,
          this.guard((frame) => frame === this.now && this.schedule()),
        );
      });
    }
    this.viewChanged();
  }

  // The view of all pages, with the frame and whether rollout is shown besides.
  followView() {
    const { header } = this;
    const shared = sharedView("explore");
    shared.begin({
      view: header.view,
      revision: header.revision,
      names: [...VIEW_NAMES, "frame", "map"],
      write: (view) => ({
        ...viewParams(view, header),
        ...(view.frame ? { frame: String(view.frame + 1) } : {}),
        ...(view.map === "rollout" ? { map: "rollout" } : {}),
      }),
      report: this.answers.ask,
    });
    this.follow(shared);
  }

  get view() {
    return this.followed.values;
  }

  get style() {
    return { ...this.header.style, ...this.view };
  }

  get isRollout() {
    return this.view.map === "rollout" && this.header.rollout;
  }

  // The token that asks, in the layer that is shown; the maps are those of the first layer's.
  get asking() {
    return sameToken(this.header.asking, 0, this.view.layer, this.header);
  }

  get grid() {
    return this.header.layers[this.isRollout ? 0 : this.view.layer].slice(1);
  }

  get question() {
    return this.isRollout ? "rollout" : `layer/${this.view.layer}`;
  }

  change(update) {
    this.followed.change(update);
  }

  viewChanged() {
    if (!this.isPlaying) this.now = clamp(this.view.frame ?? 0, 0, this.header.frames - 1);
    if (!this.answers.here(this.question)) this.wait(this.answers.part(this.question));
    this.panel.show();
    this.shown = null;
    this.schedule();
  }

  goToLayer(layer) {
    const [heads] = this.header.layers[layer];
    const query = sameToken(this.header.asking, 0, layer, this.header);
    this.change({ layer, query, head: fitHead(this.view.head, heads), map: "layer" });
  }

  // Record the clip from another token: Python does. In a file there is no model that could.
  lookFrom(token) {
    if (token === this.asking || this.header.fixed) return;
    this.pause();
    this.change({ query: token, held: true }); // so that no report names the token before
    this.followed.settle();
    const { layer, map } = this.view;
    this.setTriggerValue("query", { layer, token, frame: this.now + 1, map: map ?? "layer" });
  }

  // -- time ------------------------------------------------------------------------------

  goTo(frame) {
    this.now = clamp(frame, 0, this.header.frames - 1);
    this.schedule();
  }

  goToShare(share) {
    this.pause();
    this.goTo(Math.round(share * (this.header.frames - 1)));
    this.keepFrame();
  }

  // The frame goes into the address once it rests.
  keepFrame() {
    if (this.view.frame !== this.now) this.change({ frame: this.now });
  }

  toggle() {
    if (this.isPlaying) this.pause();
    else this.play();
  }

  play() {
    if (this.now === this.header.frames - 1) this.now = 0;
    this.isPlaying = true;
    this.began = performance.now() - this.timeOf(this.now);
    this.find(".play").textContent = "Pause";
    this.tick();
  }

  pause() {
    if (!this.isPlaying) return;
    this.isPlaying = false;
    clearTimeout(this.ticking);
    this.find(".play").textContent = "Play";
    this.keepFrame();
  }

  // The last frame whose time has come; the clip begins anew after its last one.
  tick() {
    if (this.closed || !this.isPlaying) return;
    const { frames, milliseconds } = this.header;
    const length = this.timeOf(frames - 1) + milliseconds;
    const now = (performance.now() - this.began) % length;
    let frame = 0;
    while (frame < frames - 1 && this.timeOf(frame + 1) <= now) frame++;
    if (frame !== this.now) this.goTo(frame);
    this.ticking = setTimeout(
      this.guard(() => this.tick()),
      15,
    );
  }

  timeOf(frame) {
    const { seconds, milliseconds } = this.header;
    return seconds ? 1000 * seconds[frame] : milliseconds * frame;
  }

  // -- mouse and keyboard ----------------------------------------------------------------

  listen() {
    this.on(this.find(".play"), "click", () => this.toggle());
    this.on(this.slider, "input", () => {
      this.pause();
      this.goTo(Number(this.slider.value));
    });
    this.on(this.slider, "change", () => this.keepFrame());
    for (const name of ["pointermove", "pointerdown"])
      this.on(this.canvas, name, (event) => this.point(this.patchAt(event)));
    this.on(this.canvas, "pointerleave", (event) => isMouse(event) && this.point(null));
    this.on(this.canvas, "click", (event) => this.lookFromPatch(this.patchAt(event)));
    this.on(this.root, "keydown", (event) => this.onKey(event));
    this.sizes.observe(this.root);
  }

  patchAt(event) {
    return this.header ? patchAt(event, this.canvas, this.grid) : null;
  }

  point(patch) {
    if (patch === this.pointed) return;
    this.pointed = patch;
    this.schedule();
  }

  lookFromPatch(patch) {
    if (patch === null) return;
    const { prefix } = this.header;
    const token = prefix.length + patch;
    this.lookFrom(this.isRollout ? sameToken(token, 0, this.view.layer, this.header) : token);
  }

  onKey(event) {
    if (!this.header || isShortcut(event) || event.target.matches("select")) return;
    const onRange = event.target.matches("input[type=range]");
    const onPhoto = event.target === this.canvas;
    const { view, header } = this;
    const last = header.numbers.length - 1;
    const keys = {
      "[": () => this.goToLayer(clamp(view.layer - 1, 0, last)),
      "]": () => this.goToLayer(clamp(view.layer + 1, 0, last)),
      ",": () => this.stepHead(-1),
      ".": () => this.stepHead(1),
      PageUp: () => this.step(-1),
      PageDown: () => this.step(1),
      Home: () => this.step(-header.frames),
      End: () => this.step(header.frames),
    };
    if (event.key === " " && !event.target.matches("button, input:not([type=range])"))
      this.toggle();
    else if (event.key in keys && !(onRange && event.key.length > 1)) keys[event.key]();
    else if (onPhoto && event.key in ARROWS) this.movePatch(ARROWS[event.key]);
    else if (onPhoto && event.key === "Enter") this.lookFromPatch(this.pointed);
    else return;
    event.preventDefault();
    requestAnimationFrame(this.guard(() => setText(this.find(".announcer"), this.sentence())));
  }

  step(by) {
    this.pause();
    this.goTo(this.now + by);
    this.keepFrame();
  }

  stepHead(by) {
    const [heads] = this.header.layers[this.view.layer];
    this.change({ head: nextOf([...Array(heads).keys(), ...FUSED], this.view.head, by) });
  }

  movePatch(direction) {
    const { grid, pointed } = this;
    this.point(pointed === null ? centreOf(grid) : nextPatch(pointed, direction, grid));
  }

  // -- a frame ---------------------------------------------------------------------------

  // Every head's map of a frame, and the map of the chosen head.
  rowsOf(answer, frame) {
    const size = answer.maps.length / this.header.frames;
    return answer.maps.subarray(frame * size, (frame + 1) * size);
  }

  mapOf(answer, frame) {
    const rows = this.rowsOf(answer, frame);
    const patches = rows.length / answer.heads;
    return this.isRollout ? rows : fusedRow(rows, answer.heads, patches, this.view.head);
  }

  draw() {
    const answer = this.answers?.here(this.question);
    const picture = this.frames?.at(this.now);
    this.root.classList.toggle("waiting", !answer || !picture);
    this.showTime();
    if (!answer || !picture) return;
    const { canvas, grid, style, now: frame } = this;
    const values = this.mapOf(answer, frame);
    fitCanvas(canvas, picture.width / picture.height);
    const context = drawMuted(canvas, picture, style);
    this.painted = paintMap(values, values[peakOf(values)], grid, palette(style), this.painted);
    context.imageSmoothingEnabled = style.smooth;
    context.drawImage(this.painted, 0, 0, canvas.width, canvas.height);
    this.drawPatches(context);
    this.drawHeads(answer);
    this.drawLines(answer);
    setText(this.find(".readout"), this.sentence());
  }

  drawPatches(context) {
    const { grid, pointed, header } = this;
    const asking = (this.isRollout ? header.asking : this.asking) - header.prefix.length;
    if (asking >= 0) drawFrame(context, patchBox(asking, grid), 1.6);
    if (pointed !== null) drawFrame(context, patchBox(pointed, grid), 1.1, true);
  }

  drawHeads(answer) {
    if (this.isRollout) return;
    const rows = this.rowsOf(answer, this.now);
    const patches = rows.length / answer.heads;
    const colors = opaquePalette(this.style.colors);
    for (const { head, canvas } of this.panel.heads) {
      const values = fusedRow(rows, answer.heads, patches, head);
      paintMap(values, values[peakOf(values)], this.grid, colors, canvas);
    }
  }

  drawLines(answer) {
    const id = `${this.header.source} ${this.question} ${this.isRollout || this.view.head}`;
    if (this.shown !== id) {
      this.shown = id;
      this.lines.build([this.spreadLine(id, answer), ...this.classLines()]);
    }
    const style = getComputedStyle(this.root);
    const [text, line, accent] = ["text-color", "border-color", "primary-color"].map((name) =>
      style.getPropertyValue(`--st-${name}`),
    );
    this.lines.draw(this.now, { text, line, accent });
  }

  spreadLine(id, answer) {
    if (!this.spreads.has(id)) {
      const frames = Array.from({ length: this.header.frames }, (_, frame) => frame);
      this.spreads.set(
        id,
        frames.map((frame) => spreadOf(this.mapOf(answer, frame))),
      );
    }
    const [rows, columns] = this.grid;
    const even = Math.log(rows * columns);
    return {
      name: `Entropy, at most ${even.toFixed(2)}`,
      values: this.spreads.get(id),
      top: even,
      write: (nats) => `${nats.toFixed(2)} nats`,
    };
  }

  classLines() {
    const { classes, frames } = this.header;
    return classes.map((name, index) => ({
      name: capital(name),
      values: this.shares.subarray(index * frames, (index + 1) * frames),
      top: 1,
      write: percent,
    }));
  }

  showTime() {
    const { frames, seconds } = this.header;
    const time = seconds ? ` · ${seconds[this.now].toFixed(1)} s` : "";
    const words = `${this.now + 1} of ${frames}${time}`;
    setText(this.find(".time"), words);
    this.slider.value = this.now;
    this.slider.setAttribute("aria-valuetext", `Frame ${words}`);
  }

  // What the map of this frame says: its strongest patch, or the one that is pointed at.
  sentence() {
    const answer = this.answers.here(this.question);
    if (!answer) return "";
    const values = this.mapOf(answer, this.now);
    const name = this.isRollout ? "Rollout" : capital(headName(this.view.head));
    const at = this.pointed ?? peakOf(values);
    const strongest = this.pointed === null ? "strongest at " : "";
    return `${name}: ${strongest}${placeName(at, this.grid)}, ${percent(values[at])}; patches get ${percent(sumOf(values))}.`;
  }

  close() {
    super.close();
    clearTimeout(this.ticking);
  }
}

export default mountable(Video);
