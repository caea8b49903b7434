// Draws the explorer's maps: the large one over the photo, and a small one a head.

import { fusedRow, peakOf } from "../shared/attention.js";
import { drawFrame, drawGrid, MapCanvas } from "../shared/drawing.js";
import { patchBox } from "../shared/grid.js";

export class Pictures {
  constructor(explorer) {
    this.explorer = explorer;
    this.large = new MapCanvas(explorer.canvas);
  }

  // `shared` is the value of the last colour in all small maps; each has its own where it is null.
  draw(rows, patches, top, shared) {
    const { photo, grid, style, view, query, hovered, reading } = this.explorer;
    const context = this.large.draw(photo, patches, top, grid, style);
    if (style.lines) drawGrid(context, grid);
    this.frame(context, query, view.held ? 1.6 : 1.1);
    if (reading) this.frame(context, hovered, 1.1, true);
    this.drawHeads(rows, shared);
  }

  frame(context, token, line, dashed) {
    const { firstPatch, grid } = this.explorer;
    if (token < firstPatch) return;
    drawFrame(context, patchBox(token - firstPatch, grid), line, dashed);
  }

  drawHeads(rows, shared) {
    const { photo, grid, style, layer, firstPatch, panel } = this.explorer;
    for (const { head, picture } of panel.heads) {
      const patches = fusedRow(rows, layer.heads, layer.tokens, head).subarray(firstPatch);
      picture.draw(photo, patches, shared ?? patches[peakOf(patches)], grid, style);
    }
  }
}
