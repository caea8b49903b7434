// A caption's attention maps: over the photo ("cross") and among the words ("own").
// A view says which: its layer and its head, which is a number or "mean".

import { peakOf } from "../shared/attention.js";
import { rowAndColumn } from "../shared/grid.js";

export class CaptionMaps {
  constructor({ words, prefix, grid, layers, boxes, memoryOfOne }, arrays) {
    this.grid = grid;
    this.boxes = boxes;
    this.count = words.length;
    this.firstPatch = prefix.length; // the memory token of the first patch
    this.tokens = prefix.length + grid[0] * grid[1];
    // Whether there are maps to see: not without words, nor over a memory of one vector.
    this.shown = this.count > 0 && !memoryOfOne;
    this.layers = layers.map((heads, i) => ({
      heads,
      cross: arrays[`cross_${i}`],
      own: arrays[`self_${i}`],
      means: new Map(),
    }));
    this.hasOwn = Boolean(this.layers[0]?.own);
  }

  // What a word took from each memory token.
  row(view, word) {
    return this.rowOf("cross", this.tokens, view, word);
  }

  // What a word took from each patch.
  patches(view, word) {
    return this.row(view, word).subarray(this.firstPatch);
  }

  // What a word took from <start> and from each word.
  ownRow(view, word) {
    return this.rowOf("own", this.count + 1, view, word);
  }

  rowOf(kind, width, { layer, head }, word) {
    const { heads, means, [kind]: maps } = this.layers[layer];
    const at = (h) => (h * this.count + word) * width;
    if (typeof head === "number") return maps.subarray(at(head), at(head) + width);
    const id = `${kind} ${word}`;
    if (!means.has(id)) {
      const mean = new Float32Array(width);
      for (let h = 0; h < heads; h++) {
        for (let j = 0; j < width; j++) mean[j] += maps[at(h) + j] / heads;
      }
      means.set(id, mean);
    }
    return means.get(id);
  }

  // Does the peak of the word's map lie in the box of an object?
  hits(view, word, object) {
    const [rows, columns] = this.grid;
    const [row, column] = rowAndColumn(peakOf(this.patches(view, word)), this.grid);
    const [x, y] = [(column + 0.5) / columns, (row + 0.5) / rows];
    const [left, top, right, bottom] = this.boxes[object];
    return x >= left && x < right && y >= top && y < bottom;
  }
}
