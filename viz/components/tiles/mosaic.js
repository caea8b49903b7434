// Paints similarity tiles: one pixel a value, and one pixel between tiles.

export function paintMosaic(values, [low, high], { grid, tiles }, colors) {
  const [rows, columns] = grid;
  const size = rows * columns;
  const canvas = document.createElement("canvas");
  canvas.width = tiles[1] * (columns + 1) - 1;
  canvas.height = tiles[0] * (rows + 1) - 1;
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const words = new Uint32Array(image.data.buffer);
  const factor = high > low ? 255 / (high - low) : 0;
  for (let index = 0; index < values.length; index++) {
    const tile = Math.floor(index / size);
    const cell = index % size;
    const y = Math.floor(tile / tiles[1]) * (rows + 1) + Math.floor(cell / columns);
    const x = (tile % tiles[1]) * (columns + 1) + (cell % columns);
    const step = Math.round((values[index] - low) * factor);
    words[y * canvas.width + x] = colors[Math.min(255, Math.max(0, step))];
  }
  context.putImageData(image, 0, 0);
  return canvas;
}
