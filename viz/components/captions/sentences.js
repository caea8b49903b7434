// What the page says of a word, of a patch, and of a square of the triangle.

import { peakOf, timesAverage } from "../shared/attention.js";
import { placeName } from "../shared/grid.js";
import { capital, percent, prefixName } from "../shared/text.js";

// Where the decoder looked for a word; `high` stands at the end of the colour scale.
export function aboutWord(header, maps, view, word) {
  if (!header.words.length) return { text: "" };
  if (!maps.shown) return { text: header.noMaps };
  const values = maps.row(view, word);
  const patches = maps.patches(view, word);
  const best = peakOf(patches);
  const share = percent(patches[best]);
  const first = peakOf(values);
  const elsewhere = first < maps.firstPatch;
  const unplaced = elsewhere
    ? `${percent(values[first])} of the attention goes to ${prefixName(header.prefix[first])}. `
    : "";
  const looked = `For “${header.words[word]}” it looks most at ${placeName(best, maps.grid)}`;
  const times = timesAverage(values, maps.firstPatch + best);
  const box = aboutBox(header, maps, view, word);
  return {
    text: `${unplaced}${looked}: ${share}, ${times}.${box}`,
    high: `${share} of the attention`,
  };
}

function aboutBox({ names, labels }, maps, view, word) {
  const own = names.find(([named]) => named === word);
  if (!own) return "";
  const inside = maps.hits(view, word, own[1]) ? "inside" : "outside";
  return ` That is ${inside} the box of the ${labels[own[1]]}.`;
}

// Which words looked at a patch most.
export function aboutPatch({ words }, maps, view, patch, isHeld) {
  const shares = words.map((_, i) => maps.patches(view, i)[patch]);
  const order = [...shares.keys()].sort((a, b) => shares[b] - shares[a]).slice(0, 3);
  const most = order.map((i) => `“${words[i]}” ${percent(shares[i])}`).join(", ");
  const place = capital(placeName(patch, maps.grid));
  return { text: `${place}${isHeld ? " (held)" : ""} gets most attention for ${most}.` };
}

// How many of the words that name an object have their peak in its box.
export function aboutHits({ names }, maps, view) {
  if (!names.length || !maps.shown) return "";
  const hits = names.filter(([word, object]) => maps.hits(view, word, object)).length;
  const where = view.head === "mean" ? "In the mean of the heads" : "In this head";
  return `${where}, ${hits} of ${names.length} words that name an object look most inside its box.`;
}

// Why nothing looks at a later word, with the chosen word as the example: the word before it asks.
export function aboutMask(words, word) {
  const count = word + 1;
  const asks = word
    ? `“${words[word - 1]}” asks: the token before it, which sees itself and all before it, ${count} tokens`
    : "the start asks, which sees itself alone";
  const later = words.length - count;
  const rest = later ? ` and the ${later} after it` : "";
  return `A token may look at itself and at those before it. To choose “${words[word]}”, word ${count} of ${words.length}, ${asks}. The mask hides “${words[word]}”${rest}: when it is chosen, they are not written yet. In training they are all there, so the mask sets their scores to −∞, and the softmax makes exactly 0 of that.`;
}

// Where a word's attention among the words went; <start> is word 0.
export function aboutTrace(words, row, from, share, isWholeRow) {
  const source = from ? `“${words[from - 1]}”` : "the start";
  const what = isWholeRow ? "most attention" : "attention";
  return `To choose “${words[row]}”, ${what} went to ${source}: ${percent(share)}.`;
}
