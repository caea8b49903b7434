// The explorer: a photo, its patches, and where each of them looks in every head of a layer.
// The page sends queries and keys once a layer; every frame after that is drawn from them here.

const instances = new WeakMap();

export default function (component) {
  const { parentElement, data, setStateValue } = component;
  let explorer = instances.get(parentElement);
  if (!explorer) {
    explorer = new Explorer(parentElement);
    instances.set(parentElement, explorer);
  }
  explorer.setStateValue = setStateValue;
  if (data) explorer.receive(data);
  return () => {
    explorer.close();
    instances.delete(parentElement);
  };
}

class Explorer {
  constructor(parent) {
    this.root = parent.querySelector(".explorer");
    this.canvas = this.find(".photo");
    this.layers = new Map(); // layer number -> its queries and keys
    this.hovered = null;
    this.listen();
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  // -- what Python sends -----------------------------------------------------------------

  receive(bytes) {
    if (bytes === this.received) return this.schedule(); // only the theme changed
    this.received = bytes;
    const { header, arrays } = unpack(bytes);
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
      this.sent = JSON.stringify(this.view);
    }
    if (this.photoOf !== header.image || !this.layers.has(header.layer)) this.ask();
    if (newModel || newPicture) this.build();
    this.showView();
    this.schedule();
  }

  // What was sent once is not sent again: see `has` in the message to Python.
  keep(header, arrays) {
    if (arrays.photo) {
      this.photoOf = header.image;
      decodeFor(this, arrays.photo, (photo) => {
        this.photo = photo;
        this.base = null;
        this.schedule();
      });
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
    setTimeout(() => this.send(), 0);
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

  get first() {
    return this.header.prefix.length; // the first patch token
  }

  // -- what is told to Python ------------------------------------------------------------

  change(update, delay = 0) {
    Object.assign(this.view, update);
    this.showView();
    this.schedule();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.send(), delay);
  }

  send() {
    const text = JSON.stringify(this.view);
    if (text === this.sent) return;
    this.sent = text;
    const has = this.photo ? { image: this.header.image, layers: [...this.layers.keys()] } : null;
    this.setStateValue("view", { ...this.view, revision: this.revision, has });
  }

  // -- mouse, keyboard, files ------------------------------------------------------------

  listen() {
    this.canvas.onpointermove = (event) => this.hover(this.patchAt(event));
    this.canvas.onpointerleave = () => this.hover(null);
    this.canvas.onclick = (event) => this.toggle(this.patchAt(event));
    this.root.onkeydown = (event) => this.onKey(event);
    this.resizes = new ResizeObserver(() => this.schedule());
    this.resizes.observe(this.canvas.parentElement);
    this.onPaste = (event) => this.handOver(event, event.clipboardData);
    document.addEventListener("paste", this.onPaste);
    this.root.ondragover = (event) => event.preventDefault();
    this.root.ondrop = (event) => this.handOver(event, event.dataTransfer);
    this.find(".opacity").oninput = (e) => this.change({ opacity: Number(e.target.value) }, 300);
    this.find(".colors").onchange = (e) => this.change({ colors: e.target.value });
    this.find(".scaling").onchange = (e) => this.change({ scaling: e.target.value });
    this.find(".lines").onchange = (e) => this.change({ lines: e.target.checked });
    this.find(".smooth").onchange = (e) => this.change({ smooth: e.target.checked });
  }

  close() {
    document.removeEventListener("paste", this.onPaste);
    this.resizes.disconnect();
    clearTimeout(this.timer);
    cancelAnimationFrame(this.frame);
  }

  // A picture dropped on the photo or pasted goes the way of the page's own upload field.
  handOver(event, transfer) {
    const input = document.querySelector('[data-testid="stFileUploader"] input[type="file"]');
    if (!input || !transfer?.files.length) return;
    event.preventDefault();
    const files = new DataTransfer();
    files.items.add(transfer.files[0]);
    input.files = files.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  }

  patchAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const [rows, columns] = this.grid;
    const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
    if (row < 0 || column < 0 || row >= rows || column >= columns) return null;
    return this.first + row * columns + column;
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
    const text = event.target.matches("select, input[type=range]");
    if (text || isShortcut(event)) return;
    const last = this.header.layers.length - 1;
    const steps = {
      "[": () => this.goTo(Math.max(0, this.view.layer - 1)),
      "]": () => this.goTo(Math.min(last, this.view.layer + 1)),
      ",": () => this.stepHead(-1),
      ".": () => this.stepHead(1),
      c: () => this.first > 0 && this.change({ query: 0, held: true }),
      Escape: () => this.change({ held: false }),
    };
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    if (event.key in steps) steps[event.key]();
    else if (event.target === this.canvas && event.key in moves) this.move(...moves[event.key]);
    else if (event.target === this.canvas && event.key === "Enter") {
      this.change({ query: this.query, held: !this.view.held });
    } else return;
    event.preventDefault();
    this.announce();
  }

  // Another layer, from the same place: the layers of a hierarchical model differ in their grids.
  goTo(layer) {
    const [rows, columns] = this.grid;
    const [heads, newRows, newColumns] = this.header.layers[layer];
    const patch = this.view.query - this.first;
    let { query, head } = this.view;
    if (patch >= 0) {
      const row = Math.floor(((Math.floor(patch / columns) + 0.5) * newRows) / rows);
      const column = Math.floor((((patch % columns) + 0.5) * newColumns) / columns);
      query = this.first + row * newColumns + column;
    }
    if (typeof head === "number") head = Math.min(head, heads - 1);
    this.hovered = null;
    this.change({ layer, query, head }, 80);
  }

  stepHead(step) {
    const order = [...Array(this.heads).keys(), "mean", "max", "min"];
    const at = order.indexOf(this.view.head) + step;
    this.change({ head: order[(at + order.length) % order.length] }, 80);
  }

  // One patch on from the one that asks, be it held or under the mouse.
  move(down, right) {
    const [rows, columns] = this.grid;
    const patch = this.query - this.first;
    const centre = Math.floor(rows / 2) * columns + Math.floor(columns / 2);
    let next = centre; // from a token that has no place on the photo
    if (patch >= 0) {
      const row = Math.min(rows - 1, Math.max(0, Math.floor(patch / columns) + down));
      const column = Math.min(columns - 1, Math.max(0, (patch % columns) + right));
      next = row * columns + column;
    }
    this.hovered = null;
    this.change({ query: this.first + next, held: true }, 250);
  }

  // -- the controls ----------------------------------------------------------------------

  build() {
    const { layers, numbers, prefix, classes, note } = this.header;
    this.tokens = prefix.map((name, token) => {
      const share = element("small");
      const button = element("button", { type: "button", class: "token" }, label(name), share);
      button.onclick = () => this.change({ query: token, held: true });
      return { button, share };
    });
    this.patchButton = element("button", { type: "button", class: "token patch" });
    this.patchButton.onclick = () => this.view.query < this.first && this.move(0, 0);
    this.find(".tokens").replaceChildren(...this.tokens.map((t) => t.button), this.patchButton);

    this.layerInputs = layers.map((_, i) => {
      const input = element("input", { type: "radio", name: "layer", "aria-label": `Layer ${numbers[i]}` });
      input.onchange = () => this.goTo(i);
      return input;
    });
    const chips = this.layerInputs.map((input, i) =>
      element("label", { class: "chip" }, input, String(numbers[i])),
    );
    this.find(".layers").replaceChildren(...chips);

    const items = classes.map(([name, probability]) => {
      const fill = element("span", { class: "fill" });
      fill.style.width = `${(100 * probability).toFixed(2)}%`;
      return element(
        "li",
        {},
        element("span", { class: "name", title: name }, name),
        element("span", { class: "track" }, fill),
        element("span", { class: "value" }, percent(probability)),
      );
    });
    this.find(".classes").replaceChildren(...items);
    setText(this.find(".prediction .note"), note);
    this.find(".prediction").hidden = classes.length === 0 && !note;
    const options = Object.keys(STYLE.colorMaps).map((name) => element("option", {}, name));
    this.find(".colors").replaceChildren(...options);
  }

  buildHeads() {
    const names = [...Array(this.heads).keys(), "mean", "max", "min"];
    this.thumbs = names.map((head) => {
      const name = typeof head === "number" ? `head ${head + 1}` : head;
      const input = element("input", { type: "radio", name: "head", "aria-label": name });
      input.onchange = () => this.change({ head });
      const canvas = element("canvas");
      const box = element("label", { class: "thumb" }, input, canvas, element("span", {}, name));
      return { head, input, canvas, box };
    });
    this.find(".heads").replaceChildren(...this.thumbs.map((thumb) => thumb.box));
  }

  showView() {
    const { view } = this;
    if (this.thumbs?.length !== this.heads + 3) this.buildHeads();
    this.root.classList.toggle("waiting", !this.layer);
    this.layerInputs.forEach((input, i) => (input.checked = i === view.layer));
    this.thumbs.forEach(({ head, input }) => (input.checked = head === view.head));
    this.find(".opacity").value = view.opacity;
    this.find(".colors").value = view.colors;
    this.find(".scaling").value = view.scaling;
    this.find(".lines").checked = view.lines;
    this.find(".smooth").checked = view.smooth;
    drawScale(this.find(".bar"), view.colors);
  }

  // -- drawing ---------------------------------------------------------------------------

  schedule() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.draw());
  }

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
    const { heads, tokens } = layer;
    const rows = attentionRows(layer, this.query);
    const row = chosenRow(rows, heads, tokens, view.head);
    const patches = row.subarray(this.first);
    const top = view.scaling === "layer" ? this.layerTop(rows, layer) : patches[largest(patches)];
    this.drawPhoto(patches, top);
    this.drawThumbs(rows, layer, top);
    this.write(row, top);
  }

  layerTop(rows, { heads, tokens }) {
    let top = 0;
    for (let head = 0; head < heads; head++) {
      const patches = rows.subarray(head * tokens + this.first, (head + 1) * tokens);
      top = Math.max(top, patches[largest(patches)]);
    }
    return top;
  }

  drawPhoto(patches, top) {
    const { canvas, view } = this;
    const aspect = this.photo.width / this.photo.height;
    if (fit(canvas, aspect) || !this.base) {
      this.base = subdued(this.photo, canvas.width, canvas.height);
    }
    const context = canvas.getContext("2d");
    context.drawImage(this.base, 0, 0);
    this.map = tile(patches, top, this.grid, palette(view.colors, view.opacity), this.map);
    context.imageSmoothingEnabled = view.smooth;
    context.drawImage(this.map, 0, 0, canvas.width, canvas.height);
    if (view.lines) this.drawLines(context);
    this.outline(context, this.query, view.held);
    if (this.reading) this.outline(context, this.hovered, false, true);
  }

  drawLines(context) {
    const [rows, columns] = this.grid;
    const { width, height } = this.canvas;
    if (width / columns < 8) return;
    context.beginPath();
    for (let column = 1; column < columns; column++) {
      const x = Math.round((column * width) / columns) + 0.5;
      context.moveTo(x, 0);
      context.lineTo(x, height);
    }
    for (let row = 1; row < rows; row++) {
      const y = Math.round((row * height) / rows) + 0.5;
      context.moveTo(0, y);
      context.lineTo(width, y);
    }
    context.lineWidth = 1;
    context.strokeStyle = "rgb(255 255 255 / 0.16)";
    context.stroke();
  }

  // Black inside white, so that the frame shows on any photo and any colour.
  outline(context, token, held, dashed = false) {
    const patch = token - this.first;
    if (patch < 0) return;
    const [rows, columns] = this.grid;
    const width = this.canvas.width / columns;
    const height = this.canvas.height / rows;
    const x = (patch % columns) * width;
    const y = Math.floor(patch / columns) * height;
    const line = (window.devicePixelRatio || 1) * (held ? 1.6 : 1.1);
    context.setLineDash(dashed ? [3 * line, 2 * line] : []);
    for (const [color, grow] of [["#fff", 0], ["#000", line]]) {
      context.strokeStyle = color;
      context.lineWidth = line;
      context.strokeRect(x + grow, y + grow, width - 2 * grow, height - 2 * grow);
    }
    context.setLineDash([]);
  }

  drawThumbs(rows, { heads, tokens }, shared) {
    const aspect = this.photo.width / this.photo.height;
    const colors = palette(this.view.colors, this.view.opacity);
    for (const thumb of this.thumbs) {
      const { canvas, head } = thumb;
      if (fit(canvas, aspect) || thumb.photo !== this.photo) {
        thumb.photo = this.photo;
        thumb.base = subdued(this.photo, canvas.width, canvas.height);
      }
      const patches = chosenRow(rows, heads, tokens, head).subarray(this.first);
      const top = this.view.scaling === "layer" ? shared : patches[largest(patches)];
      thumb.map = tile(patches, top, this.grid, colors, thumb.map);
      const context = canvas.getContext("2d");
      context.drawImage(thumb.base, 0, 0);
      context.imageSmoothingEnabled = this.view.smooth;
      context.drawImage(thumb.map, 0, 0, canvas.width, canvas.height);
    }
  }

  // -- words and numbers -----------------------------------------------------------------

  write(row, top) {
    const { view } = this;
    setText(this.find(".high"), `${percent(top)} of the attention`);
    setText(this.find(".heads-title"), `Heads of layer ${this.header.numbers[view.layer]}`);
    setText(this.find(".from"), `From ${this.place(this.query)}${view.held ? " (held)" : ""}`);
    const to = this.reading
      ? `to ${this.place(this.hovered)}: ${amount(row, this.hovered)}`
      : this.whereMost(row);
    setText(this.find(".to"), to);
    this.tokens.forEach(({ button, share }, token) => {
      button.setAttribute("aria-pressed", this.query === token);
      setText(share, `gets ${percent(row[token])}`);
    });
    const onPatch = this.query >= this.first;
    this.patchButton.setAttribute("aria-pressed", onPatch);
    setText(this.patchButton, onPatch ? this.place(this.query) : "a patch");
  }

  // A token without a place on the photo often takes more than any patch, and no colour shows it.
  whereMost(row) {
    const patches = row.subarray(this.first);
    const best = this.first + largest(patches);
    const evenly = isEven(patches) ? "almost evenly, " : "";
    const most = `${evenly}most to ${this.place(best)}: ${amount(row, best)}`;
    const taker = largest(row);
    if (taker >= this.first) return most;
    const sum = patches.reduce((total, value) => total + value, 0);
    const isRow = typeof this.view.head === "number" || this.view.head === "mean"; // sums to one
    const rest = isRow ? `all patches together: ${percent(sum)}` : "of the patches";
    const who = taker === this.query ? "itself" : this.place(taker);
    return `most to ${who}: ${percent(row[taker])}; ${rest}, ${most}`;
  }

  place(token) {
    const patch = token - this.first;
    if (patch < 0) return label(this.header.prefix[token]);
    const columns = this.grid[1];
    return `row ${Math.floor(patch / columns) + 1}, column ${(patch % columns) + 1}`;
  }

  announce() {
    requestAnimationFrame(() => {
      const text = `${this.find(".from").textContent} ${this.find(".to").textContent}`;
      setText(this.find(".announcer"), `Layer ${this.header.numbers[this.view.layer]}, head ${this.headName()}. ${text}`);
    });
  }

  headName() {
    return typeof this.view.head === "number" ? this.view.head + 1 : this.view.head;
  }
}

function amount(row, token) {
  return `${percent(row[token])}, ${(row[token] * row.length).toFixed(1)} × an even share`;
}

function label(name) {
  return name.startsWith("reg") ? `register ${name.slice(3)}` : name.toUpperCase();
}
