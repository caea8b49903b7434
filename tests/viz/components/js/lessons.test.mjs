// Lessons: conditions on the address, marked text, and progress that stays in the browser.

import assert from "node:assert/strict";
import { test } from "node:test";

import { isMet } from "../../../../viz/components/lesson/conditions.js";
import { partsOf } from "../../../../viz/components/shared/inline_text.js";
import { LessonProgress } from "../../../../viz/components/shared/lesson_progress.js";

const params = (text) => new URLSearchParams(text);

test("a condition compares an entry with a value, or with what it was", () => {
  const [before, now] = [params("head=1&from=cls"), params("head=2&from=cls")];
  for (const [condition, met] of [
    ["head=2", true],
    ["head=1", false],
    ["head!=1", true],
    ["head changed", true],
    ["from changed", false],
    ["hidden changed", false],
    ["hidden=", true],
    ["head > 1", false],
  ]) {
    assert.equal(isMet(condition, now, before), met, condition);
  }
});

test("marks become elements, and other signs stay as they are", () => {
  assert.deepEqual(partsOf("a **b** and *c*, `d * e` <b>"), [
    [null, "a "],
    ["b", "b"],
    [null, " and "],
    ["i", "c"],
    [null, ", "],
    ["code", "d * e"],
    [null, " <b>"],
  ]);
  assert.deepEqual(partsOf("2 * 3 * 4"), [[null, "2 * 3 * 4"]]);
});

function storage(text = null) {
  return {
    text,
    getItem() {
      return this.text;
    },
    setItem(_, value) {
      this.text = value;
    },
  };
}

test("progress is the furthest place, survives a reload, and can be forgotten", () => {
  const kept = storage();
  const progress = new LessonProgress(kept);
  progress.reach("scale", 2, 4);
  progress.reach("scale", 1, 4);
  progress.answer("scale", 0, 1, true);
  progress.do("scale", 2);
  progress.do("scale", 2);
  const again = new LessonProgress(kept);
  const expected = { place: 2, ended: false, done: { 2: true }, answers: { 0: [1, true] } };
  assert.deepEqual(again.of("scale"), expected);
  assert.equal(again.count("scale"), 2);
  again.reach("scale", 4, 4);
  assert.equal(new LessonProgress(kept).of("scale").ended, true);
  again.reset();
  assert.equal(new LessonProgress(kept).of("scale").place, 0);
});

test("storage that is refused or spoilt costs the progress alone", () => {
  const refused = {
    getItem: () => {
      throw new Error("refused");
    },
    setItem: () => {
      throw new Error("refused");
    },
  };
  for (const where of [refused, storage("[1]"), storage("{"), undefined]) {
    const progress = new LessonProgress(where);
    progress.reach("scale", 1, 2);
    assert.equal(progress.of("scale").place, 1);
  }
});
