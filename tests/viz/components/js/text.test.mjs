// Numbers and names as the pages write them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ranksOf, valueAndRank } from "../../../../viz/components/row/ranks.js";
import {
  capital,
  decimals,
  headName,
  percent,
  prefixName,
  short,
} from "../../../../viz/components/shared/text.js";

test("percentages keep one decimal, small ones two", () => {
  assert.equal(percent(0.5), "50.0 %");
  assert.equal(percent(0.00995), "1.0 %");
  assert.equal(percent(0.0099), "0.99 %");
  assert.equal(percent(0), "0.00 %");
});

test("decimals have a true minus sign, and a zero has none", () => {
  assert.equal(decimals(-1.234), "−1.23");
  assert.equal(decimals(-0.001), "0.00");
  assert.equal(decimals(2), "2.00");
});

test("short numbers fit beside a scale", () => {
  assert.equal(short(123.4), "123");
  assert.equal(short(1.234), "1.23");
  assert.equal(short(-0.001), "-1.0e-3");
  assert.equal(short(0), "0.00");
});

test("heads and tokens have names", () => {
  assert.equal(headName(0), "head 1");
  assert.equal(headName("mean"), "mean");
  assert.equal(prefixName("cls"), "CLS");
  assert.equal(prefixName("reg2"), "register 2");
  assert.equal(capital("row 1"), "Row 1");
  assert.equal(capital(""), "");
});

test("equal values share the best rank", () => {
  assert.deepEqual(ranksOf(Float32Array.of(1, 3, 3, 0)), [3, 1, 1, 4]);
  assert.equal(valueAndRank(0.5, 2), "50.0 % of peak, rank 2");
  assert.equal(valueAndRank(0, 4), "zero here");
});
