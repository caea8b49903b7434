// The photo with the query's and the key's frames, under the map of the head from the softmax on.

import { peakOf } from "../shared/attention.js";
import { palette } from "../shared/colors.js";
import {
  drawFrame,
  drawGrid,
  fitCanvas,
  mutedPhoto,
  paintMap,
  pixelRatio,
} from "../shared/drawing.js";
import { patchBox } from "../shared/grid.js";

const BARE = { saturation: 1, brightness: 1 };

export class Photo {
  constructor(inside) {
    this.inside = inside;
    this.canvas = inside.find(".photo");
    this.small = document.createElement("canvas");
  }

  draw() {
    const { photo, numbers, header, view, query, key } = this.inside;
    if (!photo) return;
    const shown = header.keysOnPhoto && this.inside.showsMap;
    this.paint(this.canvas, shown ? this.patches(numbers.weights(view.head, query)) : null);
    const context = this.canvas.getContext("2d");
    if (!shown) drawGrid(context, header.grid);
    if (header.queriesOnPhoto) this.frame(context, query, "q", false);
    if (header.keysOnPhoto) this.frame(context, key, "k", true);
  }

  // A head's map from the query, on a small canvas.
  drawHead(canvas, head) {
    const { numbers, query, photo } = this.inside;
    if (photo) this.paint(canvas, this.patches(numbers.weights(head, query)));
  }

  // A query's weights, patch by patch; the tokens before the patches are left out.
  patches(weights) {
    const { header, numbers, query } = this.inside;
    const [rows, columns] = header.grid;
    const patches = new Float32Array(rows * columns);
    for (let key = 0; key < weights.length; key++) {
      const patch = numbers.tokenOfKey(query, key) - header.prefix.length;
      if (patch >= 0) patches[patch] = weights[key];
    }
    return patches;
  }

  paint(canvas, patches) {
    const { header, style, photo } = this.inside;
    fitCanvas(canvas, photo.width / photo.height);
    const { width, height } = canvas;
    const context = canvas.getContext("2d");
    context.drawImage(mutedPhoto(photo, width, height, patches ? style : BARE), 0, 0);
    if (!patches) return;
    paintMap(patches, patches[peakOf(patches)], header.grid, palette(style), this.small);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.small, 0, 0, width, height);
  }

  frame(context, token, letter, dashed) {
    const { header } = this.inside;
    const patch = token - header.prefix.length;
    if (patch < 0) return;
    const box = patchBox(patch, header.grid);
    drawFrame(context, box, 1.6, dashed);
    const size = 15 * pixelRatio();
    const { width, height } = context.canvas;
    const left = Math.min(box[2] * width, width - size);
    const top = Math.max(0, box[1] * height - size);
    context.fillStyle = "#000";
    context.fillRect(left, top, size, size);
    context.fillStyle = "#fff";
    context.font = `600 ${Math.round(size * 0.75)}px sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText(letter, left + size / 2, top + size / 2);
  }
}
