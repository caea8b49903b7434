// Every head's map from one place, in all layers: computed from the layers, or as the server sent
// them. Layers may have fewer heads than others, and grids of their own.

import { attentionRows, peakOf } from "../shared/attention.js";
import { sameToken } from "../shared/grid.js";

// `values` holds a map for each head of each layer, as many heads as the widest layer has; the last
// colour stands for `tops`, the strongest patch has `maxima`, and `shares` go to the prefix tokens.
export class SheetMaps {
  constructor({ layers, prefix }, grid) {
    this.columns = Math.max(...layers.map(([heads]) => heads));
    this.grid = grid;
    this.patches = grid[0] * grid[1];
    const cells = layers.length * this.columns;
    this.values = new Float32Array(cells * this.patches);
    this.tops = new Float32Array(cells);
    this.maxima = this.tops;
    this.shares = prefix.map(() => new Float32Array(cells));
  }

  static fromServer(header, { values, maxima, shares, grid }) {
    const maps = new SheetMaps(header, grid);
    const cells = maxima.length;
    maps.values = values;
    maps.maxima = maxima;
    maps.tops = new Float32Array(cells).fill(255);
    maps.shares = header.prefix.map((_, i) => shares.subarray(i * cells, (i + 1) * cells));
    return maps;
  }

  static fromLayers(header, view, layers) {
    const sides = [1, 2].map((side) => Math.max(...header.layers.map((layer) => layer[side])));
    const maps = new SheetMaps(header, sides);
    for (const [i, layer] of layers.entries()) maps.fill(header, view, layer, i);
    return maps;
  }

  fill(header, view, layer, index) {
    const [heads, ...grid] = header.layers[index];
    const first = header.prefix.length;
    const rows = attentionRows(layer, sameToken(view.query, view.layer, index, header));
    for (let head = 0; head < heads; head++) {
      const row = rows.subarray(head * layer.tokens, (head + 1) * layer.tokens);
      const cell = index * this.columns + head;
      this.spread(row.subarray(first), grid, this.map(cell));
      this.tops[cell] = this.map(cell)[peakOf(this.map(cell))];
      for (const [token, shares] of this.shares.entries()) shares[cell] = row[token];
    }
  }

  map(cell) {
    return this.values.subarray(cell * this.patches, (cell + 1) * this.patches);
  }

  // A coarser map is repeated to the finest grid.
  spread(patches, [rows, columns], map) {
    const [down, across] = this.grid;
    if (down === rows && across === columns) return map.set(patches);
    for (let i = 0; i < map.length; i++) {
      const row = Math.floor((Math.floor(i / across) * rows) / down);
      map[i] = patches[row * columns + Math.floor(((i % across) * columns) / across)];
    }
  }
}
