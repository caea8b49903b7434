// What the browser computes of a head equals the formulas: see golden_inside.py for the truth.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  HeadNumbers,
  NOTHING_OFF,
  normalise,
  softmax,
} from "../../../../viz/components/inside/head_numbers.js";
import { largestDifference } from "../../../../viz/components/inside/statistics.js";
import { unpack } from "../../../../viz/components/shared/payload.js";
import { goldenFile, goldenNames, skipWithoutGolden } from "./golden.mjs";

const names = goldenNames("inside-", ".bin");
const CLOSE = 2e-6;

function open(name) {
  const { header, arrays } = unpack(goldenFile(name));
  return { header, arrays, numbers: new HeadNumbers(header, arrays) };
}

// Queries by token: in a windowed layer the places that pad a window are no token.
function queriesOf({ header, arrays }) {
  return arrays.slots ? [...arrays.slots.keys()] : [...Array(header.queries).keys()];
}

// Row of a truth (heads, windows, rows, keys) or (queries, width).
function rowOf(truth, { numbers, header }, head, query) {
  const { keys } = header;
  const place = numbers.slotOf(query);
  const start = (head * header.queries + place) * keys;
  return truth.subarray(start, start + keys);
}

function vectorOf(truth, { numbers, header }, query) {
  const width = truth.length / header.queries;
  return truth.subarray(numbers.slotOf(query) * width, (numbers.slotOf(query) + 1) * width);
}

function assertRows(layer, truth, off) {
  Object.assign(layer.numbers.off, NOTHING_OFF, off);
  for (const query of queriesOf(layer)) {
    for (let head = 0; head < layer.header.heads; head++) {
      const row = layer.numbers.weights(head, query);
      const gap = largestDifference(row, rowOf(truth, layer, head, query));
      assert.ok(gap < CLOSE, `query ${query}, head ${head}: ${gap}`);
    }
  }
}

function assertVectors(layer, truth, compute, tolerance = CLOSE) {
  for (const query of queriesOf(layer)) {
    const gap = largestDifference(compute(query), vectorOf(truth, layer, query));
    assert.ok(gap < tolerance, `query ${query}: ${gap}`);
  }
}

test("there are layers of every kind", skipWithoutGolden, () => {
  assert.ok(names.length >= 7);
});

for (const name of names) {
  const title = name.slice(7, -4);

  test(`maps of ${title}, as they are and with something off`, () => {
    const layer = open(name);
    assertRows(layer, layer.arrays.true_maps, {});
    assertRows(layer, layer.arrays.true_unscaled, { scale: true });
    assertRows(layer, layer.arrays.true_unmasked, { mask: true });
  });

  test(`heads and output of ${title}`, () => {
    const layer = open(name);
    const { numbers, arrays } = layer;
    assertVectors(layer, arrays.true_side, (query) => numbers.sideBySide(query));
    numbers.off.heads = true;
    assertVectors(layer, arrays.true_merged, (query) => numbers.sideBySide(query));
    if (!arrays.true_output) return;
    assertVectors(layer, arrays.true_merged_output, (query) => numbers.output(query), 1e-5);
    numbers.off.heads = false;
    assertVectors(layer, arrays.true_output, (query) => numbers.output(query), 1e-5);
    assertVectors(layer, arrays.true_output, (query) => numbers.recorded(query), 1e-5);
    assertVectors(layer, arrays.true_residual, (query) => numbers.residual(query), 1e-5);
    assertVectors(layer, arrays.true_leaving, (query) => numbers.leaving(query), 2e-5);
    numbers.off.output = true;
    assertVectors(layer, arrays.true_side, (query) => numbers.output(query));
  });

  test(`products and sums of ${title}`, () => {
    const { numbers } = open(name);
    const products = numbers.products(1, 2, 3);
    const sum = products.reduce((a, b) => a + b, 0);
    assert.ok(Math.abs(numbers.sums(1, 2)[3] - sum) < 1e-9);
    const score = numbers.scores(1, 2, { mask: false })[3];
    assert.ok(Math.abs(score - sum * numbers.scale) < 1e-9);
  });
}

test("heads add up to the output through their own columns", skipWithoutGolden, () => {
  const { numbers, arrays } = open("inside-norms before.bin");
  const side = numbers.sideBySide(0);
  const lengths = numbers.contributions(side);
  const { heads, valueWidth } = numbers;
  for (let head = 0; head < heads; head++) {
    const alone = side.map((v, i) => (Math.floor(i / valueWidth) === head ? v : 0));
    const term = numbers.project(alone).map((v, i) => v - arrays.out_bias[i]);
    assert.ok(Math.abs(Math.hypot(...term) - lengths[head]) < 1e-9);
  }
});

test("a key of another window is none", skipWithoutGolden, () => {
  const layer = open("inside-windows.bin");
  const { numbers } = layer;
  let padding = 0;
  for (const query of queriesOf(layer)) {
    const seen = [...Array(layer.header.keys).keys()].map((key) => numbers.tokenOfKey(query, key));
    assert.ok(seen.includes(query));
    for (const [key, token] of seen.entries()) {
      if (token >= 0) assert.equal(numbers.keyOfToken(query, token), key);
      else padding += 1;
    }
    const outside = queriesOf(layer).filter((token) => !seen.includes(token));
    assert.ok(outside.every((token) => numbers.keyOfToken(query, token) === null));
  }
  assert.ok(padding > 0);
});

test("a row that may look nowhere is zero", () => {
  const none = Number.NEGATIVE_INFINITY;
  assert.deepEqual([...softmax([none, none])], [0, 0]);
  assert.deepEqual([...softmax([0, none, 0])], [0.5, 0, 0.5]);
});

test("LayerNorm and RMSNorm by their formulas", () => {
  const layer = normalise([1, 3], { kind: "LayerNorm", eps: 0 }, [2, 2], [0, 1]);
  assert.deepEqual([...layer], [-2, 3]);
  const root = normalise([3, 4], { kind: "RMSNorm", eps: 0 });
  assert.ok(largestDifference(root, [3 / Math.sqrt(12.5), 4 / Math.sqrt(12.5)]) < 1e-12);
});
