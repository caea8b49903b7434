// Texts that are written for a mouse, for a finger.

import assert from "node:assert/strict";
import { test } from "node:test";

import { forPointer } from "../../../../viz/components/shared/pointer.js";

test("a finger taps, and a mouse does what is written", () => {
  for (const [written, tapped] of [
    ["Point at a ", "Tap a "],
    [" of the photo, or tap it: the colours", " of the photo: the colours"],
    ["A click or tap holds a patch.", "A tap holds a patch."],
    ["Click or tap a patch to hide it, or drag.", "Tap a patch to hide it, or drag."],
    [
      "Move the mouse over a map. Click a map for its formula.",
      "Tap a map. Tap a map for its formula.",
    ],
    [
      "Let another patch ask: click on it in the photo.",
      "Let another patch ask: tap it in the photo.",
    ],
  ]) {
    assert.equal(forPointer(written, false), written);
    assert.equal(forPointer(written, true), tapped);
  }
});
