// A view is written into the address as Python writes it.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  CAPTION_NAMES,
  captionParams,
  VIEW_NAMES,
  viewParams,
} from "../../../../viz/components/shared/address.js";
import { goldenFile, skipWithoutGolden } from "./golden.mjs";

test("the parameters of views are Python's, in its order", skipWithoutGolden, () => {
  const written = JSON.parse(new TextDecoder().decode(goldenFile("addresses.json")));
  assert.ok(written.length > 8);
  for (const { view, header, params } of written) {
    const own = viewParams(view, header);
    assert.deepEqual(Object.entries(own), Object.entries(params));
    for (const name of Object.keys(own)) assert.ok(VIEW_NAMES.includes(name), name);
  }
});

test("the parameters of a caption count from one", () => {
  const params = captionParams({ layer: 1, head: "mean", word: 3, colors: "magma" });
  assert.deepEqual(params, { layer: "2", head: "mean", word: "4" });
  assert.deepEqual(Object.keys(params), CAPTION_NAMES);
});
