// Shared by the components: read a payload, compute attention, colour it, lay it over a photo.
// STYLE (colour maps and blending) is written above this text by viz/explorer/__init__.py.

const TYPES = {
  uint8: [1, Uint8Array],
  float16: [2, Uint16Array],
  float32: [4, Float32Array],
  uint32: [4, Uint32Array],
};

// Whether a key is meant for the browser or the system. Many keyboards have [ and ] only with
// Option or AltGr; so typed they are meant for us.
function isShortcut(event) {
  const typed = event.altKey && (event.key === "[" || event.key === "]");
  return event.metaKey || ((event.ctrlKey || event.altKey) && !typed);
}

function unpack(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = 4 + view.getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, start)));
  const arrays = {};
  for (const { name, type, shape, offset } of header.arrays) {
    const [size, Type] = TYPES[type];
    const count = shape.reduce((product, side) => product * side, 1);
    const data = bytes.slice(start + offset, start + offset + count * size);
    const typed = new Type(data.buffer);
    arrays[name] = type === "float16" ? floatsFromHalves(typed) : typed;
  }
  return { header, arrays };
}

let halves = null; // every float16 there is, by its bits

function floatsFromHalves(bits) {
  if (!halves) {
    halves = new Float32Array(65536);
    for (let i = 0; i < 65536; i++) {
      const sign = i & 0x8000 ? -1 : 1;
      const exponent = (i >> 10) & 31;
      const fraction = i & 1023;
      if (exponent === 31) halves[i] = fraction ? NaN : sign * Infinity;
      else if (exponent === 0) halves[i] = sign * fraction * 2 ** -24;
      else halves[i] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
    }
  }
  return Float32Array.from(bits, (i) => halves[i]);
}

// One query token's row of the map in every head: Float32Array (heads * tokens).
function attentionRows(layer, token) {
  return ROWS[layer.kind](layer, token);
}

const ROWS = { qk: rowsFromQueriesAndKeys, maps: rowsOfMaps, windows: rowsOfWindows };

// softmax(q K^T * scale + bias)
function rowsFromQueriesAndKeys({ query, key, bias, heads, tokens, dim, scale }, token) {
  const rows = new Float32Array(heads * tokens);
  const oneBias = bias && bias.length === tokens * tokens; // for all heads
  for (let head = 0; head < heads; head++) {
    const q = query.subarray((head * tokens + token) * dim, (head * tokens + token + 1) * dim);
    const row = rows.subarray(head * tokens, (head + 1) * tokens);
    const biasAt = ((oneBias ? 0 : head) * tokens + token) * tokens;
    let top = -Infinity;
    for (let j = 0; j < tokens; j++) {
      let score = scale * dot(q, key, (head * tokens + j) * dim);
      if (bias) score += bias[biasAt + j];
      row[j] = score;
      if (score > top) top = score;
    }
    if (top === -Infinity) row.fill(0); // a token that may look nowhere
    else softmax(row, top);
  }
  return rows;
}

// Four sums at a time: one alone would wait for each addition before the next.
function dot(q, key, at) {
  const whole = q.length - (q.length % 4);
  let [a, b, c, d] = [0, 0, 0, 0];
  for (let i = 0; i < whole; i += 4) {
    a += q[i] * key[at + i];
    b += q[i + 1] * key[at + i + 1];
    c += q[i + 2] * key[at + i + 2];
    d += q[i + 3] * key[at + i + 3];
  }
  for (let i = whole; i < q.length; i++) a += q[i] * key[at + i];
  return a + b + c + d;
}

function softmax(row, top) {
  let sum = 0;
  for (let j = 0; j < row.length; j++) sum += row[j] = Math.exp(row[j] - top);
  for (let j = 0; j < row.length; j++) row[j] /= sum;
}

function rowsOfMaps({ maps, heads, tokens }, token) {
  const rows = new Float32Array(heads * tokens);
  for (let head = 0; head < heads; head++) {
    const start = (head * tokens + token) * tokens;
    rows.set(maps.subarray(start, start + tokens), head * tokens);
  }
  return rows;
}

// maps: (windows, heads, area, area); slots: where each token lies, window * area + place.
function rowsOfWindows({ maps, slots, area, heads, tokens }, token) {
  const rows = new Float32Array(heads * tokens);
  const window = Math.floor(slots[token] / area);
  const place = slots[token] % area;
  for (let j = 0; j < tokens; j++) {
    if (Math.floor(slots[j] / area) !== window) continue;
    for (let head = 0; head < heads; head++) {
      const start = ((window * heads + head) * area + place) * area;
      rows[head * tokens + j] = maps[start + (slots[j] % area)];
    }
  }
  return rows;
}

// One map of a layer: a head's own row, or the mean, max or min of all heads.
function chosenRow(rows, heads, tokens, head) {
  if (typeof head === "number") return rows.subarray(head * tokens, (head + 1) * tokens);
  const fused = rows.slice(0, tokens);
  for (let i = tokens; i < heads * tokens; i++) {
    const j = i % tokens;
    if (head === "mean") fused[j] += rows[i];
    else if (head === "max" ? rows[i] > fused[j] : rows[i] < fused[j]) fused[j] = rows[i];
  }
  if (head === "mean") for (let j = 0; j < tokens; j++) fused[j] /= heads;
  return fused;
}

function largest(values) {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

// Whether a map is all but flat. Drawn up to its own maximum it is bright all over, as if
// everything mattered.
function isEven(values) {
  const sum = values.reduce((total, value) => total + value, 0);
  return sum > 0 && values[largest(values)] * values.length < 1.25 * sum;
}

// The 256 steps of a colour map as RGBA words whose opacity grows with the value.
const palettes = new Map();

function palette(name, opacity) {
  const id = `${name} ${opacity}`;
  if (!palettes.has(id)) {
    const hex = STYLE.colorMaps[name];
    const words = new Uint32Array(256);
    for (let i = 0; i < 256; i++) {
      const rgb = parseInt(hex.slice(6 * i, 6 * i + 6), 16);
      const alpha = Math.round(255 * opacity * (i / 255) ** STYLE.gamma);
      words[i] = (alpha << 24) | ((rgb & 255) << 16) | (rgb & 0xff00) | (rgb >> 16);
    }
    palettes.set(id, words);
  }
  return palettes.get(id);
}

// A map as a canvas with one pixel a patch.
function tile(values, top, [rows, columns], colors, canvas = document.createElement("canvas")) {
  if (canvas.width !== columns || canvas.height !== rows) {
    canvas.width = columns;
    canvas.height = rows;
  }
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  const words = new Uint32Array(image.data.buffer);
  const factor = top > 0 ? 255 / top : 0;
  for (let i = 0; i < words.length; i++) {
    words[i] = colors[Math.min(255, Math.round(values[i] * factor))];
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

async function decodePhoto(jpeg) {
  return createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
}

// Show the photo when it is decoded, unless its owner has been given another one by then.
function decodeFor(owner, jpeg, show) {
  const mine = (owner.decoding = {});
  decodePhoto(jpeg).then((photo) => {
    if (owner.decoding === mine) show(photo);
  });
}

// A photo, muted as under every map, at a size in device pixels.
function subdued(photo, width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(photo, 0, 0, width, height);
  const image = context.getImageData(0, 0, width, height);
  const { data } = image;
  const own = STYLE.saturation * STYLE.brightness;
  const grey = (1 - STYLE.saturation) * STYLE.brightness;
  for (let i = 0; i < data.length; i += 4) {
    const luma = grey * (0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2]);
    data[i] = own * data[i] + luma;
    data[i + 1] = own * data[i + 1] + luma;
    data[i + 2] = own * data[i + 2] + luma;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

// Give a canvas the device pixels of its box on the page; true if that changed.
function fit(canvas, aspect, width = canvas.clientWidth) {
  const ratio = window.devicePixelRatio || 1;
  const w = Math.max(1, Math.round(width * ratio));
  const h = Math.max(1, Math.round((width * ratio) / aspect));
  if (canvas.width === w && canvas.height === h) return false;
  canvas.width = w;
  canvas.height = h;
  return true;
}

// A box, as shares [left, top, right, bottom] of the canvas: black under white, for any photo.
function drawBox(context, [left, top, right, bottom], dash = []) {
  const { width, height } = context.canvas;
  const ratio = window.devicePixelRatio || 1;
  const sides = [left * width, top * height, (right - left) * width, (bottom - top) * height];
  context.save();
  for (const [color, line] of [["#000", 3.5], ["#fff", 1.5]]) {
    context.strokeStyle = color;
    context.lineWidth = line * ratio;
    context.setLineDash(color === "#fff" ? dash.map((part) => part * ratio) : []);
    context.strokeRect(...sides);
  }
  context.restore();
}

function drawScale(canvas, name) {
  canvas.width = 256;
  canvas.height = 1;
  const context = canvas.getContext("2d");
  const image = context.createImageData(256, 1);
  new Uint32Array(image.data.buffer).set(palette(name, 1).map((word) => word | 0xff000000));
  context.putImageData(image, 0, 0);
}

function percent(value) {
  return `${(100 * value).toFixed(value < 0.00995 ? 2 : 1)} %`;
}

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Text is always set as text, never as markup.
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
