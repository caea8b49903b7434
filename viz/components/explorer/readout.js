// The explorer's sentences and numbers.

import { isEven, peakOf, sumOf } from "../shared/attention.js";
import { setText } from "../shared/controls.js";
import { placeName } from "../shared/grid.js";
import { percent, prefixName } from "../shared/text.js";

export class Readout {
  constructor(explorer) {
    this.explorer = explorer;
  }

  write(row, top) {
    const { view, header, query, hovered, reading } = this.explorer;
    const write = (selector, text) => setText(this.explorer.find(selector), text);
    write(".high", `${percent(top)} of the attention`);
    write(".heads-title", `Heads of layer ${header.numbers[view.layer]}`);
    write(".from", `From ${this.place(query)}${view.held ? " (held)" : ""}`);
    const to = () => `to ${this.place(hovered)}: ${amount(row, hovered)}`;
    write(".to", reading ? to() : this.whereMost(row));
    this.markTokens(row);
  }

  markTokens(row) {
    const { panel, query, firstPatch } = this.explorer;
    for (const [token, { button, share }] of panel.tokens.entries()) {
      button.setAttribute("aria-pressed", query === token);
      setText(share, `gets ${percent(row[token])}`);
    }
    const onPatch = query >= firstPatch;
    panel.patch.setAttribute("aria-pressed", onPatch);
    setText(panel.patch, onPatch ? this.place(query) : "a patch");
  }

  // A token without a place on the photo often takes more than any patch, and no colour shows it.
  whereMost(row) {
    const { firstPatch, query, view } = this.explorer;
    const patches = row.subarray(firstPatch);
    const best = firstPatch + peakOf(patches);
    const evenly = isEven(patches) ? "almost evenly, " : "";
    const most = `${evenly}most to ${this.place(best)}: ${amount(row, best)}`;
    const taker = peakOf(row);
    if (taker >= firstPatch) return most;
    const sumsToOne = typeof view.head === "number" || view.head === "mean";
    const all = `all patches together: ${percent(sumOf(patches))}`;
    const who = taker === query ? "itself" : this.place(taker);
    const rest = sumsToOne ? all : "of the patches";
    return `most to ${who}: ${percent(row[taker])}; ${rest}, ${most}`;
  }

  place(token) {
    const { firstPatch, grid, header } = this.explorer;
    const patch = token - firstPatch;
    return patch < 0 ? prefixName(header.prefix[token]) : placeName(patch, grid);
  }
}

// For a screen reader, after a key was pressed.
export function announcement({ view, header, root }) {
  const text = (selector) => root.querySelector(selector).textContent;
  const head = typeof view.head === "number" ? view.head + 1 : view.head;
  return `Layer ${header.numbers[view.layer]}, head ${head}. ${text(".from")} ${text(".to")}`;
}

function amount(row, token) {
  return `${percent(row[token])}, ${(row[token] * row.length).toFixed(1)} × an even share`;
}
