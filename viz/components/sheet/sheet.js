// Every head of every layer from one query, on one grid. A click opens the head in the explorer.

const instances = new WeakMap();

export default function (component) {
  const { parentElement, data, setTriggerValue } = component;
  let sheet = instances.get(parentElement);
  if (!sheet) {
    sheet = new Sheet(parentElement);
    instances.set(parentElement, sheet);
  }
  sheet.choose = (layer, head) => setTriggerValue("choose", { layer, head });
  if (data) sheet.receive(data);
  return () => {
    sheet.resizes.disconnect();
    instances.delete(parentElement);
  };
}

class Sheet {
  constructor(parent) {
    this.canvas = parent.querySelector("canvas");
    this.readout = parent.querySelector(".readout");
    this.cursor = null;
    this.canvas.onpointermove = (event) => this.point(this.cellAt(event));
    this.canvas.onpointerleave = () => this.point(null);
    this.canvas.onclick = (event) => this.open(this.cellAt(event));
    this.canvas.onkeydown = (event) => this.onKey(event);
    this.resizes = new ResizeObserver(() => this.draw());
    this.resizes.observe(parent.querySelector(".sheet"));
  }

  receive(bytes) {
    const style = getComputedStyle(this.canvas);
    this.ink = style.color;
    this.accent = style.getPropertyValue("--st-primary-color").trim() || style.color;
    if (bytes !== this.received) {
      this.received = bytes;
      const { header, arrays } = unpack(bytes);
      this.header = header;
      this.values = arrays.values;
      this.maxima = arrays.maxima;
      if (this.cursor && !this.exists(...this.cursor)) this.point(null);
      decodeFor(this, arrays.photo, (photo) => {
        this.photo = photo;
        this.draw();
      });
    }
    this.draw();
  }

  // As large as the width allows, but no taller than a screen and no larger than a thumbnail.
  get layout() {
    const { layers } = this.header;
    const heads = Math.max(...this.header.heads);
    const label = 22;
    const width = this.canvas.parentElement.clientWidth;
    const aspect = this.photo.width / this.photo.height;
    const cell = Math.min(150, (width - label) / heads, Math.max(40, (heads < 5 ? 900 : 640) / layers) * aspect);
    return { label, cell, height: cell / aspect, rows: layers, columns: heads, width };
  }

  draw() {
    if (!this.photo || !this.header) return;
    const { grid, colors, opacity, layer, head } = this.header;
    const { label, cell, height, rows, columns, width } = this.layout;
    fit(this.canvas, width / (label + rows * height), width);
    const context = this.canvas.getContext("2d");
    const ratio = window.devicePixelRatio || 1;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, label + rows * height);
    const gap = Math.max(1, cell * 0.04);
    const inner = [cell - gap, height - gap];
    const base = subdued(this.photo, Math.ceil(inner[0] * ratio), Math.ceil(inner[1] * ratio));
    const table = palette(colors, opacity);
    const patches = grid[0] * grid[1];
    let map;
    context.imageSmoothingEnabled = false;
    for (let i = 0; i < rows * columns; i++) {
      if (!this.exists(Math.floor(i / columns), i % columns)) continue;
      const x = label + (i % columns) * cell;
      const y = label + Math.floor(i / columns) * height;
      map = tile(this.values.subarray(i * patches, (i + 1) * patches), 255, grid, table, map);
      context.drawImage(base, x, y, ...inner);
      context.drawImage(map, x, y, ...inner);
    }
    this.drawLabels(context);
    if (typeof head === "number") this.frame(context, layer, head, this.accent, 3);
    if (this.cursor) this.frame(context, ...this.cursor, this.ink, 1.5);
  }

  drawLabels(context) {
    const { label, cell, height, rows, columns } = this.layout;
    context.fillStyle = this.ink;
    context.font = `11px ${getComputedStyle(this.canvas).fontFamily}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (let i = 0; i < columns; i++) {
      context.fillText(i + 1, label + (i + 0.5) * cell, label / 2);
    }
    const { numbers } = this.header;
    for (let i = 0; i < rows; i++) {
      context.fillText(numbers[i], label / 2, label + (i + 0.5) * height);
    }
  }

  frame(context, layer, head, color, line) {
    const { label, cell, height } = this.layout;
    const gap = Math.max(1, cell * 0.04);
    context.strokeStyle = color;
    context.lineWidth = line;
    context.strokeRect(
      label + head * cell + line / 2 - 1,
      label + layer * height + line / 2 - 1,
      cell - gap - line + 2,
      height - gap - line + 2,
    );
  }

  cellAt(event) {
    const { label, cell, height } = this.layout;
    const box = this.canvas.getBoundingClientRect();
    const head = Math.floor((event.clientX - box.left - label) / cell);
    const layer = Math.floor((event.clientY - box.top - label) / height);
    return this.exists(layer, head) ? [layer, head] : null;
  }

  exists(layer, head) {
    const { layers, heads } = this.header;
    return layer >= 0 && layer < layers && head >= 0 && head < heads[layer];
  }

  point(cell) {
    if (String(cell) === String(this.cursor)) return;
    this.cursor = cell;
    setText(this.readout, cell ? this.describe(...cell) : "");
    this.draw();
  }

  describe(layer, head) {
    const { numbers, shares } = this.header;
    const at = layer * this.layout.columns + head;
    const peak = percent(this.maxima[at]);
    const others = shares
      .map(([name, values]) => `, ${name} ${percent(values[at])}`)
      .join("");
    return `Layer ${numbers[layer]}, head ${head + 1}: strongest patch ${peak}${others}`;
  }

  open(cell) {
    if (cell) this.choose(...cell);
  }

  onKey(event) {
    const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    if (event.key === "Enter") this.open(this.cursor);
    else if (event.key in steps) {
      const { layers, heads, layer, head } = this.header;
      const [row, column] = this.cursor ?? [layer, typeof head === "number" ? head : 0];
      const [down, right] = steps[event.key];
      const next = Math.min(layers - 1, Math.max(0, row + down));
      this.point([next, Math.min(heads[next] - 1, Math.max(0, column + right))]);
    } else return;
    event.preventDefault();
  }
}
