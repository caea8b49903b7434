// The places of a picture that stand for a number each: which one is at a point, and beside another.

// `boxes` has left, top, right and bottom of each spot, NaN for one that is not drawn.
export function spotAt([x, y], boxes) {
  for (let spot = 0; spot < boxes.length / 4; spot++) {
    const [left, top, right, bottom] = boxOf(spot, boxes);
    if (x >= left && x <= right && y >= top && y <= bottom) return spot;
  }
  return null;
}

// The nearest spot in a direction, [down, right]; the same one where there is none.
export function spotBeside(spot, [down, right], boxes) {
  const [x, y] = centreOf(spot, boxes);
  let best = spot;
  let least = Number.POSITIVE_INFINITY;
  for (let other = 0; other < boxes.length / 4; other++) {
    const [otherX, otherY] = centreOf(other, boxes);
    const ahead = (otherX - x) * right + (otherY - y) * down;
    const aside = Math.abs((otherX - x) * down) + Math.abs((otherY - y) * right);
    if (ahead > 0.5 && ahead + 3 * aside < least) {
      least = ahead + 3 * aside;
      best = other;
    }
  }
  return best;
}

export function firstSpot(boxes) {
  for (let spot = 0; spot < boxes.length / 4; spot++)
    if (!Number.isNaN(boxes[4 * spot])) return spot;
  return null;
}

export function boxOf(spot, boxes) {
  return boxes.subarray(4 * spot, 4 * spot + 4);
}

function centreOf(spot, boxes) {
  const [left, top, right, bottom] = boxOf(spot, boxes);
  return [(left + right) / 2, (top + bottom) / 2];
}

// What a spot stands for: the name of each axis with its place there, as "layer 3, head 2".
export function nameOfSpot(spot, axes) {
  const names = [];
  let rest = spot;
  for (const [axis, places] of axes.toReversed()) {
    const place = places[rest % places.length];
    names.unshift(typeof place === "number" ? `${axis} ${place}` : place);
    rest = Math.floor(rest / places.length);
  }
  return names.join(", ");
}
