// Similarity tiles of several codes: the mouse over a tile enlarges it in each of them.

const instances = new WeakMap();

export default function (component) {
  const { parentElement, data } = component;
  let tiles = instances.get(parentElement);
  if (!tiles) {
    tiles = new Tiles(parentElement);
    instances.set(parentElement, tiles);
  }
  if (data) tiles.receive(data);
  return () => {
    tiles.resizes.disconnect();
    instances.delete(parentElement);
  };
}

class Tiles {
  constructor(parent) {
    this.root = parent.querySelector(".tiles");
    this.resizes = new ResizeObserver(() => this.draw());
    this.resizes.observe(this.root);
  }

  receive(bytes) {
    if (bytes === this.received) return;
    this.received = bytes;
    const { header, arrays } = unpack(bytes);
    const known = this.header && String(this.header.patches) === String(header.patches);
    this.header = header;
    const [rows, columns] = header.tiles;
    if (!known) this.chosen = Math.floor(rows / 2) * columns + Math.floor(columns / 2);
    this.panels = header.titles.map((title, index) => this.panel(title, index, arrays));
    this.root.replaceChildren(...this.panels.map((panel) => panel.figure));
    this.draw();
  }

  panel(title, index, arrays) {
    const { header } = this;
    const [low, high] = header.spans[index];
    const mosaic = element("canvas", {
      class: "mosaic",
      tabindex: "0",
      role: "img",
      "aria-label": `${title}: ${header.unit} of each patch with all others. Arrow keys choose.`,
    });
    const bar = element("canvas", { class: "bar", "aria-hidden": "true" });
    const large = element("canvas", { class: "large", "aria-hidden": "true" });
    const readout = element("p", { class: "readout" });
    if (index === 0) readout.setAttribute("aria-live", "polite");
    const scale = element("div", { class: "scale" }, short(low), bar, short(high));
    const detail = element("div", { class: "detail" }, large, readout);
    const heading = element("p", { class: "title" }, title);
    const figure = element("figure", { class: "panel" }, heading, mosaic, scale, detail);
    drawScale(bar, header.colors);
    const panel = { figure, mosaic, large, readout, values: arrays[`values${index}`], low, high };
    panel.picture = this.paint(panel);
    mosaic.onpointermove = (event) => this.point(event, mosaic);
    mosaic.onkeydown = (event) => this.key(event);
    large.onpointermove = (event) => this.read(event, panel);
    large.onpointerleave = () => this.say(panel);
    return panel;
  }

  // The whole mosaic with one pixel a value and one between tiles.
  paint({ values, low, high }) {
    const { grid, tiles, colors } = this.header;
    const [rows, columns] = grid;
    const size = rows * columns;
    const canvas = document.createElement("canvas");
    canvas.width = tiles[1] * (columns + 1) - 1;
    canvas.height = tiles[0] * (rows + 1) - 1;
    const context = canvas.getContext("2d");
    const image = context.createImageData(canvas.width, canvas.height);
    const words = new Uint32Array(image.data.buffer);
    const table = palette(colors, 1);
    const factor = high > low ? 255 / (high - low) : 0;
    for (let index = 0; index < values.length; index++) {
      const tile = Math.floor(index / size);
      const cell = index % size;
      const y = Math.floor(tile / tiles[1]) * (rows + 1) + Math.floor(cell / columns);
      const x = (tile % tiles[1]) * (columns + 1) + (cell % columns);
      const step = Math.round((values[index] - low) * factor);
      words[y * canvas.width + x] = table[Math.min(255, Math.max(0, step))] | 0xff000000;
    }
    context.putImageData(image, 0, 0);
    return canvas;
  }

  draw() {
    if (!this.panels) return;
    const [rows, columns] = this.header.grid;
    const at = { y: Math.floor(this.chosen / this.header.tiles[1]) * (rows + 1) };
    at.x = (this.chosen % this.header.tiles[1]) * (columns + 1);
    const accent = getComputedStyle(this.root).getPropertyValue("--st-primary-color");
    for (const panel of this.panels) {
      const { mosaic, large, picture } = panel;
      fit(mosaic, picture.width / picture.height);
      const context = mosaic.getContext("2d");
      context.imageSmoothingEnabled = false;
      context.clearRect(0, 0, mosaic.width, mosaic.height);
      context.drawImage(picture, 0, 0, mosaic.width, mosaic.height);
      const [scaleX, scaleY] = [mosaic.width / picture.width, mosaic.height / picture.height];
      const box = [at.x * scaleX, at.y * scaleY, columns * scaleX, rows * scaleY];
      context.strokeStyle = accent;
      context.lineWidth = 3 * (window.devicePixelRatio || 1);
      context.strokeRect(...box);
      fit(large, columns / rows);
      const detail = large.getContext("2d");
      detail.imageSmoothingEnabled = false;
      detail.drawImage(picture, at.x, at.y, columns, rows, 0, 0, large.width, large.height);
      this.outline(detail, large);
      this.say(panel);
    }
  }

  // The patch itself, in its enlarged tile.
  outline(context, { width, height }) {
    const [rows, columns] = this.header.grid;
    const patch = this.header.patches[this.chosen];
    const [w, h] = [width / columns, height / rows];
    const box = [(patch % columns) * w, Math.floor(patch / columns) * h, w, h];
    for (const [color, line] of [["#000", 3], ["#fff", 1.5]]) {
      context.strokeStyle = color;
      context.lineWidth = line * (window.devicePixelRatio || 1);
      context.strokeRect(...box);
    }
  }

  place(patch) {
    const columns = this.header.grid[1];
    return `row ${Math.floor(patch / columns) + 1}, column ${(patch % columns) + 1}`;
  }

  value(panel, patch) {
    const [rows, columns] = this.header.grid;
    return panel.values[this.chosen * rows * columns + patch];
  }

  say(panel) {
    const own = this.header.patches[this.chosen];
    const [rows, columns] = this.header.grid;
    let best = own === 0 ? 1 : 0;
    for (let patch = 0; patch < rows * columns; patch++) {
      if (patch !== own && this.value(panel, patch) > this.value(panel, best)) best = patch;
    }
    const likest =
      rows * columns > 1 ? `Most like ${this.place(best)}: ${short(this.value(panel, best))}` : "";
    this.write(panel, [`Patch at ${this.place(own)}.`, likest]);
  }

  read(event, panel) {
    const box = panel.large.getBoundingClientRect();
    const [rows, columns] = this.header.grid;
    const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
    if (row < 0 || column < 0 || row >= rows || column >= columns) return;
    const patch = row * columns + column;
    const value = `${this.header.unit} with ${this.place(patch)}: ${short(this.value(panel, patch))}`;
    this.write(panel, [`Patch at ${this.place(this.header.patches[this.chosen])}.`, value]);
  }

  write({ readout }, lines) {
    readout.replaceChildren(...lines.map((line) => element("span", {}, capital(line))));
  }

  point(event, mosaic) {
    const box = mosaic.getBoundingClientRect();
    const [rows, columns] = this.header.tiles;
    const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
    if (row >= 0 && column >= 0 && row < rows && column < columns) this.choose(row, column);
  }

  key(event) {
    const [down, across] =
      { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key] ??
      [0, 0];
    if (!down && !across) return;
    event.preventDefault();
    const [rows, columns] = this.header.tiles;
    const row = Math.floor(this.chosen / columns) + down;
    const column = (this.chosen % columns) + across;
    if (row >= 0 && column >= 0 && row < rows && column < columns) this.choose(row, column);
  }

  choose(row, column) {
    const chosen = row * this.header.tiles[1] + column;
    if (chosen === this.chosen) return;
    this.chosen = chosen;
    this.draw();
  }
}

function short(value) {
  const size = Math.abs(value);
  if (size >= 100) return value.toFixed(0);
  return size >= 0.005 || size === 0 ? value.toFixed(2) : value.toExponential(1);
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
