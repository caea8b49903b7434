// The explorer's sentences and numbers.

import { isEven, isSigned, peakOf, timesAverage } from "../shared/attention.js";
import { setText } from "../shared/controls.js";
import { setExplained } from "../shared/terms.js";
import { capital, percent, tokenTitle } from "../shared/text.js";

export class Readout {
  constructor(explorer) {
    this.explorer = explorer;
  }

  write(row, top) {
    const { view, header, query, hovered, reading } = this.explorer;
    const write = (selector, text) => setText(this.explorer.find(selector), text);
    write(".high", top > 0 ? `${percent(top)} of the attention` : "no weight above 0");
    write(".heads-title", `Heads of layer ${header.numbers[view.layer]}`);
    this.explain(".why-heads", header.whyHeads?.[view.layer] ?? []);
    write(".from", `From ${this.place(query)}${view.held ? " (held)" : ""}`);
    const to = () => `To ${this.place(hovered)}: ${amount(row, hovered)}.`;
    write(".to", reading ? to() : this.whereMost(row));
    this.markTokens(row);
    this.explain(".sinks", this.sinks());
  }

  explain(selector, parts) {
    setExplained(this.explorer, this.explorer.find(selector), parts);
  }

  // Tokens that draw attention whoever asks.
  sinks() {
    const { layer, header, view } = this.explorer;
    const named = layer.sinks?.map(([token, share]) => {
      const times = Math.round(share * layer.tokens);
      const drawn = `${Math.round(100 * share)} % of all attention, ${times} times the average`;
      return `${capital(this.place(token))} gets ${drawn}`;
    });
    if (!named?.length) return [];
    const where = ` in layer ${header.numbers[view.layer]}: ${named.join("; ")}.`;
    const meaning = "Every token looks there, so it says little about the photo.";
    return [...(header.sinks ?? ["Attention sinks"]), `${where} ${meaning}`];
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
    const { firstPatch, query } = this.explorer;
    const patches = row.subarray(firstPatch);
    const best = firstPatch + peakOf(patches);
    if (isSigned(row)) return signedMost(this.place(best), row[best]);
    const spread = isEven(patches) ? " It spreads almost evenly." : "";
    const goes = `goes to ${this.place(best)}: ${amount(row, best)}.${spread}`;
    const taker = peakOf(row);
    if (taker >= firstPatch) return `Most ${goes}`;
    const way = taker === query ? "stays on" : "goes to";
    return `${percent(row[taker])} ${way} ${this.place(taker)}. Most of the rest ${goes}`;
  }

  place(token) {
    return tokenTitle(token, this.explorer.header.prefix, this.explorer.grid);
  }
}

// For a screen reader, after a key was pressed.
export function announcement({ view, header, root }) {
  const text = (selector) => root.querySelector(selector).textContent;
  const head = typeof view.head === "number" ? view.head + 1 : view.head;
  return `Layer ${header.numbers[view.layer]}, head ${head}. ${text(".from")} ${text(".to")}`;
}

// Some layers change their map after the softmax, and weights may fall below zero there.
function signedMost(place, weight) {
  if (!(weight > 0)) return "Every weight is below zero, and none is coloured.";
  return `The largest weight: ${place}, ${percent(weight)}. Weights below zero are not coloured.`;
}

function amount(row, token) {
  if (isSigned(row)) return percent(row[token]);
  return `${percent(row[token])}, ${timesAverage(row, token)}`;
}
