// Numbers over time: a line a number, with the frame that is shown marked on it.

import { element, setText } from "../shared/controls.js";
import { fitCanvas, pixelRatio } from "../shared/drawing.js";

export class Lines {
  constructor(place, goTo) {
    this.place = place;
    this.goTo = goTo; // takes a share of the whole time
  }

  // Take lines: { name, values, top, write }.
  build(lines) {
    this.rows = lines.map((line) => {
      const canvas = element("canvas", { "aria-hidden": "true" });
      const value = element("span", { class: "value" });
      const name = element("bdi", { class: "name", title: line.name }, line.name);
      const go = (event) => {
        const box = canvas.getBoundingClientRect();
        if (event.buttons) this.goTo((event.clientX - box.left) / box.width);
      };
      canvas.onpointerdown = go;
      canvas.onpointermove = go;
      return {
        ...line,
        canvas,
        value,
        row: element("div", { class: "line-row" }, name, canvas, value),
      };
    });
    this.place.replaceChildren(...this.rows.map(({ row }) => row));
  }

  draw(frame, { text, line, accent }) {
    for (const { canvas, values, top, write, value } of this.rows) {
      drawLine(canvas, values, top, frame, { text, line, accent });
      setText(value, write(values[frame]));
    }
  }
}

function drawLine(canvas, values, top, frame, { text, line, accent }) {
  fitCanvas(canvas, canvas.clientWidth / Math.max(1, canvas.clientHeight));
  const ratio = pixelRatio();
  const context = canvas.getContext("2d");
  const width = canvas.width / ratio;
  const height = canvas.height / ratio;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  const xOf = (at) => 3 + ((width - 6) * at) / Math.max(1, values.length - 1);
  const yOf = (value) => height - 3 - (height - 6) * Math.min(1, value / (top || 1));
  stroke(context, line, 1, [
    [0, height - 1],
    [width, height - 1],
  ]);
  stroke(context, line, 1, [
    [xOf(frame), 0],
    [xOf(frame), height],
  ]);
  stroke(
    context,
    text,
    1.5,
    Array.from(values, (value, at) => [xOf(at), yOf(value)]),
  );
  context.fillStyle = accent;
  context.beginPath();
  context.arc(xOf(frame), yOf(values[frame]), 3, 0, 2 * Math.PI);
  context.fill();
}

function stroke(context, color, width, points) {
  context.strokeStyle = color;
  context.lineWidth = width;
  context.beginPath();
  for (const point of points) context.lineTo(...point);
  context.stroke();
}

// How far a map spreads: its entropy in nats, as spread_of_map of model/video/recording.py.
export function spreadOf(values) {
  let total = 0;
  for (const value of values) total += value;
  let nats = 0;
  for (const value of values) {
    if (value > 0) nats -= (value / total) * Math.log(value / total);
  }
  return nats;
}
