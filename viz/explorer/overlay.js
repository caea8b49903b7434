// One finished map over the photo, with its scale and the value under the mouse.

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
    this.canvas.onpointermove = (event) => this.read(event);
    this.canvas.onpointerleave = () => setText(this.readout, this.header.caption);
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
    setText(this.readout, header.caption);
    this.canvas.setAttribute("aria-label", header.alt);
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
  }

  read(event) {
    const box = this.canvas.getBoundingClientRect();
    const [rows, columns] = this.header.grid;
    const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
    const value = this.values[row * columns + column];
    if (value === undefined) return;
    setText(this.readout, `Row ${row + 1}, column ${column + 1}: ${percent(value)}`);
  }
}
