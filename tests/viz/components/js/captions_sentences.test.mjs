import assert from "node:assert/strict";
import test from "node:test";
import { aboutMask } from "../../../../viz/components/captions/sentences.js";

test("the mask is explained with the chosen word as the example", () => {
  const words = ["a", "dog", "runs"];
  assert.match(
    aboutMask(words, 0),
    /“a”, word 1 of 3, the start asks, which sees itself alone\. The mask hides “a” and the 2 after it/,
  );
  assert.match(
    aboutMask(words, 2),
    /word 3 of 3, “dog” asks: the token before it, which sees itself and all before it, 3 tokens/,
  );
  assert.match(aboutMask(words, 2), /The mask hides “runs”: when it is chosen/);
});
