// Where the value of a patch stands among all patches of its map.

import { percent } from "../shared/text.js";

// 1 for the largest value; equal values share the best rank among them.
export function ranksOf(values) {
  const order = [...values.keys()].sort((a, b) => values[b] - values[a]);
  const ranks = new Array(values.length);
  order.forEach((patch, i) => {
    const before = order[i - 1];
    ranks[patch] = i && values[before] === values[patch] ? ranks[before] : i + 1;
  });
  return ranks;
}

export function valueAndRank(value, rank) {
  return value > 0 ? `${percent(value)} of peak, rank ${rank}` : "zero here";
}
