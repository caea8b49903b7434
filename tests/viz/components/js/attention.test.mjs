// Rows of attention in the browser equal Python's: see test_javascript.py for the truth.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  attentionRows,
  fusedRow,
  isEven,
  isSigned,
  peakOf,
  sumOf,
  timesAverage,
} from "../../../../viz/components/shared/attention.js";
import { unpack } from "../../../../viz/components/shared/payload.js";
import { goldenFile, goldenNames, skipWithoutGolden } from "./golden.mjs";

function assertClose(actual, expected, tolerance, what) {
  assert.equal(actual.length, expected.length, what);
  for (let i = 0; i < actual.length; i++) {
    const gap = Math.abs(actual[i] - expected[i]);
    if (!(gap <= tolerance)) {
      assert.fail(`${what}: value ${i} is ${actual[i]}, expected ${expected[i]}`);
    }
  }
}

function layerOf(name) {
  const { header, arrays } = unpack(goldenFile(name));
  return { ...header, ...arrays };
}

// `exact` is computed in float64 from the very numbers that were sent, (tokens, heads, tokens);
// `weights` are AttentionRecord's own, which float16 queries and keys reach less closely.
for (const name of goldenNames("attention-", ".bin")) {
  test(`rows of ${name.slice(10, -4)}`, () => {
    const layer = layerOf(name);
    const size = layer.heads * layer.tokens;
    for (let token = 0; token < layer.tokens; token++) {
      const rows = attentionRows(layer, token);
      const part = (values) => values.subarray(token * size, (token + 1) * size);
      assertClose(rows, part(layer.exact), 1e-6, `token ${token}`);
      assertClose(rows, part(layer.weights), layer.tolerance, `token ${token}, the record's own`);
    }
  });
}

test("there are payloads of both types", skipWithoutGolden, () => {
  assert.ok(goldenNames("attention-", "-float16.bin").length >= 8);
  assert.ok(goldenNames("attention-", "-float32.bin").length >= 6);
});

test("a token that may look nowhere gets zeros", skipWithoutGolden, () => {
  const layer = layerOf("attention-mask that hides all from one-float32.bin");
  assert.equal(sumOf(attentionRows(layer, layer.blind)), 0);
  assert.ok(Math.abs(sumOf(attentionRows(layer, 0)) - layer.heads) < 1e-5);
});

test("a causal mask leaves nothing to later tokens", skipWithoutGolden, () => {
  const layer = layerOf("attention-causal-float16.bin");
  for (let token = 0; token < layer.tokens; token++) {
    const row = attentionRows(layer, token).subarray(0, layer.tokens);
    assert.equal(sumOf(row.subarray(token + 1)), 0);
    assert.ok(Math.abs(sumOf(row) - 1) < 1e-5);
  }
});

test("nothing is seen beyond a token's window", skipWithoutGolden, () => {
  const layer = layerOf("attention-windows, shifted and padded-float16.bin");
  const window = (token) => Math.floor(layer.slots[token] / layer.area);
  for (let token = 0; token < layer.tokens; token++) {
    const row = attentionRows(layer, token).subarray(0, layer.tokens);
    for (let j = 0; j < row.length; j++) {
      if (window(j) !== window(token)) assert.equal(row[j], 0);
    }
  }
});

test("an unknown kind of layer is refused by name", () => {
  assert.throws(() => attentionRows({ kind: "linear" }, 0), /no kind of attention called linear/);
});

const ROWS = Float32Array.of(0.25, 0.75, 0.5, 0.5); // 2 heads, 2 tokens

test("heads are fused by mean, max and min", () => {
  assert.deepEqual([...fusedRow(ROWS, 2, 2, "mean")], [0.375, 0.625]);
  assert.deepEqual([...fusedRow(ROWS, 2, 2, "max")], [0.5, 0.75]);
  assert.deepEqual([...fusedRow(ROWS, 2, 2, "min")], [0.25, 0.5]);
});

test("one head's row is its own, and fusing changes none", () => {
  assert.deepEqual([...fusedRow(ROWS, 2, 2, 1)], [0.5, 0.5]);
  assert.deepEqual([...ROWS], [0.25, 0.75, 0.5, 0.5]);
});

test("a value is held against the mean of all", () => {
  assert.equal(timesAverage([0.1, 0.3, 0.2], 1), "1.5 times the average");
  assert.equal(timesAverage([1, 3], 0), "0.5 times the average", "whatever they sum to");
});

test("the peak is the first of the largest values", () => {
  assert.equal(peakOf([1, 3, 3]), 1);
  assert.equal(peakOf([2]), 0);
});

test("what counts as an even map", () => {
  const cases = [
    [[2, 2, 2, 2], true],
    [[10, 11, 12, 11], true],
    [[1, 1, 2, 1], false],
    [[0, 0], false],
  ];
  for (const [values, even] of cases) assert.equal(isEven(values), even, values.join());
});

test("a row with a weight below zero holds no shares of attention", () => {
  assert.equal(isSigned(Float32Array.of(0.5, -0.1, 0.6)), true);
  assert.equal(isSigned(Float32Array.of(0.5, 0, 0.5)), false);
});
