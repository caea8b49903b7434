// The projector: what is remembered in the browser, and how much thicker marks are.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Projector } from "../../../../viz/components/shared/projector.js";

function storage() {
  const kept = new Map();
  return {
    getItem: (name) => kept.get(name) ?? null,
    setItem: (name, value) => kept.set(name, value),
    removeItem: (name) => kept.delete(name),
  };
}

test("what was chosen is remembered, by whoever comes next", () => {
  const kept = storage();
  const first = new Projector(() => kept);
  assert.equal(first.remembered, false);
  first.remember(true);
  assert.equal(new Projector(() => kept).remembered, true);
  first.remember(false);
  assert.equal(new Projector(() => kept).remembered, false);
});

test("a browser that refuses its storage goes on without it", () => {
  const refused = new Projector(() => {
    throw new Error("SecurityError");
  });
  refused.remember(true);
  assert.equal(refused.remembered, false);
});

test("elements and listeners follow, and an element gets its own colours back", () => {
  globalThis.document = { documentElement: { dataset: {} } };
  const shown = new Projector(storage);
  const node = { dataset: {} };
  shown.listeners.add(() => shown.mark(node));
  shown.show(true, "dark");
  assert.equal(node.dataset.projector, "dark");
  assert.equal(document.documentElement.dataset.projector, "dark");
  shown.show(false, "dark");
  assert.deepEqual([node.dataset, document.documentElement.dataset], [{}, {}]);
});
