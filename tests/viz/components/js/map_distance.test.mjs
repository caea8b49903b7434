// How far apart two maps are, against closed forms.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  commonPart,
  divergence,
  isInside,
  patchThere,
  placeOf,
  rankCorrelation,
  sharesOn,
} from "../../../../viz/components/shared/map_distance.js";

const entropy = (p) => -p * Math.log(p) - (1 - p) * Math.log(1 - p);

function near(found, wanted) {
  assert.ok(Math.abs(found - wanted) < 1e-12, `${found} is not ${wanted}`);
}

test("the divergence of two maps on two patches is what their entropies say", () => {
  const [p, q] = [0.9, 0.3];
  const wanted = entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2;
  near(divergence([p, 1 - p], [q, 1 - q]), wanted);
  assert.equal(divergence([p, 1 - p], [p, 1 - p]), 0);
  near(divergence([1, 0], [0, 1]), Math.LN2);
});

test("the rank correlation of distinct values is one less their squared distances", () => {
  const [p, q] = [Float64Array.from([3, 1, 4, 2]), Float64Array.from([10, 30, 40, 20])];
  const apart = (2 - 0) ** 2 + (0 - 2) ** 2; // ranks 2 0 3 1 and 0 2 3 1
  near(rankCorrelation(p, q), 1 - (6 * apart) / (4 * (4 ** 2 - 1)));
  near(rankCorrelation(p, p), 1);
});

test("equal values share a rank, and a flat map has no order", () => {
  // ranks 0.5 0.5 2 and 0 1 2: less their mean, -0.5 -0.5 1 and -1 0 1
  const found = rankCorrelation(Float64Array.from([1, 1, 2]), Float64Array.from([1, 2, 3]));
  near(found, 1.5 / Math.sqrt(1.5 * 2));
  assert.ok(Number.isNaN(rankCorrelation(Float64Array.from([1, 1]), Float64Array.from([1, 2]))));
});

const WHOLE = [0, 0, 1, 1];

test("a coarse map and the same map on a finer grid share everything", () => {
  const [coarse, fine] = [
    { grid: [1, 2], box: WHOLE },
    { grid: [2, 6], box: WHOLE },
  ];
  const part = commonPart(coarse, fine);
  assert.deepEqual(part, fine);
  const a = sharesOn(part, [1, 3], coarse);
  const b = sharesOn(part, [1, 1, 1, 3, 3, 3, 1, 1, 1, 3, 3, 3], fine);
  a.forEach((share, i) => void near(share, b[i]));
  near(
    a.reduce((sum, share) => sum + share, 0),
    1,
  );
  assert.equal(sharesOn(part, [0, 0], coarse), null);
});

test("maps of different parts of a photo are compared where both lie", () => {
  const whole = { grid: [2, 6], box: WHOLE };
  const middle = { grid: [2, 2], box: [1 / 3, 0, 2 / 3, 1] };
  const part = commonPart(whole, middle);
  assert.deepEqual(part, middle);
  const shares = sharesOn(part, [9, 9, 1, 3, 9, 9, 9, 9, 0, 4, 9, 9], whole);
  assert.deepEqual([...shares], [1 / 8, 3 / 8, 0, 4 / 8]);
  assert.deepEqual(
    [0, 1, 2, 3].map((i) => patchThere(placeOf(i, middle), whole)),
    [2, 3, 8, 9],
  );
  assert.equal(isInside(placeOf(0, whole), middle.box), false);
  assert.equal(commonPart(middle, { grid: [1, 1], box: [0.7, 0, 1, 1] }), null);
});
