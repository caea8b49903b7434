// Answers: what came with the payload, or is asked for, once for all components.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { answersFor } from "../../../../viz/components/shared/answers.js";
import { fakeBrowser } from "./fake_page.mjs";

function packed(header) {
  const text = JSON.stringify({ ...header, arrays: [] });
  const bytes = new TextEncoder().encode(`....${text}`);
  new DataView(bytes.buffer).setUint32(0, bytes.length - 4, true);
  return bytes;
}

let asked;
beforeEach(() => {
  asked = [];
  fakeBrowser(async (blob) => ({ size: blob.size }));
  globalThis.document.baseURI = "http://here/heads?photo=cat";
  globalThis.fetch = async (url, { headers, ...more }) => {
    asked.push({ url: String(url), key: headers["X-Saccade-Key"], ...more });
    return { ok: true, arrayBuffer: async () => packed({ of: String(url) }).buffer };
  };
});

test("a part is asked for once, by all components", async () => {
  const one = answersFor({ source: "a1", key: "k" }, {});
  const other = answersFor({ source: "a1", key: "k" }, {});
  const parts = await Promise.all([one.part("layer/3"), other.part("layer/3")]);
  assert.equal(parts[0], parts[1]);
  assert.deepEqual(asked, [{ url: "http://here/look/a1/layer/3", key: "k" }]);
  assert.equal(other.here("layer/3"), parts[0]);
  assert.equal(other.here("layer/4"), undefined);
});

test("two sources have answers of their own, and a photo may be a source of its own", async () => {
  const one = answersFor({ source: "b1", photo: "p", key: "k" }, {});
  const other = answersFor({ source: "b2", photo: "p", key: "k" }, {});
  assert.notEqual(await one.part("layer/0"), await other.part("layer/0"));
  assert.equal(await one.photo(), await other.photo());
  const urls = asked.map(({ url }) => url);
  assert.deepEqual(urls.sort(), [
    "http://here/look/b1/layer/0",
    "http://here/look/b2/layer/0",
    "http://here/look/p/photo",
  ]);
});

test("what came with the payload is not asked for", async () => {
  const answers = answersFor({}, { photo: new Uint8Array(5), "layer/0": packed({ kind: "qk" }) });
  assert.equal((await answers.photo()).size, 5);
  assert.equal((await answers.part("layer/0")).kind, "qk");
  assert.deepEqual(asked, []);
});

test("another host gives its own way to ask", async () => {
  const ask = async (question) => packed({ question });
  const answers = answersFor({ source: "c1" }, {}, ask);
  assert.equal((await answers.part("rollout/mean/0.00/3")).question, "rollout/mean/0.00/3");
  assert.deepEqual(asked, []);
});

test("a message is handed over with the key", async () => {
  const answers = answersFor({ source: "d1", key: "k" }, {});
  await answers.ask("view", { scope: "explore" });
  const [{ url, method, body, key }] = asked;
  assert.equal(url, "http://here/look/view");
  assert.deepEqual([method, body, key], ["POST", '{"scope":"explore"}', "k"]);
});

test("what failed can be asked again", async () => {
  const good = globalThis.fetch;
  globalThis.fetch = async () => ({ ok: false, status: 503 });
  const answers = answersFor({ source: "e1", key: "k" }, {});
  await assert.rejects(answers.part("layer/0"), /let go/);
  globalThis.fetch = good;
  assert.ok(await answers.part("layer/0"));
});

test("few sources are kept, and few answers of each", async () => {
  const first = answersFor({ source: "f0", key: "k" }, {});
  await first.part("layer/0");
  for (let i = 1; i < 9; i++) answersFor({ source: `f${i}`, key: "k" }, {});
  assert.notEqual(answersFor({ source: "f0", key: "k" }, {}), first);
  for (let i = 0; i < 500; i++) await first.part(`rollout/mean/0.00/${i}`);
  assert.ok(first.kept.size <= 400 && first.done.size <= 400);
});
