// The experiment that the components of What if share.

import assert from "node:assert/strict";
import { test } from "node:test";
import { rangesOf, sharedExperiment } from "../../../../viz/components/shared/experiment.js";

const HEADER = {
  session: "a",
  serial: 0,
  off: [[1, 2]],
  hidden: [4, 3, 9],
  hide: "blur",
  by: "mean",
  query: 7,
};

test("neighbours are written as ranges", () => {
  assert.deepEqual(rangesOf([3, 4, 5, 9]), ["3-5", "9"]);
  assert.deepEqual(rangesOf([]), []);
});

test("the question is written as the server reads it", () => {
  const experiment = sharedExperiment();
  experiment.take(HEADER);
  assert.equal(experiment.question, "7/2.3/mean/3-4,9/blur");
  experiment.change({ off: new Set(), hidden: new Set() });
  assert.equal(experiment.question, "7/-/mean/-/blur");
});

test("what Python sends late is left out, until a new session begins", () => {
  const experiment = sharedExperiment();
  experiment.take({ ...HEADER, session: "b" });
  const serial = experiment.change({ off: new Set(["0 0", "0 1"]) });
  experiment.take({ ...HEADER, session: "b" });
  assert.deepEqual(experiment.places, [
    [0, 0],
    [0, 1],
  ]);
  experiment.take({ ...HEADER, session: "b", serial, off: [[5, 5]] });
  assert.deepEqual(experiment.places, [[5, 5]]);
  experiment.change({});
  experiment.take({ ...HEADER, session: "c" });
  assert.equal(experiment.serial, 0);
});
