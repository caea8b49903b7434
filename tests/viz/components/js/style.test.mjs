// A draw style gives the same colours in the browser as in Python's own pictures.

import assert from "node:assert/strict";
import { test } from "node:test";
import { colorMapNames, opaquePalette, palette } from "../../../../viz/components/shared/colors.js";
import { unpack } from "../../../../viz/components/shared/payload.js";
import { goldenFile, goldenNames, skipWithoutGolden } from "./golden.mjs";

const tables = new TextDecoder().decode(
  goldenNames("color_tables", ".json").length ? goldenFile("color_tables.json") : new Uint8Array(),
);
globalThis.COLOR_TABLES = JSON.parse(tables || "{}");

// The four bytes of each step: red, green, blue, opacity.
const bytesOf = (words) => new Uint8Array(words.buffer);

for (const name of goldenNames("style-", ".bin")) {
  test(`the palette of ${name.slice(6, -4)} equals Python's`, () => {
    const { header, arrays } = unpack(goldenFile(name));
    assert.deepEqual(bytesOf(palette(header.style)), arrays.rgba);
  });
}

test("every colour map is there, and its scale is opaque", skipWithoutGolden, () => {
  assert.ok(colorMapNames().includes("viridis") && colorMapNames().length >= 5);
  for (const name of colorMapNames()) {
    assert.ok(bytesOf(opaquePalette(name)).every((byte, i) => i % 4 !== 3 || byte === 255));
  }
});

test("a palette is made once for each style", skipWithoutGolden, () => {
  const style = { colors: "magma", opacity: 0.5, gamma: 1 };
  assert.equal(palette(style), palette({ ...style, smooth: true }));
  assert.notEqual(palette(style), palette({ ...style, opacity: 0.6 }));
});

test("an unknown colour map is refused by name", () => {
  const style = { colors: "jet", opacity: 1, gamma: 1 };
  assert.throws(() => palette(style), /no colour map called jet/);
});
