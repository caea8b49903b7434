// The difference of two maps: orange where the first has more, blue where the second has.

import { fitCanvas, mutedPhoto } from "../shared/drawing.js";

const MORE_IN_A = [230, 115, 20];
const MORE_IN_B = [45, 110, 215];
const GREY = { saturation: 0, brightness: 0.55 };
const OPACITY = 0.92;

// Draw it over the photo, of which `under` = {photo, box} is what lies below it, box in shares of
// the photo; or over nothing where the maps are of different photos. The context is returned.
export function drawDifference(canvas, difference, grid, under, aspect) {
  fitCanvas(canvas, aspect);
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  context.clearRect(0, 0, width, height);
  if (under) drawUnder(context, under);
  context.imageSmoothingEnabled = false;
  context.drawImage(paint(difference, grid), 0, 0, width, height);
  return context;
}

function drawUnder(context, { photo, box: [left, top, right, bottom] }) {
  const { width, height } = context.canvas;
  const whole = [width / (right - left), height / (bottom - top)].map(Math.round);
  const muted = mutedPhoto(photo, ...whole, GREY);
  context.drawImage(muted, left * whole[0], top * whole[1], width, height, 0, 0, width, height);
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
