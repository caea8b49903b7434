// One finished map over the photo, with its scale and the value of the patch under the mouse, or
// of that which the arrow keys have reached.

const instances = new WeakMap();

export default function (component) {
  const { parentElement, data } = component;
  let overlay = instances.get(parentElement);
  if (!overlay) {
    overlay = new Overlay(parentElement);
    instances.set(parentElement, overlay);
  }
  if (data) overlay.receive(data);
  return () => {
    overlay.resizes.disconnect();
    instances.delete(parentElement);
  };
}

class Overlay {
  constructor(parent) {
    this.canvas = parent.querySelector(".photo");
    this.bar = parent.querySelector(".bar");
    this.high = parent.querySelector(".high");
    this.readout = parent.querySelector(".readout");
    this.hovered = this.stepped = null; // a patch: by the mouse, by the arrow keys
    this.canvas.onpointermove = (event) => this.hover(this.patchAt(event));
    this.canvas.onpointerleave = () => this.hover(null);
    this.canvas.onblur = () => this.stepTo(null);
    this.canvas.onkeydown = (event) => this.onKey(event);
    this.resizes = new ResizeObserver(() => this.draw());
    this.resizes.observe(this.canvas.parentElement);
  }

  receive(bytes) {
    if (bytes === this.received) return;
    this.received = bytes;
    const { header, arrays } = unpack(bytes);
    this.header = header;
    this.values = arrays.values;
    this.top = this.values[largest(this.values)];
    setText(this.high, `${percent(this.top)} ${header.unit}`);
    this.hovered = this.stepped = null;
    this.caption = `${header.caption}${isEven(this.values) ? " Spread almost evenly." : ""}`;
    setText(this.readout, this.caption);
    this.canvas.setAttribute("aria-label", `${header.alt}. Arrow keys read it patch by patch.`);
    drawScale(this.bar, header.colors);
    decodeFor(this, arrays.photo, (photo) => {
      this.photo = photo;
      this.base = null;
      this.draw();
    });
  }

  draw() {
    if (!this.photo) return;
    const { canvas, header } = this;
    if (fit(canvas, this.photo.width / this.photo.height) || !this.base) {
      this.base = subdued(this.photo, canvas.width, canvas.height);
    }
    const context = canvas.getContext("2d");
    context.drawImage(this.base, 0, 0);
    const colors = palette(header.colors, header.opacity);
    this.map = tile(this.values, this.top, header.grid, colors, this.map);
    context.imageSmoothingEnabled = header.smooth;
    context.drawImage(this.map, 0, 0, canvas.width, canvas.height);
    if (header.box) drawBox(context, header.box, [4, 3]);
    if (this.point !== null) drawBox(context, this.edges(this.point));
  }

  edges(patch) {
    const [rows, columns] = this.header.grid;
    const [row, column] = this.place(patch);
    return [column / columns, row / rows, (column + 1) / columns, (row + 1) / rows];
  }

  get point() {
    return this.hovered ?? this.stepped;
  }

  hover(patch) {
    if (patch === this.hovered) return;
    this.hovered = patch;
    this.read();
  }

  // The arrow keys count until the mouse moves again.
  stepTo(patch) {
    if (!this.header) return;
    this.hovered = null;
    this.stepped = patch;
    this.read();
  }

  read() {
    this.draw();
    if (this.point === null) return setText(this.readout, this.caption);
    const [row, column] = this.place(this.point);
    setText(this.readout, `Row ${row + 1}, column ${column + 1}: ${percent(this.values[this.point])}`);
  }

  place(patch) {
    const columns = this.header.grid[1];
    return [Math.floor(patch / columns), patch % columns];
  }

  patchAt(event) {
    if (!this.header) return null;
    const box = this.canvas.getBoundingClientRect();
    const [rows, columns] = this.header.grid;
    const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
    const within = row >= 0 && row < rows && column >= 0 && column < columns;
    return within ? row * columns + column : null;
  }

  onKey(event) {
    const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    if (!this.header || isShortcut(event)) return;
    if (event.key === "Escape") this.stepTo(null);
    else if (event.key in steps) this.step(...steps[event.key]);
    else return;
    event.preventDefault();
  }

  // The first step goes to where the map is highest.
  step(down, right) {
    if (this.point === null) return this.stepTo(largest(this.values));
    const [rows, columns] = this.header.grid;
    const [row, column] = this.place(this.point);
    const within = (place, count) => Math.min(count - 1, Math.max(0, place));
    this.stepTo(within(row + down, rows) * columns + within(column + right, columns));
  }
}
