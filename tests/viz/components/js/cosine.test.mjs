// Cosines as the browser computes them, against the sum written out.

import assert from "node:assert/strict";
import { test } from "node:test";
import { cosines, mostAlike, unitVectors } from "../../../../viz/components/shared/cosine.js";

const vectors = Float32Array.from([1, 2, 3, 4, 5, -1, 0, 2, 1, 1, 0, 0, 0, 0, 0]); // three of five

function cosine(a, b) {
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < 5; i++) {
    ab += vectors[5 * a + i] * vectors[5 * b + i];
    aa += vectors[5 * a + i] ** 2;
    bb += vectors[5 * b + i] ** 2;
  }
  return aa && bb ? ab / Math.sqrt(aa * bb) : 0;
}

test("cosines of one vector with the others, and none with a vector of zeros", () => {
  const units = unitVectors(vectors, 3);
  const found = cosines(units.subarray(0, 5), units, 0, new Float32Array(3));
  for (const other of [0, 1, 2]) assert.ok(Math.abs(found[other] - cosine(0, other)) < 1e-6);
  const rest = cosines(units.subarray(5, 10), units, 1, new Float32Array(2));
  assert.ok(Math.abs(rest[0] - 1) < 1e-6 && rest[1] === 0);
});

test("the most alike is another one", () => {
  assert.equal(mostAlike([0.2, 1, 0.7], 1), 2);
  assert.equal(mostAlike([0.2, 1, 0.7]), 1);
  assert.equal(mostAlike([1], 0), -1);
});
