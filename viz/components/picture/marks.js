// Draws the marks of a saved picture (viz/export/drawing.py) on a canvas, in the colours of the theme.

// `scale` is device pixels a unit; `photos` are pictures by number; `theme` has colours by the name
// that a mark gives in the place of its own.
export function drawMarks(context, marks, scale, photos, arrays, theme) {
  context.save();
  context.scale(scale, scale);
  for (const mark of marks) {
    context.save();
    DRAW[mark.kind](context, mark, { photos, arrays, theme });
    context.restore();
  }
  context.restore();
}

const DRAW = { pixels, cells, rectangle, polyline, text };

function pixels(context, { box, photo }, { photos }) {
  const picture = photos[photo];
  if (!picture) return;
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, ...sides(box));
}

// Cells are a small picture, whose pixels are enlarged.
function cells(context, { box, shape: [rows, columns], cells: name }, { arrays }) {
  const canvas = document.createElement("canvas");
  canvas.width = columns;
  canvas.height = rows;
  const image = new ImageData(new Uint8ClampedArray(arrays[name]), columns, rows);
  canvas.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(canvas, ...sides(box));
}

function rectangle(context, { box, color, line }, { theme }) {
  if (!line) {
    context.fillStyle = theme[color] ?? color;
    return context.fillRect(...sides(box));
  }
  context.strokeStyle = theme[color] ?? color;
  context.lineWidth = line;
  context.strokeRect(...sides(box));
}

function polyline(context, { points, color, width, opacity }, { theme }) {
  context.strokeStyle = theme[color] ?? color;
  context.lineWidth = width;
  context.globalAlpha = opacity;
  context.beginPath();
  for (const [x, y] of points) context.lineTo(x, y);
  context.stroke();
}

function text(context, { place, words, size, color, anchor }, { theme }) {
  context.fillStyle = theme[color] ?? color;
  context.font = `${size}px ${theme.font}`;
  context.textAlign = anchor === "middle" ? "center" : anchor;
  context.fillText(words, ...place);
}

function sides([left, top, right, bottom]) {
  return [left, top, right - left, bottom - top];
}
