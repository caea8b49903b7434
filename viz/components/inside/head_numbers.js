// The arithmetic of a layer's heads, from the model's own queries, keys, values and projection.
// Each of `off` takes one thing away: positions, scale, mask, heads (their maps are merged), output.

import { lengthOf, mean } from "./statistics.js";

export const NOTHING_OFF = {
  positions: false,
  scale: false,
  mask: false,
  heads: false,
  output: false,
};

export class HeadNumbers {
  constructor({ key: _, ...header }, arrays) {
    Object.assign(this, header); // all but the key of the photo: heads, width, valueWidth, dim, queries, keys, scale, gain, ...
    this.arrays = arrays;
    this.off = { ...NOTHING_OFF };
    if (arrays.slots) this.tokens = tokensOfSlots(arrays.slots, this.queries);
  }

  // Where a token's numbers lie: windowed layers keep them window by window.
  slotOf(token) {
    return this.arrays.slots ? this.arrays.slots[token] : token;
  }

  windowOf(query) {
    return this.arrays.slots ? Math.floor(this.slotOf(query) / this.keys) : 0;
  }

  // The token of the key number `key` of a query; -1 for one that only pads a window.
  tokenOfKey(query, key) {
    return this.tokens ? this.tokens[this.windowOf(query) * this.keys + key] : key;
  }

  // The number of a token among a query's keys, or null outside its window.
  keyOfToken(query, token) {
    if (!this.tokens) return token;
    const key = this.slotOf(token) - this.windowOf(query) * this.keys;
    return key >= 0 && key < this.keys ? key : null;
  }

  vector(name, token, width = this.dim) {
    const values = this.arrays[name];
    const slot = this.slotOf(token);
    return values ? values.subarray(slot * width, (slot + 1) * width) : null;
  }

  // -- queries, keys and scores --------------------------------------------------------------

  query(head, token) {
    return this.part(this.off.positions ? "query_flat" : "query", head, this.slotOf(token));
  }

  key(head, query, key) {
    const name = this.off.positions ? "key_flat" : "key";
    return this.part(name, head, this.windowOf(query) * this.keys + key);
  }

  value(head, query, key) {
    return this.part("value", head, this.windowOf(query) * this.keys + key, this.valueWidth);
  }

  part(name, head, slot, width = this.width) {
    const values = this.arrays[name];
    if (!values) return null;
    const start = (head * (values.length / this.heads / width) + slot) * width;
    return values.subarray(start, start + width);
  }

  products(head, query, key) {
    const k = this.key(head, query, key);
    return Float64Array.from(this.query(head, query), (q, i) => q * k[i]);
  }

  // q · k for every key.
  sums(head, query) {
    const q = this.query(head, query);
    return Float64Array.from({ length: this.keys }, (_, j) => dot(q, this.key(head, query, j)));
  }

  // What the softmax gets, unless something is off.
  scores(head, query, { scale = !this.off.scale, mask = !this.off.mask } = {}) {
    const scores = this.sums(head, query);
    const factor = scale ? this.scale : 1;
    const bias = mask ? this.bias(head, query) : null;
    for (let j = 0; j < scores.length; j++) scores[j] = scores[j] * factor + (bias ? bias[j] : 0);
    return scores;
  }

  // What is added to a query's scores: -Infinity where it may not look; null for nothing.
  bias(head, query) {
    const { bias } = this.arrays;
    if (!bias) return null;
    const [windows, heads] = this.biasShape;
    const window = Math.min(this.windowOf(query), windows - 1);
    const place = this.slotOf(query) % this.rows;
    const start = ((window * heads + Math.min(head, heads - 1)) * this.rows + place) * this.keys;
    return bias.subarray(start, start + this.keys);
  }

  get rows() {
    return this.tokens ? this.keys : this.queries; // queries of one window
  }

  // A head's row of the map, or the mean of all heads where they are merged.
  weights(head, query) {
    if (!this.off.heads) return this.ownWeights(head, query);
    const rows = Array.from({ length: this.heads }, (_, h) => this.ownWeights(h, query));
    return Float64Array.from(rows[0], (_, j) => mean(rows.map((row) => row[j])));
  }

  ownWeights(head, query, how) {
    if (this.arrays.query) return softmax(this.scores(head, query, how));
    const { maps } = this.arrays; // (windows, heads, rows, keys)
    const place = this.slotOf(query) % this.rows;
    const start = ((this.windowOf(query) * this.heads + head) * this.rows + place) * this.keys;
    return Float64Array.from(maps.subarray(start, start + this.keys));
  }

  // -- from the map to the output ------------------------------------------------------------

  // One head: the values, each times its weight, summed.
  mixed(head, query, weights = this.weights(head, query)) {
    const sum = new Float64Array(this.valueWidth);
    for (let j = 0; j < weights.length; j++) {
      const value = this.value(head, query, j);
      for (let i = 0; i < sum.length; i++) sum[i] += weights[j] * value[i];
    }
    return sum;
  }

  // The heads side by side, as the output projection gets them.
  sideBySide(query) {
    if (this.between) return this.vector("mixed", query, this.heads * this.valueWidth);
    const merged = this.off.heads ? this.weights(0, query) : undefined;
    const side = new Float64Array(this.heads * this.valueWidth);
    for (let head = 0; head < this.heads; head++) {
      side.set(this.mixed(head, query, merged), head * this.valueWidth);
    }
    return side.map((value) => value * this.gain);
  }

  project(side) {
    const { out_weight, out_bias } = this.arrays;
    if (this.off.output) return Float64Array.from(side);
    return Float64Array.from({ length: this.dim }, (_, i) => {
      const start = i * side.length;
      let sum = out_bias ? out_bias[i] : 0;
      for (let j = 0; j < side.length; j++) sum += out_weight[start + j] * side[j];
      return sum;
    });
  }

  // The length of what each head adds through its columns of the output projection.
  contributions(side) {
    const { valueWidth, dim } = this;
    return Array.from({ length: this.heads }, (_, head) => {
      const alone = new Float64Array(side.length);
      alone.set(side.subarray(head * valueWidth, (head + 1) * valueWidth), head * valueWidth);
      const { out_weight } = this.arrays;
      const term = Float64Array.from({ length: dim }, (_, i) => {
        let sum = 0;
        for (let j = head * valueWidth; j < (head + 1) * valueWidth; j++) {
          sum += out_weight[i * side.length + j] * alone[j];
        }
        return sum;
      });
      return lengthOf(term);
    });
  }

  get canProject() {
    return Boolean(this.arrays.out_weight && (this.arrays.value || this.between));
  }

  // The attention's output as computed here, and as the model computed it.
  output(query) {
    return this.canProject ? this.project(this.sideBySide(query)) : this.recorded(query);
  }

  recorded(query) {
    return this.vector("projected", query);
  }

  // What is added to the stream: the output, times LayerScale or through a norm in some models.
  added(query) {
    const { layer_scale } = this.arrays;
    if (layer_scale) return this.output(query).map((value, i) => value * layer_scale[i]);
    return this.vector("added", query) ?? this.output(query);
  }

  residual(query) {
    const added = this.added(query);
    return Float64Array.from(this.vector("entering", query), (x, i) => x + added[i]);
  }

  // The stream after the attention: the residual, through its LayerNorm where that comes after.
  afterAttention(query) {
    const residual = this.residual(query);
    return this.normed("norm_after", residual) ?? residual;
  }

  // The token as it leaves the block, from what was computed here and what the MLP added.
  leaving(query) {
    const mlp = this.vector("mlp_added", query);
    const stream = this.vector("before_mlp", query) ?? this.afterAttention(query);
    const sum = Float64Array.from(stream, (x, i) => x + mlp[i]);
    return this.normed("norm_end", sum) ?? sum;
  }

  normed(name, values) {
    const settings = this.norms[name];
    if (!settings) return null;
    const { [`${name}_weight`]: weight, [`${name}_bias`]: bias } = this.arrays;
    return normalise(values, settings, weight, bias);
  }

  get changed() {
    return Object.values(this.off).some(Boolean);
  }
}

// Which token lies in each slot of the windows; -1 in one that only pads.
function tokensOfSlots(slots, count) {
  const tokens = new Int32Array(count).fill(-1);
  for (let token = 0; token < slots.length; token++) tokens[slots[token]] = token;
  return tokens;
}

export function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

// A row that may look nowhere is zero, as in the model.
export function softmax(scores) {
  const top = scores.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  if (top === Number.NEGATIVE_INFINITY) return new Float64Array(scores.length);
  const exponentials = Float64Array.from(scores, (score) => Math.exp(score - top));
  const sum = exponentials.reduce((a, b) => a + b, 0);
  return exponentials.map((value) => value / sum);
}

// LayerNorm, or RMSNorm, which subtracts no mean.
export function normalise(values, { kind, eps }, weight, bias) {
  const centre = kind === "LayerNorm" ? mean(values) : 0;
  const squares = Array.from(values, (x) => (x - centre) ** 2);
  const deviation = Math.sqrt(mean(squares) + eps);
  return Float64Array.from(
    values,
    (x, i) => ((x - centre) / deviation) * (weight ? weight[i] : 1) + (bias ? bias[i] : 0),
  );
}
