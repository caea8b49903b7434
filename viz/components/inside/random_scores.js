// Scores of random queries and keys, many draws for each width, so that no single one misleads.

import { normals } from "./statistics.js";

export const DRAWS = 200;

// For each draw the products of one query of `width` standard normal numbers with `keys` keys. Such
// a product, summed, is itself normal with the query's length as its spread, and is drawn as that.
// A wider query begins with the numbers of a narrower one, and the keys' share of chance is the
// same for every width: so a draw's largest weight can only grow with the width.
export function randomScores(width, keys) {
  return Array.from({ length: DRAWS }, (_, draw) => oneDraw(width, keys, draw));
}

function oneDraw(width, keys, draw) {
  const ofQuery = normals(2 * draw + 1);
  let squares = 0;
  for (let i = 0; i < width; i++) squares += ofQuery() ** 2;
  const length = Math.sqrt(squares);
  const ofKeys = normals(2 * draw + 2);
  return Float64Array.from({ length: keys }, () => length * ofKeys());
}
