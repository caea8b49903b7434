// Payloads and their truth, which tests/viz/components/test_javascript.py writes before it runs
// these tests. Without them, what needs them is skipped.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const FOLDER = process.env.SACCADE_GOLDEN;

export const skipWithoutGolden = {
  skip: FOLDER ? false : "its payloads are written by pytest: see test_javascript.py",
};

export function goldenPath(name) {
  return join(FOLDER, name);
}

export function goldenFile(name) {
  return new Uint8Array(readFileSync(goldenPath(name)));
}

export function goldenNames(start, end) {
  if (!FOLDER) return [];
  return readdirSync(FOLDER).filter((name) => name.startsWith(start) && name.endsWith(end));
}
