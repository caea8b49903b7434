// A caption word by word: where the decoder looked for each word, and on which words it built.
// One payload holds every layer, head and word, so stepping through them asks nobody.

const STEP = 900; // milliseconds that a word stays while playing
const END = "<end>"; // how the model's vocabulary writes it
const instances = new WeakMap();

export default function (component) {
  const { parentElement, data, setStateValue, setTriggerValue } = component;
  let captions = instances.get(parentElement);
  if (!captions) {
    captions = new Captions(parentElement);
    instances.set(parentElement, captions);
  }
  captions.setStateValue = setStateValue;
  captions.setTriggerValue = setTriggerValue;
  if (data) captions.receive(data);
  return () => {
    captions.close();
    instances.delete(parentElement);
  };
}

class Captions {
  constructor(parent) {
    this.root = parent.querySelector(".captions");
    this.canvas = this.find(".photo");
    this.preview = null; // the word under the mouse
    this.patch = null; // the patch under the mouse
    this.held = null; // the patch that was clicked
    this.listen();
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  // -- what Python sends -----------------------------------------------------------------

  receive(bytes) {
    if (bytes === this.received) return this.schedule(); // only the theme changed
    this.received = bytes;
    this.stop();
    const { header, arrays } = unpack(bytes);
    this.header = header;
    this.view = header.view;
    this.sent = JSON.stringify(this.view);
    this.preview = this.patch = this.held = null;
    this.hovered = this.stepped = null; // in the triangle: by the mouse, by the arrow keys
    this.layers = header.layers.map((heads, i) => ({
      heads,
      cross: arrays[`cross_${i}`],
      own: arrays[`self_${i}`],
      means: new Map(),
    }));
    this.photo = this.base = null;
    decodeFor(this, arrays.photo, (photo) => {
      this.photo = photo;
      this.schedule();
    });
    this.build();
    this.showView();
  }

  get count() {
    return this.header.words.length;
  }

  get tokens() {
    return this.first + this.header.grid[0] * this.header.grid[1];
  }

  get first() {
    return this.header.prefix.length; // the first patch token
  }

  get word() {
    return this.preview ?? this.view.word; // the one that is shown
  }

  // What a word took from each memory token (or, `own`, from <start> and each word).
  row(word, layer = this.view.layer, head = this.view.head, kind = "cross") {
    const part = this.layers[layer];
    const width = kind === "cross" ? this.tokens : this.count + 1;
    const at = (h) => (h * this.count + word) * width;
    if (typeof head === "number") return part[kind].subarray(at(head), at(head) + width);
    const id = `${kind} ${word}`;
    if (!part.means.has(id)) {
      const mean = new Float32Array(width);
      for (let h = 0; h < part.heads; h++) {
        for (let j = 0; j < width; j++) mean[j] += part[kind][at(h) + j] / part.heads;
      }
      part.means.set(id, mean);
    }
    return part.means.get(id);
  }

  patches(...which) {
    return this.row(...which).subarray(this.first);
  }

  // -- what is told to Python ------------------------------------------------------------

  change(update, delay = 250) {
    Object.assign(this.view, update);
    this.showView();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.send(), delay);
  }

  send() {
    const text = JSON.stringify(this.view);
    if (text === this.sent) return;
    this.sent = text;
    this.setStateValue("view", { ...this.view, id: this.header.id });
  }

  // -- mouse and keyboard ----------------------------------------------------------------

  listen() {
    this.canvas.onpointermove = (event) => this.point(this.patchAt(event));
    this.canvas.onpointerleave = () => this.point(null);
    this.canvas.onclick = (event) => this.hold(this.patchAt(event));
    this.root.onkeydown = (event) => this.onKey(event);
    this.find(".back").onclick = () => this.step(-1);
    this.find(".next").onclick = () => this.step(1);
    this.find(".play").onclick = () => (this.playing ? this.stop() : this.play());
    this.find(".boxes").onchange = (event) => this.change({ boxes: event.target.checked });
    this.find(".opacity").oninput = (event) => this.change({ opacity: Number(event.target.value) });
    this.find(".colors").onchange = (event) => this.change({ colors: event.target.value });
    this.find(".smooth").onchange = (event) => this.change({ smooth: event.target.checked });
    const triangle = this.find(".triangle");
    triangle.onpointermove = (event) => this.hover(event.target.closest("[data-row]")?.dataset);
    triangle.onpointerleave = () => this.hover();
    triangle.onblur = () => this.stepTo(null);
    this.resizes = new ResizeObserver(() => this.schedule());
    this.resizes.observe(this.find(".panes"));
  }

  close() {
    this.stop();
    this.resizes.disconnect();
    clearTimeout(this.timer);
    cancelAnimationFrame(this.frame);
  }

  onKey(event) {
    const typing = event.target.matches("select, input[type=range]");
    if (typing || isShortcut(event) || !this.count) return;
    const arrows = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
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
    const radio = event.target.matches("input[type=radio]") && event.key in arrows;
    if (radio) return; // the browser moves from head to head
    const triangle = event.target === this.find(".triangle");
    if (triangle && event.key in arrows) this.traceOn(...arrows[event.key]);
    else if (triangle && event.key === "Escape") this.stepTo(null);
    else if (triangle && event.key === "Enter") this.choose(this.traced?.row ?? this.word);
    else if (event.target === this.canvas && event.key === "Enter") {
      this.hold(this.held ?? largest(this.patches(this.word)));
    } else if (event.target === this.canvas && this.held !== null && event.key in arrows) {
      this.move(...arrows[event.key]);
    } else if (event.key in keys) keys[event.key]();
    else return;
    event.preventDefault();
  }

  choose(word) {
    this.stop();
    this.preview = null;
    this.change({ word });
    if (this.root.getRootNode().activeElement?.matches(".word")) this.words[word].button.focus();
    this.announce();
  }

  step(by) {
    if (this.count) this.choose(Math.min(this.count - 1, Math.max(0, this.view.word + by)));
  }

  stepLayer(by) {
    const layer = this.view.layer + by;
    if (!this.layers[layer]) return;
    const { head } = this.view;
    const last = this.layers[layer].heads - 1;
    this.change({ layer, head: typeof head === "number" ? Math.min(head, last) : head });
  }

  stepHead(by) {
    const order = ["mean", ...Array(this.layers[this.view.layer].heads).keys()];
    const at = order.indexOf(this.view.head) + by;
    this.change({ head: order[(at + order.length) % order.length] });
  }

  play() {
    if (!this.count) return;
    this.preview = null;
    this.change({ word: this.view.word === this.count - 1 ? 0 : this.view.word });
    this.playing = setInterval(() => {
      if (this.view.word >= this.count - 1) this.stop();
      else this.change({ word: this.view.word + 1 }, 2 * STEP); // Python hears of the last one
    }, STEP);
    setText(this.find(".play"), "Pause");
  }

  stop() {
    clearInterval(this.playing);
    this.playing = null;
    setText(this.find(".play"), "Play");
  }

  show(word) {
    if (word === this.preview || this.playing) return;
    this.preview = word;
    this.schedule();
  }

  patchAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const [rows, columns] = this.header.grid;
    const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
    const inside = row >= 0 && column >= 0 && row < rows && column < columns;
    return inside ? row * columns + column : null;
  }

  point(patch) {
    if (patch === this.patch || !this.maps) return;
    this.patch = patch;
    this.schedule();
  }

  hold(patch) {
    if (!this.maps) return;
    this.held = patch === this.held ? null : patch;
    this.patch = null;
    this.schedule();
    this.announce();
  }

  move(down, right) {
    const [rows, columns] = this.header.grid;
    const row = Math.min(rows - 1, Math.max(0, Math.floor(this.held / columns) + down));
    const column = Math.min(columns - 1, Math.max(0, (this.held % columns) + right));
    this.held = row * columns + column;
    this.schedule();
    this.announce();
  }

  // -- the parts of the page -------------------------------------------------------------

  // Whether there are maps to see: not without words, nor over a memory of one vector.
  get maps() {
    return this.count > 0 && !this.header.memoryOfOne;
  }

  build() {
    this.buildWords();
    this.buildBeams();
    this.buildHeads();
    this.buildTriangle();
    this.buildStrip();
    const { boxes, summary } = this.header;
    setText(this.find(".summary"), summary);
    this.find(".scale").hidden = !this.maps;
    this.find(".readout").hidden = !this.count;
    this.find(".player").hidden = this.find(".chosen").hidden = !this.count;
    this.find(".boxes-switch").hidden = !boxes.length;
    this.canvas.style.cursor = this.maps ? "" : "default";
    const options = Object.keys(STYLE.colorMaps).map((name) => element("option", {}, name));
    this.find(".colors").replaceChildren(...options);
  }

  buildWords() {
    const { words, probabilities, given, unknown } = this.header;
    this.words = words.map((text, i) => {
      const button = element(
        "button",
        { type: "button", class: "word" },
        element("bdi", { class: "text" }, text),
        bar(probabilities[i]),
        element("small", {}, percent(probabilities[i])),
      );
      if (i < given) {
        button.classList.add("given");
        button.title = "You chose this word.";
      }
      if (unknown.includes(i)) {
        button.classList.add("unknown");
        button.title = "The model does not know this word and reads it as an unknown one.";
      }
      button.onpointerenter = () => this.show(i);
      button.onpointerleave = () => this.show(null);
      button.onclick = () => this.choose(i);
      return { button };
    });
    this.find(".words").replaceChildren(...this.words.map(({ button }) => button));
  }

  buildBeams() {
    const { beams, beam } = this.header;
    const items = beams.map(([text, logprob], i) => {
      const name = element("bdi", { class: "name" }, text);
      const value = element("span", { class: "value" }, decimals(logprob));
      const button = element("button", { type: "button", "aria-pressed": i === beam }, name, value);
      button.onclick = () => this.setTriggerValue("beam", i);
      return element("li", {}, button);
    });
    this.find(".beams").replaceChildren(...items);
    this.find(".beams-group").hidden = beams.length < 2;
  }

  // A row a layer, a column a head, before them the mean of the heads.
  buildHeads() {
    const most = Math.max(0, ...this.header.layers);
    const several = this.header.layers.reduce((sum, heads) => sum + heads, 0) > 1;
    const columns = ["mean", ...Array(most).keys()];
    const place = this.find(".heads");
    place.style.gridTemplateColumns = `2.6rem repeat(${columns.length}, minmax(0, ${columns.length > 6 ? 4.6 : 5.6}rem))`;
    const names = columns.map((head) => element("span", { class: "name" }, headName(head)));
    this.cells = [];
    const rows = this.layers.map(({ heads }, layer) => [
      element("span", { class: "name" }, `layer ${layer + 1}`),
      ...columns.map((head) => {
        if (typeof head === "number" && head >= heads) return element("span");
        const label = `Layer ${layer + 1}, ${headName(head)}`;
        const input = element("input", { type: "radio", name: "head", "aria-label": label });
        input.onchange = () => this.change({ layer, head });
        const canvas = element("canvas");
        this.cells.push({ layer, head, input, canvas });
        return element("label", { class: "cell", title: label }, input, canvas);
      }),
    ]);
    place.replaceChildren(element("span"), ...names, ...rows.flat());
    this.find(".heads-group").hidden = !this.maps || !several;
  }

  // The name of a word stands at the end of its row and at the head of its column.
  buildTriangle() {
    const { words } = this.header;
    const place = this.find(".triangle");
    this.find(".triangle-group").hidden = !this.count;
    this.squares = [];
    this.names = [];
    this.hovered = this.stepped = null;
    place.hidden = !this.layers[0]?.own;
    if (place.hidden) {
      place.replaceChildren();
      setText(this.find(".trace"), this.header.noSelf);
      return;
    }
    const n = this.count;
    place.style.gridTemplateColumns = `repeat(${n + 1}, minmax(0, 1.5rem)) minmax(4rem, 1fr)`;
    const parts = [];
    for (let i = -1; i < n; i++) {
      for (let j = 0; j <= i; j++) {
        const square = element("span", { class: "square", "data-row": i, "data-column": j });
        square.style.gridArea = `${i + 2} / ${j + 1}`;
        this.squares.push({ square, i, j });
        parts.push(square);
      }
      const name = element("span", { class: "name" }, element("bdi", {}, i < 0 ? "start" : words[i]));
      name.style.gridArea = `${i + 2} / ${i + 2} / auto / -1`;
      if (i >= 0) {
        name.dataset.row = i;
        name.onclick = () => this.choose(i);
        this.names.push(name);
      }
      parts.push(name);
    }
    place.replaceChildren(...parts);
    this.showTrace();
  }

  buildStrip() {
    this.find(".strip-group").hidden = !this.maps;
    this.shots = this.header.words.map((text, word) => {
      const canvas = element("canvas", { "aria-hidden": "true" });
      const button = element("button", { type: "button", class: "shot", tabindex: "-1" }, canvas, element("bdi", {}, text));
      button.onpointerenter = () => this.show(word);
      button.onpointerleave = () => this.show(null);
      button.onclick = () => this.choose(word);
      return { word, canvas, button };
    });
    this.find(".strip").replaceChildren(...this.shots.map(({ button }) => button));
  }

  showView() {
    const { view } = this;
    for (const { layer, head, input } of this.cells) {
      input.checked = layer === view.layer && head === view.head;
    }
    setText(this.find(".heads-title"), `showing layer ${view.layer + 1}, ${headName(view.head)}`);
    this.find(".boxes").checked = view.boxes;
    this.find(".opacity").value = view.opacity;
    this.find(".colors").value = view.colors;
    this.find(".smooth").checked = view.smooth;
    drawScale(this.find(".bar"), view.colors);
    this.showTrace();
    this.schedule();
  }

  // -- drawing ---------------------------------------------------------------------------

  schedule() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.draw());
  }

  draw() {
    if (!this.header) return;
    this.mark();
    this.showWord();
    this.names.forEach((name, i) => name.classList.toggle("now", i === this.word));
    for (const { word, button } of this.shots) button.classList.toggle("now", word === this.word);
    if (!this.photo) return;
    this.drawPhoto();
    const { word, boxes, ...looks } = this.view;
    const style = JSON.stringify([looks, this.shots[0]?.canvas.clientWidth, window.devicePixelRatio]);
    const changed = this.drawnPhoto !== this.photo || this.drawnStyle !== style;
    if (changed) this.drawTriangle();
    if (!this.maps) return;
    for (const cell of this.cells) this.drawSmall(cell, this.patches(this.word, cell.layer, cell.head));
    if (changed) for (const shot of this.shots) this.drawSmall(shot, this.patches(shot.word));
    this.drawnPhoto = this.photo;
    this.drawnStyle = style;
  }

  drawPhoto() {
    const { canvas, photo, view } = this;
    if (fit(canvas, photo.width / photo.height) || !this.base) {
      this.base = this.maps ? subdued(photo, canvas.width, canvas.height) : photo;
    }
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = true;
    context.drawImage(this.base, 0, 0, canvas.width, canvas.height);
    if (this.maps) {
      const values = this.patches(this.word);
      this.map = tile(values, values[largest(values)], this.header.grid, palette(view.colors, view.opacity), this.map);
      context.imageSmoothingEnabled = view.smooth;
      context.drawImage(this.map, 0, 0, canvas.width, canvas.height);
      this.outline(context, this.patch ?? this.held);
    }
    if (view.boxes) this.drawBoxes(context);
  }

  drawSmall(small, values) {
    const { canvas } = small;
    const aspect = this.photo.width / this.photo.height;
    if (!canvas.clientWidth) return;
    if (fit(canvas, aspect) || small.photo !== this.photo) {
      small.photo = this.photo;
      small.base = subdued(this.photo, canvas.width, canvas.height);
    }
    const { colors, opacity, smooth } = this.view;
    small.map = tile(values, values[largest(values)], this.header.grid, palette(colors, opacity), small.map);
    const context = canvas.getContext("2d");
    context.drawImage(small.base, 0, 0);
    context.imageSmoothingEnabled = smooth;
    context.drawImage(small.map, 0, 0, canvas.width, canvas.height);
  }

  // Black inside white, so that the frame shows on any photo and any colour.
  frameOf(context, x, y, width, height, line) {
    for (const [color, grow] of [["#fff", 0], ["#000", line]]) {
      context.strokeStyle = color;
      context.lineWidth = line;
      context.strokeRect(x + grow, y + grow, width - 2 * grow, height - 2 * grow);
    }
  }

  outline(context, patch) {
    if (patch === null) return;
    const [rows, columns] = this.header.grid;
    const width = this.canvas.width / columns;
    const height = this.canvas.height / rows;
    const line = 1.4 * (window.devicePixelRatio || 1);
    this.frameOf(context, (patch % columns) * width, Math.floor(patch / columns) * height, width, height, line);
  }

  // Boxes are shares of the photo's width and height; that of the word's object is bold.
  drawBoxes(context) {
    const { boxes, names } = this.header;
    const { width, height } = this.canvas;
    const own = names.find(([word]) => word === this.word)?.[1];
    boxes.forEach(([left, top, right, bottom], i) => {
      const line = (i === own ? 3 : 1.2) * (window.devicePixelRatio || 1);
      this.frameOf(context, left * width, top * height, (right - left) * width, (bottom - top) * height, line);
    });
  }

  drawTriangle() {
    if (!this.squares.length) return;
    const rows = this.words.map((_, i) => this.row(i, this.view.layer, this.view.head, "own"));
    for (const { square, i, j } of this.squares) square.style.setProperty("--strength", rows[i][j].toFixed(3));
  }

  // -- words and numbers -----------------------------------------------------------------

  // Which words stand out: those that looked at a patch, or those that a word was built on.
  mark() {
    const patch = this.patch ?? this.held;
    let strengths = null;
    if (this.traced) {
      const row = this.row(this.traced.row, this.view.layer, this.view.head, "own");
      strengths = this.words.map((_, i) => (i === this.traced.row ? 0 : row[i + 1]));
    } else if (patch !== null) {
      const shares = this.words.map((_, i) => this.patches(i)[patch]);
      const top = Math.max(...shares, 2 / this.tokens); // not where nobody looks
      strengths = shares.map((share) => share / top);
    }
    this.words.forEach(({ button }, i) => {
      button.setAttribute("aria-pressed", i === this.word);
      button.classList.toggle("traced", i === this.traced?.row);
      button.tabIndex = i === this.view.word ? 0 : -1;
      button.style.setProperty("--strength", (strengths?.[i] ?? 0).toFixed(3));
    });
    setText(this.find(".readout"), patch === null ? this.aboutWord() : this.aboutPatch(patch));
  }

  aboutWord() {
    if (!this.count) return "";
    if (!this.maps) return this.header.noMaps;
    const { word } = this;
    const values = this.row(word);
    const patches = values.subarray(this.first);
    const best = largest(patches);
    setText(this.find(".high"), `${percent(patches[best])} of the attention`);
    const prefix = this.header.prefix.map((name, i) => `, ${name.toUpperCase()} gets ${percent(values[i])}`).join("");
    const unplaced = largest(values) < this.first ? "of the patches " : "";
    const looked = `For “${this.header.words[word]}” it looked ${unplaced}most at ${this.place(best)}: ${percent(patches[best])}, ${(patches[best] * this.tokens).toFixed(1)} × an even share${prefix}.`;
    const own = this.header.names.find(([named]) => named === word);
    if (!own) return looked;
    const inside = this.hits(word, own[1]) ? "inside" : "outside";
    return `${looked} That is ${inside} the box of the ${this.header.labels[own[1]]}.`;
  }

  aboutPatch(patch) {
    const shares = this.words.map((_, i) => this.patches(i)[patch]);
    const order = [...shares.keys()].sort((a, b) => shares[b] - shares[a]).slice(0, 3);
    const said = order.map((i) => `“${this.header.words[i]}” ${percent(shares[i])}`).join(", ");
    const held = this.patch === null ? " (held)" : "";
    return `${capital(this.place(patch))}${held}: looked at most for ${said}.`;
  }

  place(patch) {
    const columns = this.header.grid[1];
    return `row ${Math.floor(patch / columns) + 1}, column ${(patch % columns) + 1}`;
  }

  // Does the peak of the word's map lie in the box of an object?
  hits(word, object) {
    const [rows, columns] = this.header.grid;
    const best = largest(this.patches(word));
    const x = ((best % columns) + 0.5) / columns;
    const y = (Math.floor(best / columns) + 0.5) / rows;
    const [left, top, right, bottom] = this.header.boxes[object];
    return x >= left && x < right && y >= top && y < bottom;
  }

  showWord() {
    const { words, probabilities, logprobs, alternatives, names } = this.header;
    if (!this.count) return;
    const word = this.word;
    setText(this.find(".which"), `“${words[word]}”`);
    setText(this.find(".logprob"), `word ${word + 1} of ${this.count}, probability ${percent(probabilities[word])}, log ${decimals(logprobs[word])}`);
    if (this.listed !== word || this.listedFor !== this.header) {
      this.listed = word;
      this.listedFor = this.header;
      this.find(".alternatives").replaceChildren(...this.alternatives(word, alternatives[word]));
    }
    const others = alternatives[word].length ? "The likeliest words here. Choose one, and the caption goes on from it." : "";
    setText(this.find(".alternatives-note"), others);
    if (!names.length || !this.maps) return setText(this.find(".score"), "");
    const hits = names.filter(([named, object]) => this.hits(named, object)).length;
    const where = this.view.head === "mean" ? "In the mean of the heads" : "In this head";
    setText(this.find(".score"), `${where} ${hits} of ${names.length} words that name an object peak inside its box.`);
  }

  alternatives(word, list) {
    const own = this.header.words[word];
    const shown = list.some(([text]) => text === own) ? list : [...list, [own, this.header.probabilities[word]]];
    return shown.map(([text, probability]) => {
      const said = text === END ? "(the end)" : text;
      const name = element("bdi", { class: "name", title: said }, said);
      const value = element("span", { class: "value" }, percent(probability));
      const button = element("button", { type: "button" }, name, bar(probability), value);
      button.disabled = text === own || (text === END ? word === 0 : /^<.+>$/.test(text));
      button.onclick = () => this.setTriggerValue("continue", [...this.header.words.slice(0, word), text]);
      const item = element("li", {}, button);
      item.classList.toggle("taken", text === own);
      return item;
    });
  }

  // A row of the triangle, or one square of it: what the mouse is on, or else the arrow keys.
  get traced() {
    return this.hovered ?? this.stepped;
  }

  hover(place) {
    const { row, column } = place ?? {};
    this.hovered = row === undefined ? null : { row: Number(row), column: column && Number(column) };
    this.showTrace();
    this.schedule();
  }

  // The arrow keys count until the mouse moves again.
  stepTo(place) {
    this.hovered = null;
    this.stepped = place;
    this.showTrace();
    this.schedule();
  }

  // A step up or down keeps to whole rows, until one to the side takes up a single square.
  traceOn(down, right) {
    const { traced } = this;
    if (!traced) return this.stepTo({ row: this.word });
    const within = (place, most) => Math.min(most, Math.max(0, place));
    const row = within(traced.row + down, this.count - 1);
    if (traced.column === undefined && !right) return this.stepTo({ row });
    const start = traced.column ?? (right > 0 ? -1 : row + 1);
    this.stepTo({ row, column: within(start + right, row) });
  }

  showTrace() {
    if (!this.squares?.length) return;
    const { traced } = this;
    for (const { square, i, j } of this.squares) {
      square.classList.toggle("lit", traced?.row === i && (traced.column ?? j) === j);
    }
    setText(this.find(".trace"), traced ? this.aboutTrace(traced) : TRACE);
  }

  aboutTrace({ row, column }) {
    const { words } = this.header;
    const values = this.row(row, this.view.layer, this.view.head, "own");
    const from = column ?? largest(values);
    const source = from ? `“${words[from - 1]}”` : "the start";
    const most = column === undefined ? "most" : "attention";
    return `To choose “${words[row]}”, ${most} went to ${source}: ${percent(values[from])}.`;
  }

  announce() {
    requestAnimationFrame(() => {
      const which = this.find(".logprob").textContent;
      setText(this.find(".announcer"), `${this.find(".which").textContent}, ${which}. ${this.find(".readout").textContent}`);
    });
  }
}

const TRACE =
  "Each row sums to one. Move the mouse or the arrow keys over it: the words above show where its attention went.";

function bar(share) {
  const fill = element("span", { class: "fill" });
  fill.style.width = `${(100 * share).toFixed(2)}%`;
  return element("span", { class: "track" }, fill);
}

function headName(head) {
  return typeof head === "number" ? `head ${head + 1}` : head;
}

function decimals(value) {
  return value.toFixed(2).replace(/^-(?!0\.00)/, "−").replace("-", "");
}

function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}
