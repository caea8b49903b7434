// Cosine similarity of vectors that lie back to back in one array.

// The same vectors, each of length one; a vector of zeros stays.
export function unitVectors(vectors, count) {
  const width = vectors.length / count;
  const units = new Float32Array(vectors.length);
  for (let token = 0; token < count; token++) {
    const at = token * width;
    let sum = 0;
    for (let i = at; i < at + width; i++) sum += vectors[i] * vectors[i];
    const factor = sum > 0 ? 1 / Math.sqrt(sum) : 0;
    for (let i = at; i < at + width; i++) units[i] = vectors[i] * factor;
  }
  return units;
}

// The dot products of one vector with each of `units`, from the vector `first` on.
export function cosines(query, units, first, out) {
  const width = query.length;
  const whole = width - (width % 4);
  for (let token = 0; token < out.length; token++) {
    const at = (first + token) * width;
    let [a, b, c, d] = [0, 0, 0, 0]; // four sums: one alone waits for each addition
    for (let i = 0; i < whole; i += 4) {
      a += query[i] * units[at + i];
      b += query[i + 1] * units[at + i + 1];
      c += query[i + 2] * units[at + i + 2];
      d += query[i + 3] * units[at + i + 3];
    }
    for (let i = whole; i < width; i++) a += query[i] * units[at + i];
    out[token] = a + b + c + d;
  }
  return out;
}

// Where the largest value stands, one place left out; -1 where no other is there.
export function mostAlike(values, without = -1) {
  let best = -1;
  for (let i = 0; i < values.length; i++) {
    if (i !== without && (best < 0 || values[i] > values[best])) best = i;
  }
  return best;
}
