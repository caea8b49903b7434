// The component base: one instance a place, and a sentence in place of what failed.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { Component, mountable } from "../../../../viz/components/shared/component.js";
import { fakeBrowser, fakePlace } from "./fake_page.mjs";

const GOOD = new TextEncoder().encode('....{"arrays":[]}    ');
new DataView(GOOD.buffer).setUint32(0, GOOD.length - 4, true);
const again = () => GOOD.slice(); // the same payload as other bytes
const DAMAGED = GOOD.subarray(0, 6);

let nextFrame;
let reported;
beforeEach(() => {
  nextFrame = fakeBrowser();
  reported = [];
  console.error = (error) => reported.push(error.message);
});

function kind(parts = {}) {
  return class extends Component {
    static selector = ".part";
    static made = 0;
    drawn = 0;
    received_ = 0;

    constructor(root) {
      super(root);
      this.constructor.made += 1;
      this.constructor.last = this;
      parts.construct?.(this);
    }

    receive(header, arrays) {
      this.received_ += 1;
      parts.receive?.(this, header, arrays);
    }

    draw() {
      this.drawn += 1;
      parts.draw?.(this);
    }
  };
}

const sentence = (place) => place.querySelector(".failure")?.textContent ?? null;
const isShown = (place) => place.querySelector(".part").style.display !== "none";

test("one instance a place, which takes each payload once", () => {
  const Kind = kind();
  const mount = mountable(Kind);
  const place = fakePlace("part");
  for (let run = 0; run < 3; run++) mount({ parentElement: place, data: GOOD });
  assert.equal(Kind.made, 1);
  assert.equal(Kind.last.received_, 1);
  mount({ parentElement: place, data: again() });
  assert.equal(Kind.last.received_, 2);
  mount({ parentElement: fakePlace("part"), data: GOOD });
  assert.equal(Kind.made, 2);
});

test("a change of the theme draws again, in one frame", () => {
  const Kind = kind();
  const mount = mountable(Kind);
  const place = fakePlace("part");
  mount({ parentElement: place, data: GOOD });
  assert.equal(nextFrame(), 1);
  mount({ parentElement: place, data: GOOD });
  mount({ parentElement: place, data: GOOD });
  assert.equal(nextFrame(), 1);
  assert.equal(Kind.last.drawn, 2);
});

test("without data there is nothing to draw", () => {
  const Kind = kind();
  mountable(Kind)({ parentElement: fakePlace("part"), data: null });
  assert.equal(nextFrame(), 0);
  assert.equal(Kind.last.received_, 0);
});

test("damaged data become a sentence, and the next good ones are shown", () => {
  const mount = mountable(kind());
  const place = fakePlace("part");
  mount({ parentElement: place, data: DAMAGED });
  assert.match(sentence(place), /^This part of the page could not be drawn\. .*damaged/);
  assert.equal(isShown(place), false);
  assert.equal(reported.length, 1);
  mount({ parentElement: place, data: GOOD });
  assert.equal(sentence(place), null);
  assert.equal(isShown(place), true);
});

const FAILING = {
  construct: "while it is built",
  receive: "while it reads what was sent",
  draw: "while it draws",
};

for (const [part, when] of Object.entries(FAILING)) {
  test(`what fails ${when} becomes one sentence`, () => {
    const fail = () => {
      throw new Error("No paint.");
    };
    const mount = mountable(kind({ [part]: fail }));
    const place = fakePlace("part");
    for (let run = 0; run < 2; run++) {
      mount({ parentElement: place, data: GOOD });
      nextFrame();
      assert.equal(sentence(place), "This part of the page could not be drawn. No paint.");
    }
    assert.equal(place.children.length, 2, "the component's element and one sentence");
  });
}

test("what fails in a listener or a timer becomes a sentence", async () => {
  const fail = () => {
    throw new Error("No paint.");
  };
  const node = {};
  for (const construct of [(self) => self.on(node, "click", fail), (self) => self.later(fail, 0)]) {
    const place = fakePlace("part");
    mountable(kind({ construct }))({ parentElement: place, data: GOOD });
    assert.equal(sentence(place), null);
    node.onclick?.({});
    await wait(5);
    assert.match(sentence(place), /No paint/);
    node.onclick = null;
  }
});

const PHOTO = { ask: async () => new Uint8Array(3) };

test("a photo that cannot be decoded becomes a sentence", async () => {
  nextFrame = fakeBrowser(async () => {
    throw new DOMException("The source image could not be decoded.");
  });
  const place = fakePlace("part");
  const receive = (self) => self.loadPhoto();
  mountable(kind({ receive }))({ parentElement: place, data: GOOD, ...PHOTO });
  await wait(1);
  assert.match(sentence(place), /The photo could not be decoded\.$/);
});

test("a photo that another has overtaken is dropped", async () => {
  const waiting = [];
  fakeBrowser(() => new Promise((resolve) => waiting.push(resolve)));
  const Kind = kind({ receive: (self) => self.loadPhoto() });
  const mount = mountable(Kind);
  const place = fakePlace("part");
  mount({ parentElement: place, data: GOOD, ...PHOTO });
  mount({ parentElement: place, data: again(), ...PHOTO });
  await wait(1);
  waiting[1]("second");
  waiting[0]("first");
  await wait(1);
  assert.equal(Kind.last.photo, "second");
});

test("where the server has let go of something, the page runs again, and only once", async () => {
  globalThis.document.baseURI = "http://here/";
  globalThis.fetch = async () => ({ ok: false, status: 410 });
  const Kind = kind({ receive: (self) => self.wait(self.answers.part("layer/0")) });
  const place = fakePlace("part");
  const asked = [];
  const page = { parentElement: place, setTriggerValue: (...given) => asked.push(given) };
  const keyed = (text) => {
    const bytes = new TextEncoder().encode(`....${text}`);
    new DataView(bytes.buffer).setUint32(0, bytes.length - 4, true);
    return bytes;
  };
  const data = () => keyed('{"arrays":[],"source":"s","key":"k"}');
  mountable(Kind)({ ...page, data: data() });
  await wait(1);
  assert.deepEqual(asked, [["lost", 410]]);
  assert.equal(sentence(place), null);
  Kind.last.update({ ...page, data: data() });
  await wait(1);
  assert.equal(asked.length, 1);
  assert.match(sentence(place), /The server has let go of this photo/);
});

test("a component that has left the page does nothing more", () => {
  const Kind = kind();
  const place = fakePlace("part");
  const leave = mountable(Kind)({ parentElement: place, data: GOOD });
  const instance = Kind.last;
  leave();
  nextFrame();
  instance.schedule();
  nextFrame();
  assert.equal(instance.drawn, 0);
});
