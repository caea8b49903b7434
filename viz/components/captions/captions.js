// A caption word by word: where the decoder looked for each word, and on which words it built.
// One payload holds every layer, head and word, so stepping through them needs no server.

import { peakOf } from "../shared/attention.js";
import { Component, mountable } from "../shared/component.js";
import { listenToStyle, setText, showStyle } from "../shared/controls.js";
import { drawScale } from "../shared/drawing.js";
import { clamp, nextPatch, patchAt } from "../shared/grid.js";
import { ARROWS, fitHead, isShortcut, nextOf } from "../shared/navigation.js";
import { beginCaptionView } from "../shared/shared_view.js";
import { headName } from "../shared/text.js";
import { WithoutLinks } from "../shared/without.js";
import { Choices } from "./choices.js";
import { CaptionMaps } from "./maps.js";
import { Pictures } from "./pictures.js";
import { aboutHits, aboutPatch, aboutWord } from "./sentences.js";
import { Triangle } from "./triangle.js";
import { Words } from "./words.js";

const STEP = 900; // milliseconds that a word stays while playing

class Captions extends Component {
  static selector = ".captions";

  constructor(root) {
    super(root);
    this.canvas = this.find(".photo");
    this.words = new Words(this);
    this.choices = new Choices(this);
    this.triangle = new Triangle(this);
    this.pictures = new Pictures(this);
    this.without = new WithoutLinks(this);
    this.listen();
  }

  // -- what Python sends -----------------------------------------------------------------

  receive(header, arrays) {
    this.stop();
    this.header = header;
    this.maps = new CaptionMaps(header, arrays);
    this.follow(beginCaptionView(header, this.answers));
    this.preview = null; // the word under the mouse
    this.pointed = null; // the patch under the mouse
    this.held = null; // the patch that was clicked
    this.loadPhoto();
    this.build();
    this.viewChanged();
  }

  get count() {
    return this.header.words.length;
  }

  get word() {
    return this.preview ?? this.view.word; // the one that is shown
  }

  get patch() {
    return this.pointed ?? this.held; // the one that words are compared by
  }

  // -- the view --------------------------------------------------------------------------

  get view() {
    return this.followed.values;
  }

  get style() {
    return { ...this.header.style, ...this.view };
  }

  change(update, delay) {
    this.followed.change(update, delay);
  }

  // -- mouse and keyboard ----------------------------------------------------------------

  listen() {
    this.on(this.canvas, "pointermove", (event) => this.point(this.patchAt(event)));
    this.on(this.canvas, "pointerleave", () => this.point(null));
    this.on(this.canvas, "click", (event) => this.hold(this.patchAt(event)));
    this.on(this.root, "keydown", (event) => this.onKey(event));
    this.on(this.find(".back"), "click", () => this.step(-1));
    this.on(this.find(".next"), "click", () => this.step(1));
    this.on(this.find(".play"), "click", () => (this.playing ? this.stop() : this.play()));
    this.on(this.find(".boxes"), "change", (e) => this.change({ boxes: e.target.checked }));
    listenToStyle(this, (update) => this.change(update));
    this.sizes.observe(this.find(".panes"));
  }

  close() {
    super.close();
    clearInterval(this.playing);
  }

  onKey(event) {
    const typing = event.target.matches("select, input[type=range]");
    if (typing || isShortcut(event) || !this.count) return;
    const radio = event.target.matches("input[type=radio]") && event.key in ARROWS;
    if (radio) return; // the browser moves from head to head
    const done =
      (event.target === this.triangle.root && this.triangle.onKey(event.key)) ||
      (event.target === this.canvas && this.onPhotoKey(event.key)) ||
      this.onWordKey(event.key);
    if (done) event.preventDefault();
  }

  // Whether the photo takes a key: Enter holds a patch, which the arrows then move.
  onPhotoKey(key) {
    if (key === "Enter") this.hold(this.held ?? peakOf(this.maps.patches(this.view, this.word)));
    else if (this.held !== null && key in ARROWS) this.moveHeld(ARROWS[key]);
    else return false;
    return true;
  }

  onWordKey(key) {
    const keys = {
      ArrowLeft: () => this.step(-1),
      ArrowRight: () => this.step(1),
      Home: () => this.choose(0),
      End: () => this.choose(this.count - 1),
      "[": () => this.stepLayer(-1),
      "]": () => this.stepLayer(1),
      ",": () => this.stepHead(-1),
      ".": () => this.stepHead(1),
      Escape: () => this.hold(null),
    };
    keys[key]?.();
    return key in keys;
  }

  choose(word) {
    this.stop();
    this.preview = null;
    this.change({ word });
    this.words.focus(word);
    this.announce();
  }

  step(by) {
    if (this.count) this.choose(clamp(this.view.word + by, 0, this.count - 1));
  }

  stepLayer(by) {
    const layer = this.view.layer + by;
    if (!(layer in this.header.layers)) return;
    this.change({ layer, head: fitHead(this.view.head, this.header.layers[layer]) });
  }

  stepHead(by) {
    const order = ["mean", ...Array(this.header.layers[this.view.layer]).keys()];
    this.change({ head: nextOf(order, this.view.head, by) });
  }

  play() {
    if (!this.count) return;
    const last = this.count - 1;
    this.preview = null;
    this.change({ word: this.view.word === last ? 0 : this.view.word });
    const next = this.guard(() => {
      if (this.view.word >= last) this.stop();
      else this.change({ word: this.view.word + 1 }, 2 * STEP); // the last one is the history's
    });
    this.playing = setInterval(next, STEP);
    setText(this.find(".play"), "Pause");
  }

  stop() {
    clearInterval(this.playing);
    this.playing = null;
    setText(this.find(".play"), "Play");
  }

  // Show a word for as long as the mouse is on it.
  glanceAt(word) {
    if (word === this.preview || this.playing) return;
    this.preview = word;
    this.schedule();
  }

  patchAt(event) {
    return this.header ? patchAt(event, this.canvas, this.header.grid) : null;
  }

  point(patch) {
    if (patch === this.pointed || !this.maps?.shown) return;
    this.pointed = patch;
    this.schedule();
  }

  hold(patch) {
    if (!this.maps?.shown) return;
    this.held = patch === this.held ? null : patch;
    this.pointed = null;
    this.schedule();
    this.announce();
  }

  moveHeld(direction) {
    this.held = nextPatch(this.held, direction, this.header.grid);
    this.schedule();
    this.announce();
  }

  // -- the parts of the page -------------------------------------------------------------

  build() {
    this.words.build();
    this.choices.build();
    this.pictures.build();
    this.triangle.build();
    const { boxes, summary } = this.header;
    const { shown } = this.maps;
    setText(this.find(".summary"), summary);
    setText(this.find(".about-memory"), this.header.aboutMemory);
    this.find(".scale").hidden = !shown;
    this.find(".readout").hidden = !this.count;
    this.find(".player").hidden = !this.count;
    this.find(".chosen").hidden = !this.count;
    this.find(".boxes-switch").hidden = !boxes.length;
    this.canvas.style.cursor = shown ? "" : "default";
  }

  viewChanged() {
    const { layer, head, boxes } = this.view;
    this.pictures.markChosen();
    setText(this.find(".heads-title"), `showing layer ${layer + 1}, ${headName(head)}`);
    this.find(".boxes").checked = boxes;
    showStyle(this, this.style);
    drawScale(this.find(".bar"), this.style.colors);
    this.triangle.showTrace();
    this.schedule();
  }

  draw() {
    if (!this.header) return;
    this.words.mark();
    this.showReadout();
    this.choices.show();
    this.triangle.markWord();
    this.pictures.draw();
    this.showWithout();
  }

  // The chosen head and the held patch may be tried on the page What if.
  showWithout() {
    const { layer, head } = this.view;
    const row = this.header.crossRows[layer];
    const off = typeof head === "number" && row !== undefined ? [row, row + 1, head] : null;
    this.without.show(this.header.whatIf, off, this.held);
  }

  showReadout() {
    const { patch, header, maps, view, word } = this;
    const about = patch === null ? aboutWord(header, maps, view, word) : this.aboutPatch(patch);
    setText(this.find(".readout"), about.text);
    if (about.high) setText(this.find(".high"), about.high);
    if (this.count) setText(this.find(".score"), aboutHits(header, maps, view));
  }

  aboutPatch(patch) {
    const isHeld = this.pointed === null;
    return aboutPatch(this.header, this.maps, this.view, patch, isHeld);
  }

  announce() {
    const say = () => {
      const text = (selector) => this.find(selector).textContent;
      const sentence = `${text(".which")}, ${text(".logprob")}. ${text(".readout")}`;
      setText(this.find(".announcer"), sentence);
    };
    requestAnimationFrame(this.guard(say));
  }
}

export default mountable(Captions);
