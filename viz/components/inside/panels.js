// What each step shows: its figures, from the numbers of the head.

import { percent } from "../shared/text.js";
import { softmax } from "./head_numbers.js";
import { DRAWS, randomScores } from "./random_scores.js";
import {
  distance,
  entropy,
  histogram,
  largestDifference,
  largestPlaces,
  largestSize,
  lengthOf,
  mean,
  spread,
} from "./statistics.js";

const BINS = 48;
const LARGEST = 10;

export const PANELS = {
  token(figures, inside) {
    const { numbers, query, key, header } = inside;
    figures.strip(`x, ${inside.queryName(query)}`, numbers.vector("entering", query));
    if (header.kind === "self" && key !== null && key !== query) {
      figures.strip(`x, ${inside.keyName(key)}`, numbers.vector("entering", key));
    }
    if (!header.switches.positions) compareMaps(figures, inside, "positions", "position codes");
  },

  norm(figures, { numbers, query }) {
    const before = numbers.vector("entering", query);
    const after = numbers.vector("norm_before", query);
    figures.strip("before", before, { note: centreAndSpread(before) });
    figures.strip("after", after, { note: centreAndSpread(after) });
    const { kind, eps } = numbers.norms.norm_before;
    const own = numbers.normed("norm_before", before);
    figures.text(
      `${kind} by its formula, ε = ${eps}, differs from the model's own by `,
      `${tiny(largestDifference(own, after))} at most.`,
    );
  },

  norm_after(figures, { numbers, query }) {
    const before = numbers.residual(query);
    const after = numbers.afterAttention(query);
    figures.strip("before", before, { note: centreAndSpread(before) });
    figures.strip("after", after, { note: centreAndSpread(after) });
  },

  qkv(figures, inside) {
    const { numbers, view, query } = inside;
    const place = inside.keyPlace;
    figures.strip(`q, ${inside.queryName(query)}`, numbers.query(view.head, query));
    if (place === null) return elsewhere(figures);
    const key = inside.keyName(inside.key);
    figures.strip(`k, ${key}`, numbers.key(view.head, query, place));
    const value = numbers.value(view.head, query, place);
    if (value) figures.strip(`v, ${key}`, value);
  },

  products(figures, inside) {
    const { numbers, view, query } = inside;
    const place = inside.keyPlace;
    if (place === null) return elsewhere(figures);
    const products = numbers.products(view.head, query, place);
    const up = products.reduce((sum, p) => sum + Math.max(0, p), 0);
    const down = products.reduce((sum, p) => sum + Math.min(0, p), 0);
    figures.strip("q", numbers.query(view.head, query));
    figures.strip("k", numbers.key(view.head, query, place));
    figures.bars("q × k", products);
    figures.sum(`${signed(up)} ${signed(down, true)} = `, signed(up + down), "q · k");
  },

  scale(figures, inside) {
    const { numbers, view, query, header, switches } = inside;
    const place = inside.keyPlace;
    const sums = numbers.sums(view.head, query);
    if (place !== null) {
      const scaled = sums[place] * header.scale;
      figures.sum(`${signed(sums[place])} ÷ ${header.divisor} = `, signed(scaled), "score");
    }
    figures.heading(`The scores of all ${numbers.keys} keys`);
    figures.text(`An even share has the entropy ${evenEntropy(numbers.keys)}.`);
    const [low, high] = rangeOf(sums);
    figures.histograms(
      [
        scoreSeries("q · k as it is", [sums], 1, low, high, true),
        scoreSeries(`÷ ${header.divisor}`, [sums], header.scale, low, high),
      ],
      low,
      high,
    );
    figures.heading(`The same with random vectors, ${DRAWS} draws`);
    figures.histograms(...randomHistograms(switches.width, numbers.keys));
    figures.text(
      `Numbers drawn from a bell curve of spread 1: the sum of ${switches.width} products spreads `,
      `by about √${switches.width} = ${switches.width ** 0.5 < 10 ? (switches.width ** 0.5).toFixed(2) : (switches.width ** 0.5).toFixed(1)}.`,
    );
  },

  mask(figures, inside) {
    const { numbers, view, query, header } = inside;
    const bias = numbers.bias(view.head, query);
    const scores = numbers.scores(view.head, query, { mask: false });
    if (header.queryWords && header.keyWords) {
      const rows = header.queryWords.map((_, word) => numbers.weights(view.head, word));
      figures.triangle(rows, header.queryWords, query, !numbers.off.mask);
    }
    const shown = header.keyWords ? [...scores.keys()] : largestPlaces(bias, LARGEST);
    const off = numbers.off.mask;
    figures.table(
      ["key", "score", off ? "not added" : "added", "sum"],
      shown.map((place) => [
        inside.keyNameAt(place),
        signed(scores[place]),
        signed(bias[place]),
        signed(scores[place] + (off ? 0 : bias[place])),
      ]),
    );
  },

  softmax(figures, inside) {
    const { numbers, view, query } = inside;
    const weights = numbers.weights(view.head, query);
    showShare(figures, inside, weights);
    showLargest(figures, inside, weights, LARGEST);
    figures.text(
      `All ${weights.length} weights sum to ${percent(weights.reduce((a, b) => a + b, 0))}. `,
      `Entropy ${inNats(weights)}, of at most ${evenEntropy(weights.length)} where all keys get the `,
      "same.",
    );
  },

  values(figures, inside) {
    const { numbers, view, query } = inside;
    const weights = numbers.weights(view.head, query);
    const largest = largestPlaces(weights, 5);
    const times = (place) =>
      Float64Array.from(numbers.value(view.head, query, place), (v) => v * weights[place]);
    const terms = largest.map(times);
    const mixed = numbers.mixed(view.head, query, weights);
    const rest = mixed.map((sum, i) => sum - terms.reduce((all, term) => all + term[i], 0));
    const top = Math.max(...terms.map(largestSize), largestSize(rest), largestSize(mixed));
    for (const [i, place] of largest.entries()) {
      figures.strip(`${percent(weights[place])} × v`, terms[i], {
        top,
        note: inside.keyNameAt(place),
      });
    }
    const others = weights.length - largest.length;
    if (others > 0) figures.strip("the rest", rest, { top, note: `${others} keys` });
    figures.strip("sum", mixed, {
      top,
      note: `head ${view.head + 1}'s output`,
      className: "total",
    });
  },

  heads(figures, inside) {
    const { numbers, query, view } = inside;
    const side = numbers.sideBySide(query);
    const { heads, valueWidth } = numbers;
    figures.strip(`${heads} heads`, side, { marks: heads, note: `${side.length} numbers` });
    if (inside.header.keysOnPhoto) {
      figures.heading(`Each head's map, from ${inside.queryName(query)}`);
      const choose = (head) => inside.change({ head });
      figures.gallery(heads, view.head, choose, (canvas, head) =>
        inside.photoView.drawHead(canvas, head),
      );
    } else {
      figures.heading("How long each head's part is");
      headRows(figures, inside, headLengths(side, heads, valueWidth), view.head);
    }
    if (numbers.canProject) showAway(figures, inside, "heads", "With one merged map");
  },

  output(figures, inside) {
    const { numbers, query, view } = inside;
    const side = numbers.sideBySide(query);
    const output = numbers.project(side);
    figures.strip("heads", side, { marks: numbers.heads });
    figures.strip(numbers.off.output ? "unchanged" : "output", output, { className: "total" });
    if (!numbers.off.output) {
      figures.heading("What each head adds through its columns of the projection");
      headRows(figures, inside, numbers.contributions(side), view.head);
    }
    agreement(figures, inside, output, numbers.recorded(query), "the attention's own output");
    showAway(figures, inside, "output", "Without the projection");
  },

  residual(figures, { numbers, query, header }) {
    const entering = numbers.vector("entering", query);
    const added = numbers.added(query);
    const sum = numbers.residual(query);
    const top = Math.max(largestSize(entering), largestSize(sum));
    figures.strip("token", entering, { top, note: `length ${lengthOf(entering).toFixed(2)}` });
    figures.strip("+ attention", added, { top, note: `length ${lengthOf(added).toFixed(2)}` });
    figures.strip("sum", sum, {
      top,
      note: `length ${lengthOf(sum).toFixed(2)}`,
      className: "total",
    });
    const share = lengthOf(added) / lengthOf(entering);
    figures.text(
      `The attention adds a vector ${percent(share)} as long as the token itself.`,
      header.kind === "self" && header.keysOnPhoto ? aboutRollout(share) : "",
    );
  },

  mlp(figures, { numbers, query, header }) {
    const hidden = numbers.vector("hidden", query, header.hiddenWidth);
    const added = numbers.vector("mlp_added", query);
    if (numbers.arrays.norm_mlp) {
      figures.strip("after LayerNorm", numbers.vector("norm_mlp", query));
    }
    figures.strip("hidden", hidden, { note: `${hidden.length} numbers` });
    figures.strip("MLP adds", added, {
      note: `length ${lengthOf(added).toFixed(2)}`,
      className: "total",
    });
    const above = hidden.reduce((count, value) => count + (value > 0.01), 0);
    figures.text(`${above} of the ${hidden.length} hidden numbers lie above 0.01.`);
    if (numbers.changed) figures.text("The MLP's numbers are the model's own, for its own input.");
  },

  other() {}, // its sentences say all

  leaving(figures, inside) {
    const { numbers, query } = inside;
    const entering = numbers.vector("entering", query);
    const leaving = numbers.leaving(query);
    const own = numbers.vector("leaving", query);
    const top = Math.max(largestSize(entering), largestSize(leaving));
    figures.strip("it came as", entering, { top });
    figures.strip("it leaves as", leaving, { top, className: "total" });
    const moved = distance(leaving, entering) / lengthOf(entering);
    figures.text(`The block has moved the token by ${percent(moved)} of its length.`);
    agreement(figures, inside, leaving, own, "the block's own output");
  },
};

// What rollout's half means for a token to which attention adds a vector so long, in its own lengths.
export function aboutRollout(share) {
  const part = share / (1 + share);
  const rollout = part < 0.4 ? "overrates" : part > 0.6 ? "underrates" : "is about right for";
  return ` By these lengths ${percent(part)} of the sum comes from attention. Rollout counts 50 % in every layer, so here it ${rollout} what was attended to.`;
}

let keptHistograms = { of: "", arguments: [] }; // the last, as a look at another key asks for it again

function randomHistograms(width, keys) {
  const of = `${width} ${keys}`;
  if (keptHistograms.of !== of) {
    const draws = randomScores(width, keys);
    const [low, high] = rangeOf(draws.flatMap(rangeOf));
    const undivided = scoreSeries("q · k as it is", draws, 1, low, high, true);
    const divided = scoreSeries(`÷ √${width}`, draws, width ** -0.5, low, high);
    keptHistograms = { of, arguments: [[undivided, divided], low, high] };
  }
  return keptHistograms.arguments;
}

// Scores of one draw or of many: all in one histogram, and the mean of each draw's largest weight.
function scoreSeries(name, draws, factor, low, high, faint = false) {
  const scores = draws.map((sums) => sums.map((sum) => sum * factor));
  const weights = scores.map(softmax);
  const largest = mean(weights.map((row) => row[largestPlaces(row, 1)[0]]));
  const all = scores.flatMap((row) => [...row]);
  const means = draws.length > 1 ? "mean of the " : "";
  return {
    name,
    faint,
    counts: histogram(all, low, high, BINS),
    note: `spread ${spread(all).toFixed(2)} · ${means}largest weight ${percent(largest)} · ${means}entropy ${mean(weights.map(entropy)).toFixed(2)} nats`,
  };
}

// From the smallest to the largest, with zero inside.
function rangeOf(values) {
  const low = values.reduce((a, b) => Math.min(a, b), 0);
  const high = values.reduce((a, b) => Math.max(a, b), 0);
  return low === high ? [low - 1, high + 1] : [low, high];
}

function showLargest(figures, inside, weights, count) {
  const places = largestPlaces(weights, count);
  const rows = places.map((place) => ({
    name: inside.keyNameAt(place),
    share: weights[place],
    now: place === inside.keyPlace,
    act: () => inside.chooseKeyAt(place),
  }));
  const others = weights.length - places.length;
  if (others > 0) {
    const rest = weights.reduce((a, b) => a + b, 0) - rows.reduce((sum, row) => sum + row.share, 0);
    rows.push({ name: `the other ${others}`, note: percent(Math.max(0, rest)) });
  }
  figures.shares(rows, weights[places[0]]);
}

// The chosen key's weight by the formula, from its score; not where maps are merged or come finished.
function showShare(figures, inside, weights) {
  const { numbers, view, query } = inside;
  const place = inside.keyPlace;
  if (place === null || numbers.off.heads || !numbers.arrays.query) return;
  const scores = numbers.scores(view.head, query);
  const all = scores.reduce((sum, score) => sum + Math.exp(score), 0);
  const [own, total] = [Math.exp(scores[place]), all].map((e) => e.toFixed(e < 1000 ? 2 : 0));
  figures.sum(
    `exp(${signed(scores[place])}) ÷ sum of all = ${own} ÷ ${total} = `,
    percent(weights[place]),
    inside.keyNameAt(place),
  );
}

// The row of the map as it is, and with one thing taken away.
function compareMaps(figures, inside, name, what) {
  const { numbers, view, query } = inside;
  if (!numbers.arrays.query) return;
  const was = numbers.off[name];
  const rows = [false, true].map((off) => {
    numbers.off[name] = off;
    return numbers.ownWeights(view.head, query);
  });
  numbers.off[name] = was;
  const overlap = rows[0].reduce((sum, weight, j) => sum + Math.min(weight, rows[1][j]), 0);
  figures.text(
    `This head's map, from ${inside.queryName(query)}: with and without ${what} it shares `,
    `${percent(overlap)} of its weight. Entropy ${inNats(rows[0])} with, ${inNats(rows[1])} without; `,
    `an even share has ${evenEntropy(rows[0].length)}.`,
  );
}

function inNats(weights) {
  return `${entropy(weights).toFixed(2)} nats`;
}

// The entropy of equal weights on all keys.
function evenEntropy(keys) {
  return `ln ${keys} = ${Math.log(keys).toFixed(2)} nats`;
}

function headLengths(side, heads, width) {
  return Array.from({ length: heads }, (_, h) =>
    lengthOf(side.subarray(h * width, (h + 1) * width)),
  );
}

function headRows(figures, inside, lengths, now) {
  const rows = lengths.map((length, head) => ({
    name: `head ${head + 1}`,
    share: length,
    note: length.toFixed(2),
    now: head === now,
    act: () => inside.change({ head }),
  }));
  figures.shares(rows, Math.max(...lengths));
}

// How far the output lies from the model's own with one thing taken away.
function showAway(figures, inside, name, what) {
  const { numbers, query } = inside;
  const was = numbers.off[name];
  const own = numbers.recorded(query);
  numbers.off[name] = true;
  const away = numbers.project(numbers.sideBySide(query));
  numbers.off[name] = was;
  if (away.length !== own.length) return;
  const share = distance(away, own) / lengthOf(own);
  figures.text(
    `${what}, the output lies ${percent(share)} of its length away from the model's own.`,
  );
}

function agreement(figures, { numbers }, computed, own, what) {
  const difference = tiny(largestDifference(computed, own));
  figures.verdict(
    numbers.changed
      ? `With what is switched off, this differs from ${what} by up to ${difference}.`
      : `Added up here from the steps before, it differs from ${what} by ${difference} at most.`,
    numbers.changed,
  );
}

function elsewhere(figures) {
  figures.text(
    "The chosen key lies in another window, and a token attends to its own window alone. Choose a key that is nearer.",
  );
}

function centreAndSpread(values) {
  return `mean ${signed(mean(values))}, spread ${spread(values).toFixed(2)}`;
}

const UP = {
  "-": "⁻",
  0: "⁰",
  1: "¹",
  2: "²",
  3: "³",
  4: "⁴",
  5: "⁵",
  6: "⁶",
  7: "⁷",
  8: "⁸",
  9: "⁹",
};

// A small number as 3 · 10⁻⁷.
export function tiny(value) {
  if (value === 0 || value >= 0.01) return value === 0 ? "0" : value.toFixed(2);
  const [digits, power] = value.toExponential(0).split("e");
  return `${digits} · 10${Array.from(String(Number(power)), (letter) => UP[letter]).join("")}`;
}

// Two decimals with a true minus sign; minus infinity written out.
export function signed(value, always = false) {
  if (value === Number.NEGATIVE_INFINITY) return "−∞";
  const text = Math.abs(value).toFixed(2);
  if (value < 0 && text !== "0.00") return `${always ? "− " : "−"}${text}`;
  return always ? `+ ${text}` : text;
}
