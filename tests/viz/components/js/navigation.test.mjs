// Moving between patches, heads and layers whose grids and counts of heads differ.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  centreOf,
  nextPatch,
  patchAt,
  patchBox,
  placeName,
  samePatch,
} from "../../../../viz/components/shared/grid.js";
import {
  ARROWS,
  fitHead,
  isShortcut,
  nextHead,
  nextOf,
} from "../../../../viz/components/shared/navigation.js";

test("a patch has a name, a box and a middle", () => {
  assert.equal(placeName(7, [3, 5]), "row 2, column 3");
  assert.deepEqual(patchBox(7, [4, 5]), [0.4, 0.25, 0.6, 0.5]);
  assert.equal(centreOf([3, 5]), 7);
  assert.equal(centreOf([1, 1]), 0);
});

test("arrows move one patch, and stay at the edges", () => {
  const grid = [3, 5];
  assert.equal(nextPatch(7, ARROWS.ArrowLeft, grid), 6);
  assert.equal(nextPatch(7, ARROWS.ArrowRight, grid), 8);
  assert.equal(nextPatch(7, ARROWS.ArrowUp, grid), 2);
  assert.equal(nextPatch(7, ARROWS.ArrowDown, grid), 12);
  assert.equal(nextPatch(0, ARROWS.ArrowLeft, grid), 0);
  assert.equal(nextPatch(4, ARROWS.ArrowRight, grid), 4, "not on to the next row");
  assert.equal(nextPatch(14, ARROWS.ArrowDown, grid), 14);
});

test("the same place in a layer with another grid", () => {
  assert.equal(samePatch(0, [8, 8], [4, 4]), 0);
  assert.equal(samePatch(63, [8, 8], [4, 4]), 15);
  assert.equal(samePatch(9, [8, 8], [4, 4]), 0);
  assert.equal(samePatch(15, [4, 4], [16, 16]), 14 * 16 + 14);
  for (let patch = 0; patch < 15; patch++) {
    assert.equal(samePatch(patch, [3, 5], [3, 5]), patch);
    assert.equal(samePatch(patch, [3, 5], [1, 1]), 0);
  }
});

test("every place lies on the other grid, and a finer grid leads back", () => {
  for (const [coarse, fine] of [
    [
      [7, 7],
      [14, 14],
    ],
    [
      [3, 5],
      [12, 15],
    ],
  ]) {
    for (let patch = 0; patch < coarse[0] * coarse[1]; patch++) {
      const there = samePatch(patch, coarse, fine);
      assert.ok(there >= 0 && there < fine[0] * fine[1]);
      assert.equal(samePatch(there, fine, coarse), patch);
    }
  }
});

test("a head that the next layer lacks becomes its last", () => {
  assert.equal(fitHead(5, 3), 2);
  assert.equal(fitHead(1, 3), 1);
  assert.equal(fitHead("mean", 3), "mean");
});

test("heads and fusions are stepped through in a circle", () => {
  const order = [0, 1, 2, "mean", "max", "min"];
  assert.equal(nextOf(order, 2, 1), "mean");
  assert.equal(nextOf(order, "min", 1), 0);
  assert.equal(nextOf(order, 0, -1), "min");
});

test("on the sheet a step down goes to a head that is there", () => {
  const counts = [8, 2, 4];
  assert.deepEqual(nextHead([0, 7], ARROWS.ArrowDown, counts), [1, 1]);
  assert.deepEqual(nextHead([1, 1], ARROWS.ArrowDown, counts), [2, 1]);
  assert.deepEqual(nextHead([2, 1], ARROWS.ArrowDown, counts), [2, 1]);
  assert.deepEqual(nextHead([1, 1], ARROWS.ArrowRight, counts), [1, 1]);
  assert.deepEqual(nextHead([0, 0], ARROWS.ArrowLeft, counts), [0, 0]);
});

const BOX = { left: 10, top: 20, width: 100, height: 50 };
const node = { getBoundingClientRect: () => BOX };
const mouse = (x, y) => patchAt({ clientX: 10 + x, clientY: 20 + y }, node, [2, 4]);

test("the mouse is over a patch, or beside the photo", () => {
  assert.equal(mouse(0, 0), 0);
  assert.equal(mouse(99, 49), 7);
  assert.equal(mouse(30, 24), 1);
  assert.equal(mouse(-1, 10), null);
  assert.equal(mouse(100, 10), null);
  assert.equal(mouse(10, 50), null);
});

const NONE = { altKey: false, ctrlKey: false, metaKey: false };
const isTaken = (key, ...modifiers) =>
  isShortcut({ key, ...NONE, ...Object.fromEntries(modifiers.map((name) => [name, true])) });

test("brackets typed with Alt are ours, other shortcuts are the browser's", () => {
  assert.equal(isTaken("c"), false);
  assert.equal(isTaken("c", "ctrlKey"), true);
  assert.equal(isTaken("ArrowLeft", "altKey"), true);
  assert.equal(isTaken("]", "altKey"), false);
  assert.equal(isTaken("[", "altKey", "ctrlKey"), false);
  assert.equal(isTaken("]", "metaKey"), true);
});
