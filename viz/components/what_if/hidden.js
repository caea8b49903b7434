// Draws hidden patches as the model gets them: the mean colour, blurred, a second photo, or nothing.

import { pixelRatio } from "../shared/drawing.js";
import { patchBox } from "../shared/grid.js";

export function paintHidden(context, patches, look) {
  const { width, height } = context.canvas;
  const fill = fillOf(look, width, height);
  for (const patch of patches) {
    const [left, top, right, bottom] = patchBox(patch, look.grid);
    const x = Math.round(left * width);
    const y = Math.round(top * height);
    const box = [x, y, Math.round(right * width) - x, Math.round(bottom * height) - y];
    if (fill) context.drawImage(fill, ...box, ...box);
    else context.clearRect(...box);
    hatch(context, box);
  }
}

// Thin diagonal lines, so that a hidden patch is told from the photo whatever its colour.
function hatch(context, [x, y, width, height]) {
  const step = 5 * pixelRatio();
  context.save();
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
  context.beginPath();
  // Lines of one family over the whole canvas, so that neighbours join.
  const first = Math.floor((x - y - height) / step) * step;
  for (let at = first; at < x + width - y + step; at += step) {
    context.moveTo(at + y, y);
    context.lineTo(at + y + height, y + height);
  }
  context.lineWidth = pixelRatio();
  context.strokeStyle = "rgb(255 255 255 / 0.35)";
  context.stroke();
  context.restore();
}

const fills = new WeakMap(); // a photo -> its fills by name and size

function fillOf({ hide, photo, second, grid }, width, height) {
  if (hide === "remove") return null;
  const isOther = hide === "photo" || hide.startsWith("after"); // its patch, or its token
  const source = isOther && second ? second : photo;
  if (!fills.has(source)) fills.set(source, new Map());
  const known = fills.get(source);
  const id = `${hide} ${width} ${height}`;
  if (!known.has(id)) {
    if (known.size > 8) known.clear();
    // The mean colour of the whole picture; blurred, about one value a patch.
    const sides = { mean: [1, 1], blur: [grid[1], grid[0]] }[hide] ?? [width, height];
    known.set(id, enlarged(shrunk(source, ...sides), width, height));
  }
  return known.get(id);
}

// Halved again and again, since one step of drawImage would skip pixels.
function shrunk(source, width, height) {
  let image = source;
  let [w, h] = [source.width, source.height];
  do {
    w = Math.max(width, Math.floor(w / 2));
    h = Math.max(height, Math.floor(h / 2));
    image = enlarged(image, w, h);
  } while (w > width || h > height);
  return image;
}

function enlarged(image, width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, width, height);
  return canvas;
}
