// What a row of numbers is like: its spread, its entropy, its largest entries, its histogram.

export function mean(values) {
  return sum(values) / values.length;
}

function sum(values) {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

// The root of the mean squared distance from the mean.
export function spread(values) {
  const centre = mean(values);
  return Math.sqrt(mean(Array.from(values, (value) => (value - centre) ** 2)));
}

export function lengthOf(vector) {
  return Math.sqrt(sum(Array.from(vector, (value) => value * value)));
}

export function distance(a, b) {
  return lengthOf(Array.from(a, (value, i) => value - b[i]));
}

export function largestDifference(a, b) {
  return Array.from(a, (value, i) => Math.abs(value - b[i])).reduce((x, y) => Math.max(x, y), 0);
}

export function largestSize(values) {
  return Array.from(values, Math.abs).reduce((x, y) => (y > x && y < Infinity ? y : x), 0);
}

// In nats: 0 where one key gets everything, ln(keys) where all get the same.
export function entropy(weights) {
  return sum(Array.from(weights, (weight) => (weight > 0 ? weight * -Math.log(weight) : 0)));
}

// The places of the largest entries, the largest first.
export function largestPlaces(values, count) {
  const places = Array.from(values.keys());
  places.sort((a, b) => values[b] - values[a] || a - b);
  return places.slice(0, count);
}

// How many values lie in each of `bins` equal parts from low to high; what is outside is left out.
export function histogram(values, low, high, bins) {
  const counts = new Array(bins).fill(0);
  for (const value of values) {
    const bin = Math.floor(((value - low) / (high - low)) * bins);
    if (bin >= 0 && bin < bins) counts[bin] += 1;
    else if (value === high) counts[bins - 1] += 1;
  }
  return counts;
}

// Standard normal numbers, the same for the same seed (mulberry32, then Box and Muller).
export function normals(seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}
