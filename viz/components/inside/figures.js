// Figures of a step: vectors as strips and numbers, bars, shares, histograms. They are built first
// and painted once they stand on the page and have a width.

import { element, setText, shareBar } from "../shared/controls.js";
import { fitCanvas } from "../shared/drawing.js";
import { decimals, percent } from "../shared/text.js";
import { largestSize } from "./statistics.js";

const SHOWN = 12; // numbers under a strip, unless all are asked for
const ALL = 4096; // at most

export class Figures {
  constructor(root) {
    this.root = root;
    this.nodes = [];
    this.paints = [];
  }

  show() {
    this.root.replaceChildren(...this.nodes);
    const style = getComputedStyle(this.root);
    this.colors = {
      text: style.color,
      accent: style.getPropertyValue("--st-primary-color") || style.color,
      line: style.getPropertyValue("--st-border-color") || style.color,
    };
    for (const paint of this.paints) paint(this.colors);
  }

  add(...nodes) {
    this.nodes.push(...nodes);
  }

  text(...parts) {
    this.add(element("p", { class: "fact" }, ...parts));
  }

  heading(text) {
    this.add(element("h4", {}, text));
  }

  // A vector as a strip, positive numbers warm, negative ones cold; its numbers below.
  strip(name, values, { top = largestSize(values), note = "", marks = 0, className = "" } = {}) {
    const canvas = element("canvas", { class: "strip", role: "img", "aria-label": name });
    const reading = element("span", { class: "reading" }, note);
    const numbers = element("p", { class: "numbers" }, numbersOf(values));
    this.add(
      element(
        "div",
        { class: `vector ${className}` },
        element("span", { class: "label" }, name),
        canvas,
        reading,
        numbers,
      ),
    );
    this.paints.push(() => paintStrip(canvas, values, top, marks));
    const read = (event) => setText(reading, readAt(event, canvas, values) ?? note);
    canvas.onpointermove = read;
    canvas.onpointerdown = read;
    canvas.onpointerleave = () => setText(reading, note);
  }

  // Numbers as bars up and down from a line.
  bars(name, values, note = "") {
    const canvas = element("canvas", { class: "bars", role: "img", "aria-label": name });
    const reading = element("span", { class: "reading" }, note);
    this.add(
      element(
        "div",
        { class: "vector" },
        element("span", { class: "label" }, name),
        canvas,
        reading,
        element("p", { class: "numbers" }, numbersOf(values)),
      ),
    );
    this.paints.push((colors) => paintBars(canvas, values, colors));
    const read = (event) => setText(reading, readAt(event, canvas, values) ?? note);
    canvas.onpointermove = read;
    canvas.onpointerdown = read;
    canvas.onpointerleave = () => setText(reading, note);
  }

  // Named shares with their bars; `top` is a full bar, and a row without a share has none.
  shares(rows, top) {
    const items = rows.map(({ name, share, note, now, act }) => {
      const item = element(
        "li",
        { class: now ? "share-row now" : "share-row" },
        element(
          act ? "button" : "span",
          act ? { type: "button", class: "name" } : { class: "name" },
          name,
        ),
        share === undefined ? element("span") : shareBar(top > 0 ? share / top : 0),
        element("span", { class: "value" }, note ?? percent(share)),
      );
      if (act) item.querySelector("button").onclick = act;
      return item;
    });
    this.add(element("ol", { class: "shares" }, ...items));
  }

  // A sum written out: the way, the result, and what it is called.
  sum(way, result, name) {
    const strong = element("strong", {}, result);
    this.add(element("p", { class: "sum" }, way, strong, element("small", {}, name)));
  }

  table(heads, rows) {
    const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text)));
    const body = rows.map(([name, ...cells]) =>
      element(
        "tr",
        {},
        element("th", { scope: "row" }, name),
        ...cells.map((text) => element("td", {}, text)),
      ),
    );
    this.add(element("table", {}, element("thead", {}, head), element("tbody", {}, ...body)));
  }

  // Whether what was computed is what the model computed.
  verdict(text, changed) {
    this.add(element("p", { class: changed ? "verdict away" : "verdict" }, text));
  }

  // Histograms one above the other, over one axis. series: { name, counts, faint, note }.
  histograms(series, low, high) {
    for (const { name, counts, faint, note } of series) {
      const canvas = element("canvas", { class: "histogram", role: "img", "aria-label": name });
      this.add(
        element(
          "div",
          { class: "vector" },
          element("span", { class: "label" }, name),
          canvas,
          element("span", { class: "reading" }, note),
        ),
      );
      this.paints.push((colors) => paintHistogram(canvas, counts, faint, colors));
    }
    this.add(
      element(
        "p",
        { class: "axis" },
        element("span", {}, decimals(low)),
        element("span", {}, "score"),
        element("span", {}, decimals(high)),
      ),
    );
  }

  // Every head's map over the photo, to choose one; `paint` draws a head's map on a canvas.
  gallery(heads, now, choose, paint) {
    const buttons = Array.from({ length: heads }, (_, head) => {
      const canvas = element("canvas", { "aria-hidden": "true" });
      const button = element(
        "button",
        { type: "button", class: head === now ? "small-map now" : "small-map" },
        canvas,
        `head ${head + 1}`,
      );
      button.onclick = () => choose(head);
      this.paints.push(() => paint(canvas, head));
      return button;
    });
    this.add(element("div", { class: "gallery" }, ...buttons));
  }

  // A map of words by words: what may not be looked at is hatched, with its minus infinity.
  triangle(rows, words, chosen, masked) {
    const canvas = element("canvas", {
      class: "triangle",
      role: "img",
      "aria-label": `Each word's row of the map; ${masked ? "later words are masked" : "nothing is masked"}`,
    });
    this.add(canvas);
    this.paints.push((colors) => paintTriangle(canvas, rows, words, chosen, masked, colors));
  }
}

// A formula with what follows an underscore set lower, as in W_q.
export function formula(text) {
  const parts = text.split(/_([A-Za-z0-9]+)/);
  return parts.map((part, i) => (i % 2 ? element("sub", {}, part) : part));
}

// The first numbers of a vector, or all of them: the style sheet shows as many as there is room.
export function numbersOf(values) {
  const some = Array.from(values.subarray(0, ALL), decimals);
  const head = some.slice(0, SHOWN).join("  ");
  if (some.length <= SHOWN) return head;
  const rest = element("span", { class: "rest" }, `  ${some.slice(SHOWN).join("  ")}`);
  const more = element("span", { class: "dots" }, `  … ${values.length} numbers`);
  const fragment = document.createDocumentFragment();
  fragment.append(head, rest, more);
  return fragment;
}

function readAt(event, canvas, values) {
  const box = canvas.getBoundingClientRect();
  const place = Math.floor(((event.clientX - box.left) / box.width) * values.length);
  if (place < 0 || place >= values.length) return null;
  return `${place + 1}: ${decimals(values[place])}`;
}

const WARM = [214, 96, 46];
const COLD = [58, 118, 196];

// The colour of a signed number: nothing at zero, full at `top`.
export function signedColor(value, top) {
  const [red, green, blue] = value < 0 ? COLD : WARM;
  const strength = top > 0 ? Math.min(1, Math.abs(value) / top) ** 0.75 : 0;
  return `rgb(${red} ${green} ${blue} / ${strength.toFixed(3)})`;
}

function paintStrip(canvas, values, top, marks) {
  fitCanvas(canvas, canvas.clientWidth / Math.max(1, canvas.clientHeight));
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  context.clearRect(0, 0, width, height);
  for (let i = 0; i < values.length; i++) {
    const left = Math.round((i * width) / values.length);
    const right = Math.round(((i + 1) * width) / values.length);
    context.fillStyle = signedColor(values[i], top);
    context.fillRect(left, 0, Math.max(1, right - left), height);
  }
  context.fillStyle = "rgb(128 128 128 / 0.9)";
  for (let part = 1; part < marks; part++) {
    context.fillRect(Math.round((part * width) / marks) - 1, 0, 2, height);
  }
}

function paintBars(canvas, values, colors) {
  fitCanvas(canvas, canvas.clientWidth / Math.max(1, canvas.clientHeight));
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  const top = largestSize(values) || 1;
  const line = Math.round(height / 2);
  context.clearRect(0, 0, width, height);
  for (let i = 0; i < values.length; i++) {
    const left = Math.round((i * width) / values.length);
    const right = Math.round(((i + 1) * width) / values.length);
    const tall = Math.round((Math.abs(values[i]) / top) * (line - 1));
    context.fillStyle = signedColor(Math.sign(values[i]), 1);
    context.fillRect(left, values[i] > 0 ? line - tall : line, Math.max(1, right - left - 1), tall);
  }
  context.fillStyle = colors.line;
  context.fillRect(0, line, width, 1);
}

function paintHistogram(canvas, counts, faint, colors) {
  fitCanvas(canvas, canvas.clientWidth / Math.max(1, canvas.clientHeight));
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  const top = Math.max(1, ...counts);
  context.clearRect(0, 0, width, height);
  context.globalAlpha = faint ? 0.45 : 1;
  context.fillStyle = colors.accent;
  for (const [bin, count] of counts.entries()) {
    if (!count) continue;
    const left = Math.round((bin * width) / counts.length);
    const right = Math.round(((bin + 1) * width) / counts.length);
    const tall = Math.max(2, Math.round((count / top) * (height - 2)));
    context.fillRect(left, height - tall, Math.max(1, right - left - 1), tall);
  }
  context.globalAlpha = 1;
  context.fillStyle = colors.line;
  context.fillRect(0, height - 1, width, 1);
}

// A row a word; its name stands before it.
function paintTriangle(canvas, rows, words, chosen, masked, colors) {
  const count = rows.length;
  const ratio = window.devicePixelRatio || 1;
  const names = 78; // CSS pixels for the words
  const wide = Math.min(canvas.parentElement.clientWidth, names + 40 * count);
  canvas.style.width = `${wide}px`;
  fitCanvas(canvas, wide / (wide - names), wide);
  const context = canvas.getContext("2d");
  const left = names * ratio;
  const cell = (canvas.width - left) / count;
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.textBaseline = "middle";
  context.font = `${Math.round(Math.min(cell * 0.42, 13 * ratio))}px sans-serif`;
  for (let i = 0; i < count; i++) {
    const middle = (i + 0.5) * cell;
    context.globalAlpha = i === chosen ? 1 : 0.75;
    context.fillStyle = colors.text;
    context.textAlign = "right";
    context.fillText(words[i], left - 6 * ratio, middle, left - 8 * ratio);
    context.textAlign = "center";
    for (let j = 0; j < count; j++) {
      const hidden = masked && j > i;
      context.globalAlpha = hidden ? 0.1 : Math.max(0.04, rows[i][j] ** 0.6);
      context.fillStyle = hidden ? colors.text : colors.accent;
      context.fillRect(left + j * cell + 1, i * cell + 1, cell - 2, cell - 2);
      if (!hidden || cell < 16 * ratio) continue;
      context.globalAlpha = 0.75;
      context.fillText("−∞", left + (j + 0.5) * cell, middle);
    }
  }
  context.globalAlpha = 1;
  context.strokeStyle = colors.text;
  context.lineWidth = 2 * ratio;
  if (chosen < count) context.strokeRect(left, chosen * cell, canvas.width - left - ratio, cell);
}
