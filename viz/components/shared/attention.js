// Attention maps, row by row: computed from queries and keys, or looked up in finished maps.
// A layer is what viz.notebook.layers.layer_payload sends, with its heads and tokens.

// One query token's row of the map in every head: Float32Array (heads * tokens).
export function attentionRows(layer, token) {
  if (layer.kind === "qk") return rowsFromQueriesAndKeys(layer, token);
  if (layer.kind === "maps") return rowsOfMaps(layer, token);
  if (layer.kind === "windows") return rowsOfWindows(layer, token);
  throw new Error(`There is no kind of attention called ${layer.kind}.`);
}

// softmax(q K^T * scale + bias); the bias is -Infinity where a token may not look.
function rowsFromQueriesAndKeys({ query, key, bias, heads, tokens, dim, scale }, token) {
  const rows = new Float32Array(heads * tokens);
  const oneBias = bias && bias.length === tokens * tokens; // for all heads
  for (let head = 0; head < heads; head++) {
    const q = query.subarray((head * tokens + token) * dim, (head * tokens + token + 1) * dim);
    const row = rows.subarray(head * tokens, (head + 1) * tokens);
    const biasAt = ((oneBias ? 0 : head) * tokens + token) * tokens;
    let top = Number.NEGATIVE_INFINITY;
    for (let j = 0; j < tokens; j++) {
      let score = scale * dot(q, key, (head * tokens + j) * dim);
      if (bias) score += bias[biasAt + j];
      row[j] = score;
      if (score > top) top = score;
    }
    if (top === Number.NEGATIVE_INFINITY)
      row.fill(0); // a token that may look nowhere
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
  for (let j = 0; j < row.length; j++) {
    row[j] = Math.exp(row[j] - top);
    sum += row[j];
  }
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
export function fusedRow(rows, heads, tokens, head) {
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

// Where the largest value stands.
export function peakOf(values) {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

export function sumOf(values) {
  return values.reduce((total, value) => total + value, 0);
}

// How large a value is beside the mean of all.
export function timesAverage(values, at) {
  return `${((values[at] * values.length) / sumOf(values)).toFixed(1)} times the average`;
}

// Whether some weight is below zero, so that a row holds no shares of attention.
export function isSigned(values) {
  return values.some((value) => value < 0);
}

// Whether a map is all but flat. Drawn up to its own maximum it is bright all over, as if
// everything mattered.
export function isEven(values) {
  const sum = sumOf(values);
  return sum > 0 && values[peakOf(values)] * values.length < 1.25 * sum;
}
