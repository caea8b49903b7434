// The difference of two maps: orange where the first has more, blue where the second has.

import { fitCanvas, mutedPhoto } from "../shared/drawing.js";

const MORE_IN_A = [230, 115, 20];
const MORE_IN_B = [45, 110, 215];
const GREY = { saturation: 0, brightness: 0.55 };
const OPACITY = 0.92;

// Draw it over the photo, or over nothing where the two maps are of different photos; the context
// is returned, for frames on top.
export function drawDifference(canvas, difference, grid, photo, aspect) {
  fitCanvas(canvas, aspect);
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (photo) context.drawImage(mutedPhoto(photo, canvas.width, canvas.height, GREY), 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(paint(difference, grid), 0, 0, canvas.width, canvas.height);
  return context;
}

// A canvas with one pixel a patch; the largest difference is the most opaque.
function paint(difference, [rows, columns]) {
  const canvas = document.createElement("canvas");
  canvas.width = columns;
  canvas.height = rows;
  const image = new ImageData(columns, rows);
  const most = largest(difference);
  for (let i = 0; i < difference.length; i++) {
    const share = most > 0 ? difference[i] / most : 0;
    image.data.set(share > 0 ? MORE_IN_A : MORE_IN_B, 4 * i);
    image.data[4 * i + 3] = Math.round(255 * OPACITY * Math.abs(share) ** 0.75);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

// The largest absolute value.
export function largest(difference) {
  let most = 0;
  for (const value of difference) most = Math.max(most, Math.abs(value));
  return most;
}
