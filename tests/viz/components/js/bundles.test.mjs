// The scripts that the loader joins are modules whose default export mounts a component.

import assert from "node:assert/strict";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { goldenNames, goldenPath, skipWithoutGolden } from "./golden.mjs";

const names = goldenNames("bundle-", ".mjs");

test("there is one for each component", skipWithoutGolden, () => {
  assert.ok(names.length >= 6);
});

for (const name of names) {
  test(`${name.slice(7, -4)} is joined into one module`, async () => {
    const joined = await import(pathToFileURL(goldenPath(name)));
    assert.deepEqual(Object.keys(joined), ["default"]);
    assert.equal(typeof joined.default, "function");
  });
}
