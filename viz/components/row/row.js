// The maps of several methods over one photo. The same patch is marked in all of them.

const instances = new WeakMap();

export default function (component) {
  const { parentElement, data, setTriggerValue } = component;
  let row = instances.get(parentElement);
  if (!row) {
    row = new Row(parentElement);
    instances.set(parentElement, row);
  }
  row.choose = (id) => setTriggerValue("choose", id);
  if (data) row.receive(data);
  return () => {
    row.resizes.disconnect();
    instances.delete(parentElement);
  };
}

class Row {
  constructor(parent) {
    this.root = parent.querySelector(".row");
    this.cells = parent.querySelector(".cells");
    this.bar = parent.querySelector(".bar");
    this.readout = parent.querySelector(".readout");
    this.point = null; // the patch that is marked
    this.maps = []; // one a canvas: values, ranks, canvas and the line that tells the value
    this.root.onkeydown = (event) => this.onKey(event);
    this.resizes = new ResizeObserver(() => this.draw());
    this.resizes.observe(this.cells);
  }

  receive(bytes) {
    if (bytes === this.received) return;
    this.received = bytes;
    const { header, arrays } = unpack(bytes);
    this.header = header;
    this.patches = header.grid[0] * header.grid[1];
    if (this.point !== null && this.point >= this.patches) this.point = null;
    this.build(arrays.values);
    drawScale(this.bar, header.colors);
    this.tell();
    decodeFor(this, arrays.photo, (photo) => {
      this.photo = photo;
      this.base = null;
      this.draw();
    });
  }

  build(values) {
    const { cells, variants, chosen } = this.header;
    this.maps = [];
    this.cells.classList.toggle("few", cells.length < 3);
    let next = 0;
    const take = () => values.subarray(next * this.patches, ++next * this.patches);
    this.cells.replaceChildren(
      ...cells.map((cell, i) => {
        const name = this.name(cell);
        const group = element("span", { class: "group" }, cells[i - 1]?.group === cell.group ? "" : cell.group);
        const figure = element("figure", { class: "cell" }, group, name);
        figure.dataset.method = cell.id;
        figure.classList.toggle("chosen", cell.id === chosen);
        if (cell.missing) figure.append(element("p", { class: "missing" }, cell.missing));
        else variants.forEach((variant, v) => figure.append(...this.picture(cell, variant, v, take())));
        return figure;
      }),
    );
  }

  name(cell) {
    const { chosen, choosable } = this.header;
    if (!choosable) return element("p", { class: "name", title: cell.short }, cell.title);
    const name = element("button", { class: "name", type: "button", title: cell.short }, cell.title);
    name.setAttribute("aria-pressed", cell.id === chosen);
    name.onclick = () => this.choose(cell.id);
    return name;
  }

  picture(cell, variant, index, values) {
    const canvas = element("canvas", { class: "photo", role: "img" });
    canvas.setAttribute("aria-label", [cell.title, variant, "over the photo"].filter(Boolean).join(", "));
    canvas.onpointermove = (event) => this.mark(this.patchAt(event, canvas));
    canvas.onpointerleave = () => this.mark(null);
    if (this.header.choosable) canvas.onclick = () => this.choose(cell.id);
    const value = element("p", { class: "value" });
    const note = cell.notes?.[index] ?? "";
    this.maps.push({ canvas, values, value, note, ranks: ranksOf(values) });
    return variant ? [element("p", { class: "which" }, variant), canvas, value] : [canvas, value];
  }

  draw() {
    if (!this.photo || !this.maps.length) return;
    const { grid, colors, opacity, smooth } = this.header;
    const aspect = this.photo.width / this.photo.height;
    const width = this.maps[0].canvas.clientWidth;
    for (const map of this.maps) {
      if (fit(map.canvas, aspect, width)) this.base = null;
    }
    const { canvas } = this.maps[0];
    this.base ??= subdued(this.photo, canvas.width, canvas.height);
    const table = palette(colors, opacity);
    for (const map of this.maps) {
      map.tile = tile(map.values, 1, grid, table, map.tile);
      const context = map.canvas.getContext("2d");
      context.drawImage(this.base, 0, 0);
      context.imageSmoothingEnabled = smooth;
      context.drawImage(map.tile, 0, 0, map.canvas.width, map.canvas.height);
      if (this.header.box) drawBox(context, this.header.box, [4, 3]);
      if (this.point !== null) this.outline(context, map.canvas);
    }
  }

  outline(context, { width, height }) {
    const [rows, columns] = this.header.grid;
    const x = (this.point % columns) * (width / columns);
    const y = Math.floor(this.point / columns) * (height / rows);
    for (const [color, line] of [["#000", 4], ["#fff", 2]]) {
      context.strokeStyle = color;
      context.lineWidth = line * (window.devicePixelRatio || 1) * 0.75;
      context.strokeRect(x, y, width / columns, height / rows);
    }
  }

  patchAt(event, canvas) {
    const [rows, columns] = this.header.grid;
    const box = canvas.getBoundingClientRect();
    const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
    const inside = row >= 0 && column >= 0 && row < rows && column < columns;
    return inside ? row * columns + column : null;
  }

  mark(patch) {
    if (patch === this.point) return;
    this.point = patch;
    this.tell();
    this.draw();
  }

  tell() {
    const { grid, hint } = this.header;
    for (const { values, ranks, value, note } of this.maps) {
      setText(value, this.point === null ? note : describe(values[this.point], ranks[this.point]));
    }
    const place = this.point === null ? hint : `Row ${Math.floor(this.point / grid[1]) + 1}, column ${(this.point % grid[1]) + 1} in every map, of ${this.patches} patches.`;
    setText(this.readout, place);
  }

  onKey(event) {
    const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    if (event.key === "Escape") this.mark(null);
    else if (event.key in steps) {
      const [rows, columns] = this.header.grid;
      const start = this.point ?? Math.floor(rows / 2) * columns + Math.floor(columns / 2);
      const [down, right] = this.point === null ? [0, 0] : steps[event.key];
      const row = Math.min(rows - 1, Math.max(0, Math.floor(start / columns) + down));
      const column = Math.min(columns - 1, Math.max(0, (start % columns) + right));
      this.mark(row * columns + column);
    } else return;
    event.preventDefault();
  }
}

function describe(value, rank) {
  return value > 0 ? `${percent(value)} of peak, rank ${rank}` : "zero here";
}

// 1 for the largest value; equal values share the best rank among them.
function ranksOf(values) {
  const order = [...values.keys()].sort((a, b) => values[b] - values[a]);
  const ranks = new Array(values.length);
  order.forEach((patch, i) => {
    const before = order[i - 1];
    ranks[patch] = i && values[before] === values[patch] ? ranks[before] : i + 1;
  });
  return ranks;
}
