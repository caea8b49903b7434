// The history: a step for each choice, Back and Forward between views, and what Python is asked.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { pageHistory } from "../../../../viz/components/shared/history.js";
import { sharedView } from "../../../../viz/components/shared/shared_view.js";

const PLACE = Symbol.for("saccade");
let entries;
let at;
let onMove;
let asked;
let reported;

// A browser's history, as much as is needed.
beforeEach(() => {
  globalThis[PLACE] = new Map();
  entries = [{ state: null, address: "/" }];
  at = 0;
  asked = [];
  reported = [];
  Object.assign(globalThis, {
    addEventListener: (_, action) => {
      onMove = action;
    },
    document: { addEventListener() {} },
    history: {
      pushState: (state, _, address) => {
        entries = [...entries.slice(0, at + 1), { state, address }];
        at += 1;
      },
      replaceState: (state, _, address) => {
        entries[at] = { state, address };
      },
    },
  });
  globalThis.location = {
    get pathname() {
      return entries[at].address.split("?")[0];
    },
    get search() {
      return entries[at].address.slice(this.pathname.length);
    },
    hash: "",
  };
});

function move(by) {
  at += by;
  onMove({ state: entries[at].state });
}

const open = (query) => asked.push(query);
const take = (params, more = {}) =>
  pageHistory().take({ params, scope: "explore", session: "s", open, ...more });

function begin(view, revision = "s 0") {
  const shared = sharedView("explore");
  const write = ({ layer, held }) => ({ layer: String(layer), ...(held ? { held: "yes" } : {}) });
  const report = async (question, message) => reported.push([question, message]);
  shared.begin({ view, revision, names: ["layer", "held"], write, report });
  return shared;
}

const addresses = () => entries.map(({ address }) => address);

test("arriving makes no step, a choice makes one, and its defaults leave the address", async () => {
  const view = begin({ layer: 7, held: true });
  take({ photo: "cat", layer: "7", held: "yes" });
  assert.deepEqual(addresses(), ["/?photo=cat&layer=7&held=yes"]);
  view.change({ layer: 3, held: false }, 1);
  await wait(5);
  assert.deepEqual(addresses(), ["/?photo=cat&layer=7&held=yes", "/?photo=cat&layer=3"]);
  assert.equal(reported.length, 1);
  assert.deepEqual(reported[0][1].view, { layer: 3, held: false, revision: "s 0" });
});

test("changes that follow each other fast are one step", async () => {
  const view = begin({ layer: 7 });
  take({ layer: "7" });
  for (let layer = 1; layer < 6; layer++) view.change({ layer }, 5);
  await wait(15);
  assert.deepEqual(addresses(), ["/?layer=7", "/?layer=5"]);
  assert.equal(reported.length, 1);
});

test("Back and Forward restore the view here, and tell the server", async () => {
  const view = begin({ layer: 7 });
  take({ photo: "cat", layer: "7" });
  view.change({ layer: 3 }, 1);
  await wait(5);
  let drawn = 0;
  view.listeners.add(() => {
    drawn += 1;
  });
  move(-1);
  assert.equal(view.values.layer, 7);
  move(1);
  assert.equal(view.values.layer, 3);
  assert.equal(drawn, 2);
  assert.deepEqual(asked, []);
  assert.deepEqual(
    reported.map(([, message]) => message.view.layer),
    [3, 7, 3],
  );
  assert.equal(entries.length, 2);
});

test("another photo is a step, and Back asks Python to open the one before", async () => {
  begin({ layer: 7 });
  take({ photo: "cat", layer: "7" });
  take({ photo: "rocket", layer: "7" });
  assert.deepEqual(addresses(), ["/?photo=cat&layer=7", "/?photo=rocket&layer=7"]);
  move(-1);
  assert.deepEqual(asked, ["?photo=cat&layer=7"]);
  begin({ layer: 7 }, "s 1");
  take({ photo: "cat", layer: "7" });
  assert.equal(entries.length, 2, "what was asked for makes no step");
  take({ photo: "coffee", layer: "7" });
  assert.deepEqual(addresses(), ["/?photo=cat&layer=7", "/?photo=coffee&layer=7"]);
});

test("another page begins without a step; its scope has no view", () => {
  begin({ layer: 7 });
  take({ photo: "cat", layer: "7" });
  history.pushState({}, "", "/cost"); // by Streamlit
  take({ model: "photos", layer: "7" }, { scope: "" });
  assert.deepEqual(addresses(), ["/?photo=cat&layer=7", "/cost?model=photos&layer=7"]);
});

test("Back to another page is Streamlit's; the address that was left there is opened", () => {
  begin({ layer: 7 });
  take({ photo: "cat", layer: "7" });
  history.pushState({}, "", "/cost");
  take({ model: "photos" }, { scope: "" });
  move(-1);
  assert.deepEqual(asked, []);
  take({ photo: "rocket", layer: "7" }); // the session has gone on
  assert.deepEqual(asked, ["?photo=cat&layer=7"]);
});

test("after a new start of the server what is shown counts", async () => {
  const view = begin({ layer: 7 });
  take({ photo: "cat", layer: "7" });
  view.change({ layer: 3 }, 1);
  await wait(5);
  begin({ layer: 7 }, "t 0");
  take({ photo: "cat", layer: "7" }, { session: "t" });
  assert.deepEqual(asked, ["?photo=cat&layer=3"]);
  assert.equal(entries.length, 2);
});

test("Python's view is taken over where it was changed there, and only there", () => {
  const view = begin({ layer: 7 });
  view.change({ layer: 3 });
  begin({ layer: 7 });
  assert.equal(view.values.layer, 3);
  begin({ layer: 5 }, "s 1");
  assert.equal(view.values.layer, 5);
  clearTimeout(view.timer);
});

test("a step that only clears the address of the page that is shown is none", () => {
  begin({ layer: 7 });
  take({ photo: "cat", layer: "7" });
  history.pushState({}, "", "/");
  assert.deepEqual(addresses(), ["/?photo=cat&layer=7"]);
  history.pushState({}, "", "/compare");
  assert.deepEqual(addresses(), ["/?photo=cat&layer=7", "/compare"]);
});
