// What the browser reads is what Python packed, and damaged bytes are refused with a sentence.

import assert from "node:assert/strict";
import { test } from "node:test";
import { unpack } from "../../../../viz/components/shared/payload.js";
import { goldenFile, skipWithoutGolden } from "./golden.mjs";

function blobOf(header, body = []) {
  let text = typeof header === "string" ? header : JSON.stringify(header);
  while (text.length % 4) text += " ";
  const head = new TextEncoder().encode(text);
  const bytes = new Uint8Array(4 + head.length + body.length);
  new DataView(bytes.buffer).setUint32(0, head.length, true);
  bytes.set(head, 4);
  bytes.set(body, 4 + head.length);
  return bytes;
}

const ONE = { name: "a", type: "uint8", shape: [4], offset: 0 };
const TWO = { name: "b", type: "float32", shape: [1], offset: 4 };
const GOOD = blobOf({ text: "é", arrays: [ONE, TWO] }, [1, 2, 3, 4, 0, 0, 128, 63]);

test("a payload is read", () => {
  const { header, arrays } = unpack(GOOD);
  assert.equal(header.text, "é");
  assert.deepEqual(arrays.a, Uint8Array.of(1, 2, 3, 4));
  assert.deepEqual(arrays.b, Float32Array.of(1));
});

test("a payload may lie anywhere in its buffer", () => {
  const wide = new Uint8Array(GOOD.length + 5);
  wide.set(GOOD, 3);
  const { arrays } = unpack(wide.subarray(3, 3 + GOOD.length));
  assert.deepEqual(arrays.b, Float32Array.of(1));
});

test("every type arrives as Python packed it", skipWithoutGolden, () => {
  const { header, arrays } = unpack(goldenFile("types.bin"));
  for (const [name, values] of Object.entries(header.expected)) {
    const numbers = values.map((value) => (typeof value === "string" ? Number(value) : value));
    assert.deepEqual([...arrays[name]], numbers, name);
  }
});

test("a payload that was cut off anywhere is refused", () => {
  for (let length = 0; length < GOOD.length; length++) {
    assert.throws(() => unpack(GOOD.subarray(0, length)), /sent is damaged: .+\./, `${length}`);
  }
});

const entry = (changes) => blobOf({ arrays: [{ ...ONE, ...changes }] }, [1, 2, 3, 4]);
const DAMAGED = {
  "a header longer than the blob": [Uint8Array.of(255, 255, 255, 255, 1), "header is cut off"],
  "a header that is no JSON": [blobOf("{{{{"), "header is no JSON"],
  "a header that is no UTF-8": [Uint8Array.of(1, 0, 0, 0, 0xff), "header is no JSON"],
  "a header without a list of arrays": [blobOf({}), "header lists no arrays"],
  "a header that is null": [blobOf("null"), "header lists no arrays"],
  "an offset that is too large": [entry({ offset: 4 }), "“a” does not begin where"],
  "an offset that is negative": [entry({ offset: -4 }), "“a” does not begin where"],
  "an offset that is text": [entry({ offset: "0" }), "“a” does not begin where"],
  "an offset that overlaps": [
    blobOf({ arrays: [ONE, { ...TWO, offset: 0 }] }, [1, 2, 3, 4, 5, 6, 7, 8]),
    "“b” does not begin where",
  ],
  "more values than bytes": [entry({ shape: [5] }), "“a” is cut off"],
  "a negative shape": [entry({ shape: [-4] }), "“a” has no valid shape"],
  "a shape that is no list": [entry({ shape: 4 }), "“a” has no valid shape"],
  "an unknown type": [entry({ type: "float64" }), "“a” is of the unknown type float64"],
  "a type that objects inherit": [entry({ type: "toString" }), "of the unknown type toString"],
};

for (const [what, [bytes, reason]] of Object.entries(DAMAGED)) {
  test(`${what} is refused`, () => {
    assert.throws(() => unpack(bytes), { message: new RegExp(`sent is damaged: .*${reason}`) });
  });
}
