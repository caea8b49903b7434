import assert from "node:assert/strict";
import test from "node:test";
import { aboutMask } from "../../../../viz/components/captions/sentences.js";

test("the mask is explained with the chosen word as the example", () => {
  const words = ["a", "dog", "runs"];
  assert.match(
    aboutMask(words, 0),
    /“a”, word 1 of 3, the decoder sees the start alone; the mask hides the word itself and the 2 after it/,
  );
  assert.match(
    aboutMask(words, 2),
    /word 3 of 3, the decoder sees 3 tokens: the start and the 2 before it/,
  );
  assert.match(aboutMask(words, 2), /hides the word itself\.$/);
});
