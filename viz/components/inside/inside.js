// Inside a head: one query's way through one head and its block, step by step. The numbers of a
// layer come once; head, query, key and step are chosen here, and everything is computed here.

import { Component, mountable } from "../shared/component.js";
import { element, radio, setText } from "../shared/controls.js";
import { centreOf, clamp, nextPatch, patchAt, placeName } from "../shared/grid.js";
import { ARROWS, isShortcut } from "../shared/navigation.js";
import { capital, prefixName } from "../shared/text.js";
import { Diagram } from "./diagram.js";
import { Figures, formula } from "./figures.js";
import { HeadNumbers } from "./head_numbers.js";
import { PANELS } from "./panels.js";
import { Photo } from "./photo.js";
import { largestPlaces } from "./statistics.js";
import { Switches } from "./switches.js";

const PLAY = 5000; // milliseconds a step
const WITH_MAP = ["softmax", "values", "heads", "mask", "scale", "token"];

class Inside extends Component {
  static selector = ".inside";

  constructor(root) {
    super(root);
    this.canvas = this.find(".photo");
    this.hovered = null; // the token under the mouse
    this.role = "key"; // which of query and key a click on the photo chooses
    this.diagram = new Diagram(this);
    this.photoView = new Photo(this);
    this.switches = new Switches(this);
    this.listen();
  }

  // -- what Python sends -----------------------------------------------------------------

  // A layer's numbers come once, and stay; until they are here, the layer before is shown.
  receive(header) {
    const { answers } = this;
    const here = answers.here("numbers");
    if (here) return this.show(header, here);
    this.wait(answers.part("numbers"), (numbers) => {
      if (this.answers === answers) this.show(header, numbers);
    });
  }

  show(header, arrays) {
    const before = this.header;
    const off = before?.model === header.model ? this.numbers.off : null;
    this.header = header;
    this.style = header.style;
    this.numbers = new HeadNumbers(header, arrays);
    if (off) Object.assign(this.numbers.off, withoutMissing(off, header.switches));
    const isNew = before?.id !== header.id || before.opened !== header.opened;
    if (isNew) this.view = this.fit(header.view);
    this.hovered = null;
    this.loadPhoto();
    this.sent = JSON.stringify({ ...this.view, layer: header.layer });
    this.build();
    this.schedule();
  }

  // Where no key was chosen, it is the one with most weight; on a photo, a patch.
  fit({ key, ...view }) {
    const { numbers, header } = this;
    if (key !== null) return { ...view, key };
    const weights = numbers.ownWeights(view.head, view.query);
    const tokens = largestPlaces(weights, weights.length).map((place) =>
      numbers.tokenOfKey(view.query, place),
    );
    const first = header.keysOnPhoto ? header.prefix.length : 0;
    return { ...view, key: tokens.find((token) => token >= first) ?? tokens[0] };
  }

  build() {
    const { header } = this;
    this.diagram.build();
    this.buildLayers();
    this.buildHeads();
    this.buildRoles();
    this.buildTokens();
    setText(this.find(".missing"), header.missing.join(" "));
    this.find(".missing").hidden = header.missing.length === 0;
    this.stepBuilt = null;
  }

  buildLayers() {
    const { header } = this;
    const chips = header.layers.map((name, layer) => {
      const input = radio("layer", name);
      input.checked = layer === header.layer;
      this.on(input, "change", () => this.askLayer(layer));
      return element("label", { class: "chip" }, input, header.layerChips[layer]);
    });
    this.find(".layers").replaceChildren(...chips);
  }

  buildHeads() {
    this.heads = Array.from({ length: this.numbers.heads }, (_, head) => {
      const input = radio("head", `Head ${head + 1}`);
      this.on(input, "change", () => this.change({ head }));
      return input;
    });
    const chips = this.heads.map((input, head) =>
      element("label", { class: "chip" }, input, String(head + 1)),
    );
    this.find(".heads").replaceChildren(...chips);
  }

  // Where words ask patches, a click on a word and one on the photo cannot be confused.
  buildRoles() {
    const { header } = this;
    const roles = { query: "query (who asks)", key: "key (who is asked)" };
    this.find(".roles").hidden = header.kind === "cross";
    const chips = Object.entries(roles).map(([role, text]) => {
      const input = radio("role", text);
      input.checked = role === this.role;
      this.on(input, "change", () => {
        this.role = role;
        this.schedule();
      });
      return element("label", { class: "chip" }, input, text);
    });
    this.find(".roles .buttons").replaceChildren(...chips);
  }

  // Words, and tokens that are no patch, as buttons.
  buildTokens() {
    const { header } = this;
    const words = header.queryWords ?? [];
    this.tokens = [
      ...words.map((word, token) => this.tokenButton(word, token, "word")),
      ...(header.keysOnPhoto ? header.prefix : []).map((name, token) =>
        this.tokenButton(prefixName(name), token, header.queryWords ? "memory" : "prefix"),
      ),
    ];
    this.find(".tokens").replaceChildren(...this.tokens.map(({ button }) => button));
    this.find(".tokens").hidden = this.tokens.length === 0;
    this.root.classList.toggle("with-words", words.length > 0);
  }

  tokenButton(name, token, kind) {
    const button = element("button", { type: "button", class: "token" }, element("bdi", {}, name));
    const role = () => (kind === "memory" ? "key" : this.wordRole);
    this.on(button, "click", () => this.choose(role(), token));
    return { button, token, kind };
  }

  get wordRole() {
    return this.header.kind === "cross" ? "query" : this.role;
  }

  get photoRole() {
    return this.header.kind === "cross" ? "key" : this.role;
  }

  // -- what is sent to Python ------------------------------------------------------------

  change(update) {
    Object.assign(this.view, update);
    this.changed();
    this.schedule();
  }

  changed() {
    this.later(() => this.send(), 400);
  }

  send(layer = this.header.layer) {
    const message = JSON.stringify({ ...this.view, layer });
    if (message === this.sent) return;
    this.sent = message;
    this.setStateValue("view", { ...this.view, layer, id: this.header.id });
  }

  askLayer(layer) {
    this.root.classList.add("waiting");
    this.send(layer);
  }

  // -- mouse, keyboard, play -------------------------------------------------------------

  listen() {
    this.on(this.canvas, "pointermove", (event) => {
      if (event.pointerType === "mouse") this.hover(this.tokenAt(event));
    });
    this.on(this.canvas, "pointerleave", () => this.hover(null));
    this.on(this.canvas, "click", (event) => {
      const token = this.tokenAt(event);
      if (token !== null) this.choose(this.photoRole, token);
    });
    this.on(this.root, "keydown", (event) => this.onKey(event));
    this.onPageKey = this.guard((event) => {
      if (event.target === document.body) this.onKey(event);
    });
    document.addEventListener("keydown", this.onPageKey);
    this.on(this.find(".back"), "click", () => this.step(-1));
    this.on(this.find(".next"), "click", () => this.step(1));
    this.on(this.find(".play"), "click", () => (this.playing ? this.stop() : this.play()));
    this.on(this.find(".restore"), "click", () => this.restore());
    this.on(this.find(".all"), "change", (event) => {
      this.find(".figures").classList.toggle("whole", event.target.checked);
    });
    for (const place of [".panes", ".stage"]) this.sizes.observe(this.find(place));
  }

  close() {
    super.close();
    clearInterval(this.playing);
    document.removeEventListener("keydown", this.onPageKey);
  }

  onKey(event) {
    if (!this.header || isShortcut(event)) return;
    if (event.target.matches?.("select, input[type=range], input[type=radio]")) return;
    if (event.target === this.canvas && event.key in ARROWS) this.moveOnPhoto(ARROWS[event.key]);
    else if (event.key === "ArrowRight") this.step(1);
    else if (event.key === "ArrowLeft") this.step(-1);
    else if (event.key === "Home") this.goTo(this.header.steps[0].id);
    else if (event.key === "End") this.goTo(this.header.steps.at(-1).id);
    else if (event.key === "Escape") this.stop();
    else return;
    event.preventDefault();
  }

  tokenAt(event) {
    const { header } = this;
    if (!header?.keysOnPhoto) return null;
    const patch = patchAt(event, this.canvas, header.grid);
    return patch === null ? null : header.prefix.length + patch;
  }

  hover(token) {
    if (token === this.hovered) return;
    this.hovered = token;
    this.schedule();
  }

  choose(role, token) {
    this.hovered = null;
    this.change({ [role]: token });
    this.announce();
  }

  moveOnPhoto(direction) {
    const { header, photoRole } = this;
    if (!header.keysOnPhoto) return;
    const patch = this.view[photoRole] - header.prefix.length;
    const next = patch < 0 ? centreOf(header.grid) : nextPatch(patch, direction, header.grid);
    this.choose(photoRole, header.prefix.length + next);
  }

  get place() {
    return this.header.steps.findIndex(({ id }) => id === this.view.step);
  }

  step(by) {
    this.stop();
    this.goTo(this.header.steps[clamp(this.place + by, 0, this.header.steps.length - 1)].id);
  }

  goTo(step) {
    this.change({ step });
    this.announce();
  }

  play() {
    if (this.place === this.header.steps.length - 1) this.goTo(this.header.steps[0].id);
    const next = this.guard(() => {
      if (this.place === this.header.steps.length - 1) this.stop();
      else this.goTo(this.header.steps[this.place + 1].id);
    });
    this.playing = setInterval(next, PLAY);
    setText(this.find(".play"), "Pause");
  }

  stop() {
    clearInterval(this.playing);
    this.playing = null;
    setText(this.find(".play"), "Play");
  }

  // Take one thing away from the head, or put it back.
  turn(name, off) {
    this.numbers.off[name] = off;
    this.schedule();
  }

  restore() {
    for (const name of Object.keys(this.numbers.off)) this.numbers.off[name] = false;
    this.stepBuilt = null;
    this.schedule();
  }

  // -- what is shown ---------------------------------------------------------------------

  // A token under the mouse stands in for the one that a click would choose.
  get query() {
    const hovers = this.hovered !== null && this.photoRole === "query";
    return hovers ? this.hovered : this.view.query;
  }

  get key() {
    const hovers = this.hovered !== null && this.photoRole === "key";
    return hovers ? this.hovered : this.view.key;
  }

  // The key's number among the query's keys; null in another window.
  get keyPlace() {
    return this.numbers.keyOfToken(this.query, this.key);
  }

  chooseKeyAt(place) {
    const token = this.numbers.tokenOfKey(this.query, place);
    if (token >= 0) this.choose("key", token);
  }

  queryName(token) {
    return this.header.queryWords?.[token] ?? this.photoName(token);
  }

  keyName(token) {
    return this.header.keyWords?.[token] ?? this.photoName(token);
  }

  keyNameAt(place) {
    const token = this.numbers.tokenOfKey(this.query, place);
    return token < 0 ? "padding" : this.keyName(token);
  }

  photoName(token) {
    const { prefix, grid } = this.header;
    if (token < prefix.length) return prefixName(prefix[token]);
    return placeName(token - prefix.length, grid);
  }

  get showsMap() {
    const { step } = this.view;
    if (!WITH_MAP.includes(step)) return false;
    const [softmax, now] = ["softmax", step].map((id) =>
      this.header.steps.findIndex((each) => each.id === id),
    );
    return now >= softmax || this.numbers.changed;
  }

  draw() {
    if (!this.header) return;
    this.root.classList.remove("waiting");
    this.showStep();
    this.diagram.mark();
    this.switches.showChanged();
    this.markTokens();
    for (const [head, input] of this.heads.entries()) input.checked = head === this.view.head;
    this.photoView.draw();
    const figures = new Figures(this.find(".figures"));
    PANELS[this.view.step](figures, this);
    figures.show();
  }

  showStep() {
    const { header, view, place } = this;
    if (this.stepBuilt === view.step) return;
    this.stepBuilt = view.step;
    const { title, text, ...step } = header.steps[place];
    setText(this.find(".count"), `Step ${place + 1} of ${header.steps.length}`);
    setText(this.find(".title"), title);
    this.find(".formula").replaceChildren(...formula(step.formula));
    setText(this.find(".why"), text);
    this.find(".back").disabled = place === 0;
    this.find(".next").disabled = place === header.steps.length - 1;
    this.switches.build(view.step);
  }

  markTokens() {
    const { header, query, key } = this;
    const asks = `${capital(this.queryName(query))} asks`;
    setText(this.find(".who"), key === null ? asks : `${asks}, ${this.keyName(key)} is asked`);
    const weights =
      header.keyWords && this.showsMap ? this.numbers.weights(this.view.head, query) : null;
    for (const { button, token, kind } of this.tokens) {
      const isKey =
        token === key && (kind === "memory" || !header.keysOnPhoto || kind === "prefix");
      button.classList.toggle("query", kind !== "memory" && token === query);
      button.classList.toggle("key", isKey);
      button.setAttribute(
        "aria-pressed",
        String(token === (this.wordRole === "query" ? query : key)),
      );
      button.style.setProperty("--strength", (weights?.[token] ?? 0).toFixed(3));
    }
  }

  announce() {
    requestAnimationFrame(
      this.guard(() => {
        const { title } = this.header.steps[this.place];
        setText(this.find(".announcer"), `${title}. ${this.find(".who").textContent}.`);
      }),
    );
  }
}

// What can be switched off in this layer too.
function withoutMissing(off, reasons) {
  return Object.fromEntries(Object.entries(off).map(([name, is]) => [name, is && !reasons[name]]));
}

export default mountable(Inside);
