// Places on the grid of patches. A grid is [rows, columns]; patches count row by row from zero.

export function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}

export function rowAndColumn(patch, [, columns]) {
  return [Math.floor(patch / columns), patch % columns];
}

// How the pages call a patch.
export function placeName(patch, grid) {
  const [row, column] = rowAndColumn(patch, grid);
  return `row ${row + 1}, column ${column + 1}`;
}

// [left, top, right, bottom] of a patch, as shares of the photo's sides.
export function patchBox(patch, grid) {
  const [rows, columns] = grid;
  const [row, column] = rowAndColumn(patch, grid);
  return [column / columns, row / rows, (column + 1) / columns, (row + 1) / rows];
}

export function centreOf([rows, columns]) {
  return Math.floor(rows / 2) * columns + Math.floor(columns / 2);
}

// The patch under the mouse, on a node that shows the whole grid; null beside it.
export function patchAt(event, node, [rows, columns]) {
  const box = node.getBoundingClientRect();
  const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
  const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
  const inside = row >= 0 && column >= 0 && row < rows && column < columns;
  return inside ? row * columns + column : null;
}

// The patch one step [down, right] from another, or the same one at the edge.
export function nextPatch(patch, [down, right], grid) {
  const [rows, columns] = grid;
  const [row, column] = rowAndColumn(patch, grid);
  return clamp(row + down, 0, rows - 1) * columns + clamp(column + right, 0, columns - 1);
}

// The token of another layer at the same place. Layers are [heads, rows, columns].
export function sameToken(token, from, to, { layers, prefix }) {
  const patch = token - prefix.length;
  if (patch < 0) return token;
  return prefix.length + samePatch(patch, layers[from].slice(1), layers[to].slice(1));
}

// The patch of another grid where this one's centre lies.
export function samePatch(patch, grid, newGrid) {
  const [row, column] = rowAndColumn(patch, grid);
  const [newRows, newColumns] = newGrid;
  const newRow = Math.floor(((row + 0.5) * newRows) / grid[0]);
  return newRow * newColumns + Math.floor(((column + 0.5) * newColumns) / grid[1]);
}
