// A caption's maps: rows of each layer and head, their mean, and whether a peak lies in a box.

import assert from "node:assert/strict";
import { test } from "node:test";
import { CaptionMaps } from "../../../../viz/components/captions/maps.js";

const HEADER = {
  words: ["a", "cat"],
  prefix: ["cls"],
  grid: [1, 2],
  layers: [1, 2], // heads
  boxes: [
    [0, 0, 0.5, 1],
    [0.5, 0, 1, 1],
  ],
  memoryOfOne: false,
};
const ARRAYS = {
  cross_0: Float32Array.of(0.2, 0.3, 0.5, 0.1, 0.8, 0.1),
  cross_1: Float32Array.of(0, 1, 0, 0, 0, 1, 0.5, 0, 0.5, 0.5, 0.5, 0),
  self_0: Float32Array.of(1, 0, 0, 0.5, 0.5, 0),
  self_1: new Float32Array(12),
};
const close = (values, expected) =>
  assert.deepEqual(
    [...values].map((value) => Number(value.toFixed(6))),
    expected,
  );

test("a row belongs to a layer, a head and a word", () => {
  const maps = new CaptionMaps(HEADER, ARRAYS);
  close(maps.row({ layer: 0, head: 0 }, 1), [0.1, 0.8, 0.1]);
  close(maps.row({ layer: 1, head: 1 }, 0), [0.5, 0, 0.5]);
  close(maps.patches({ layer: 1, head: 1 }, 1), [0.5, 0]);
  close(maps.ownRow({ layer: 0, head: 0 }, 1), [0.5, 0.5, 0]);
});

test("the mean is over the heads of its own layer", () => {
  const maps = new CaptionMaps(HEADER, ARRAYS);
  close(maps.row({ layer: 0, head: "mean" }, 1), [0.1, 0.8, 0.1]);
  close(maps.row({ layer: 1, head: "mean" }, 0), [0.25, 0.5, 0.25]);
  close(maps.row({ layer: 1, head: "mean" }, 0), [0.25, 0.5, 0.25]);
});

test("a peak lies in the box of an object, or not", () => {
  const maps = new CaptionMaps(HEADER, ARRAYS);
  assert.equal(maps.hits({ layer: 0, head: 0 }, 1, 0), true);
  assert.equal(maps.hits({ layer: 0, head: 0 }, 0, 0), false);
  assert.equal(maps.hits({ layer: 0, head: 0 }, 0, 1), true);
});

test("there is nothing to see without words, nor over a memory of one vector", () => {
  assert.equal(new CaptionMaps(HEADER, ARRAYS).shown, true);
  assert.equal(new CaptionMaps({ ...HEADER, words: [] }, ARRAYS).shown, false);
  assert.equal(new CaptionMaps({ ...HEADER, memoryOfOne: true }, ARRAYS).shown, false);
  assert.equal(new CaptionMaps(HEADER, { cross_0: ARRAYS.cross_0 }).hasOwn, false);
});
