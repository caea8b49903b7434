// Every head's map, computed in the browser from all layers, equals Python's.

import assert from "node:assert/strict";
import { test } from "node:test";
import { unpack } from "../../../../viz/components/shared/payload.js";
import { SheetMaps } from "../../../../viz/components/sheet/maps.js";
import { goldenFile, goldenNames, skipWithoutGolden } from "./golden.mjs";

function assertClose(actual, expected, what) {
  assert.equal(actual.length, expected.length, what);
  for (const [i, value] of expected.entries()) {
    assert.ok(Math.abs(actual[i] - value) < 1e-6, `${what} ${i}: ${actual[i]}, not ${value}`);
  }
}

test("there are sheets to compare", skipWithoutGolden, () => {
  assert.equal(goldenNames("sheet-", ".bin").length, 6);
});

for (const name of goldenNames("sheet-", ".bin")) {
  test(`maps and shares of ${name}`, () => {
    const { header, arrays } = unpack(goldenFile(name));
    const layers = header.layers.map(([heads, rows, columns], i) => {
      const tokens = header.prefix.length + rows * columns;
      return { kind: "maps", maps: arrays[`maps${i}`], heads, tokens };
    });
    const maps = SheetMaps.fromLayers(header, header.view, layers);
    assert.deepEqual(maps.grid, header.grid);
    assertClose(maps.values, arrays.maps, "map");
    const shares = maps.shares.flatMap((values) => [...values]);
    assertClose(shares, arrays.shares, "share");
    const sent = SheetMaps.fromServer(header, {
      values: new Uint8Array(maps.values.length),
      maxima: maps.maxima,
      shares: arrays.shares,
      grid: header.grid,
    });
    assert.deepEqual([sent.columns, sent.patches], [maps.columns, maps.patches]);
    for (const [i, values] of sent.shares.entries()) assertClose(values, maps.shares[i], "share");
  });
}
