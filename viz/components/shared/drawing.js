// Draws maps over a photo, and what stands around them: frames, grids and colour scales.
// A style is the object that viz/components/draw_style.py describes.

import { opaquePalette, palette } from "./colors.js";
import { markScale } from "./projector.js";

export function pixelRatio() {
  return window.devicePixelRatio || 1;
}

// Give a canvas the device pixels of its box on the page; true if that changed.
export function fitCanvas(canvas, aspect, width = canvas.clientWidth) {
  const w = Math.max(1, Math.round(width * pixelRatio()));
  const h = Math.max(1, Math.round((width * pixelRatio()) / aspect));
  if (canvas.width === w && canvas.height === h) return false;
  canvas.width = w;
  canvas.height = h;
  return true;
}

// A map over the photo on a canvas; it keeps the muted photo and the map's pixels between frames.
export class MapCanvas {
  constructor(canvas) {
    this.canvas = canvas;
  }

  // Draw; the context is returned, for frames on top.
  draw(photo, values, top, grid, style, width) {
    const { canvas } = this;
    if (fitCanvas(canvas, photo.width / photo.height, width) || this.photo !== photo) {
      this.photo = photo;
      this.base = mutedPhoto(photo, canvas.width, canvas.height, style);
    }
    this.map = paintMap(values, top, grid, palette(style), this.map);
    const context = canvas.getContext("2d");
    context.drawImage(this.base, 0, 0);
    context.imageSmoothingEnabled = style.smooth;
    context.drawImage(this.map, 0, 0, canvas.width, canvas.height);
    return context;
  }
}

// A map as a canvas with one pixel a patch; `top` is the value of the last colour.
export function paintMap(
  values,
  top,
  [rows, columns],
  colors,
  canvas = document.createElement("canvas"),
) {
  if (canvas.width !== columns || canvas.height !== rows) {
    canvas.width = columns;
    canvas.height = rows;
  }
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  const words = new Uint32Array(image.data.buffer);
  const factor = top > 0 ? 255 / top : 0;
  for (let i = 0; i < words.length; i++) {
    words[i] = colors[Math.min(255, Math.round(values[i] * factor))];
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

const KEPT = 8; // sizes of one photo; a page draws it in three or four
const muted = new WeakMap(); // a photo -> its muted copies, the newest last

// A photo, muted as under every map, at a size in device pixels.
export function mutedPhoto(photo, width, height, { saturation, brightness }) {
  if (!muted.has(photo)) muted.set(photo, new Map());
  const copies = muted.get(photo);
  const id = `${width} ${height} ${saturation} ${brightness}`;
  if (!copies.has(id)) {
    if (copies.size >= KEPT) copies.delete(copies.keys().next().value);
    copies.set(id, mute(photo, width, height, saturation, brightness));
  }
  return copies.get(id);
}

function mute(photo, width, height, saturation, brightness) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(photo, 0, 0, width, height);
  const image = context.getImageData(0, 0, width, height);
  const { data } = image;
  const own = saturation * brightness;
  const grey = (1 - saturation) * brightness;
  for (let i = 0; i < data.length; i += 4) {
    const luma = grey * (0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2]);
    data[i] = own * data[i] + luma;
    data[i + 1] = own * data[i + 1] + luma;
    data[i + 2] = own * data[i + 2] + luma;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

// A box, [left, top, right, bottom] as shares of the canvas: white on a black rim, for any photo.
export function drawBox(context, box, { dash = [], rim = 3.5 } = {}) {
  const sides = sidesOf(context.canvas, box);
  const ratio = pixelRatio() * markScale();
  context.save();
  context.strokeStyle = "#000";
  context.lineWidth = rim * ratio;
  context.strokeRect(...sides);
  context.strokeStyle = "#fff";
  context.lineWidth = 1.5 * ratio;
  context.setLineDash(dash.map((part) => part * ratio));
  context.strokeRect(...sides);
  context.restore();
}

// A frame of a box with black inside white; `line` in CSS pixels.
export function drawFrame(context, box, line, dashed = false) {
  const [x, y, width, height] = sidesOf(context.canvas, box);
  const thick = line * pixelRatio() * markScale();
  context.save();
  context.setLineDash(dashed ? [3 * thick, 2 * thick] : []);
  context.lineWidth = thick;
  context.strokeStyle = "#fff";
  context.strokeRect(x, y, width, height);
  context.strokeStyle = "#000";
  context.strokeRect(x + thick, y + thick, width - 2 * thick, height - 2 * thick);
  context.restore();
}

function sidesOf({ width, height }, [left, top, right, bottom]) {
  return [left * width, top * height, (right - left) * width, (bottom - top) * height];
}

// Faint lines between the patches; none where they would hide the photo.
export function drawGrid(context, [rows, columns]) {
  const { width, height } = context.canvas;
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
  context.lineWidth = markScale();
  context.strokeStyle = "rgb(255 255 255 / 0.16)";
  context.stroke();
}

// The colours of a map from low to high, as a bar.
export function drawScale(canvas, colors) {
  canvas.width = 256;
  canvas.height = 1;
  const context = canvas.getContext("2d");
  const image = context.createImageData(256, 1);
  new Uint32Array(image.data.buffer).set(opaquePalette(colors));
  context.putImageData(image, 0, 0);
}
