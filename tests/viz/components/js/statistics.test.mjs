// What a row of scores or weights is like, against values worked out by hand.

import assert from "node:assert/strict";
import { test } from "node:test";
import { signedColor } from "../../../../viz/components/inside/figures.js";
import { softmax } from "../../../../viz/components/inside/head_numbers.js";
import { aboutRollout, signed, tiny } from "../../../../viz/components/inside/panels.js";
import { DRAWS, randomScores } from "../../../../viz/components/inside/random_scores.js";
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
} from "../../../../viz/components/inside/statistics.js";

test("entropy is 0 where one gets all, and ln n where all get the same", () => {
  assert.equal(entropy([0, 1, 0]), 0);
  assert.ok(Math.abs(entropy(Array(8).fill(1 / 8)) - Math.log(8)) < 1e-12);
});

test("mean, spread, length, distance, largest", () => {
  assert.equal(mean([1, 2, 6]), 3);
  assert.equal(spread([2, 4]), 1);
  assert.equal(lengthOf([3, 4]), 5);
  assert.equal(distance([1, 1], [4, 5]), 5);
  assert.equal(largestDifference([1, 5], [2, 1]), 4);
  assert.equal(largestSize([1, -7, Number.NEGATIVE_INFINITY]), 7);
  assert.deepEqual(largestPlaces(Float64Array.of(0.1, 0.7, 0.2, 0.7), 3), [1, 3, 2]);
});

test("a histogram counts every value inside, its upper end too", () => {
  assert.deepEqual(histogram([0, 0.9, 1, 2.5, 4, -1, 5], 0, 4, 4), [2, 1, 1, 1]);
});

test("random scores spread by the root of d, and a wider head is surer in every draw", () => {
  let before = Array(DRAWS).fill(0);
  for (const width of [1, 2, 4, 32, 64, 1024]) {
    const draws = randomScores(width, 257);
    const ratio = spread(draws.flatMap((row) => [...row])) / Math.sqrt(width);
    assert.ok(ratio > 0.9 && ratio < 1.1, `${width}: ${ratio}`);
    const now = draws.map((row) => Math.max(...softmax(row)));
    assert.ok(now.every((largest, i) => largest > before[i] || largest > 1 - 1e-9));
    before = now;
  }
  const again = randomScores(8, 5);
  assert.deepEqual(randomScores(8, 5), again);
  assert.notDeepEqual(again[0], again[1]);
});

test("rollout's half is held against the length that attention adds", () => {
  assert.match(aboutRollout(0.25), / 20\.0 % of the sum .* overrates /);
  assert.match(aboutRollout(1), / 50\.0 % .* is about right for /);
  assert.match(aboutRollout(4), / 80\.0 % .* underrates /);
});

test("numbers as they are written", () => {
  assert.equal(signed(Number.NEGATIVE_INFINITY), "−∞");
  assert.equal(signed(-1.234), "−1.23");
  assert.equal(signed(-0.001), "0.00");
  assert.equal(signed(2, true), "+ 2.00");
  assert.equal(signed(-2, true), "− 2.00");
  assert.equal(tiny(3.2e-7), "3 · 10⁻⁷");
  assert.equal(tiny(0), "0");
  assert.equal(tiny(0.25), "0.25");
});

test("a number's colour has its sign and its size", () => {
  assert.match(signedColor(0, 1), /\/ 0\.000\)/);
  assert.match(signedColor(9, 1), /214 96 46 \/ 1\.000/);
  assert.match(signedColor(-1, 1), /58 118 196 \/ 1\.000/);
});
