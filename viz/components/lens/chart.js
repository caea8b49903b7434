// Draws curves through the layers: a line a curve, probability upwards, on a canvas.

import { fitCanvas, pixelRatio } from "../shared/drawing.js";
import { percent } from "../shared/text.js";

const MARGIN = { left: 44, right: 12, top: 8, bottom: 34 }; // CSS pixels

export function drawCurves(canvas, curves, colors, { text, line, font }) {
  fitCanvas(canvas, 1.55);
  const ratio = pixelRatio();
  const context = canvas.getContext("2d");
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.scale(ratio, ratio);
  const area = {
    x: MARGIN.left,
    y: MARGIN.top,
    width: canvas.width / ratio - MARGIN.left - MARGIN.right,
    height: canvas.height / ratio - MARGIN.top - MARGIN.bottom,
  };
  const top = roundUp(Math.max(...curves.flatMap((curve) => [...curve])));
  const layers = curves[0].length;
  const xOf = (layer) => area.x + (layers > 1 ? (layer * area.width) / (layers - 1) : 0);
  const yOf = (share) => area.y + area.height * (1 - share / top);
  context.font = `12px ${font}`;
  context.fillStyle = text;
  drawAxes(context, area, { top, layers, xOf, yOf, line });
  curves.forEach((curve, index) => {
    context.strokeStyle = context.fillStyle = colors[index];
    context.lineWidth = 2.5;
    context.beginPath();
    curve.forEach((share, layer) => {
      context.lineTo(xOf(layer), yOf(share));
    });
    context.stroke();
    curve.forEach((share, layer) => {
      context.beginPath();
      context.arc(xOf(layer), yOf(share), 3, 0, 2 * Math.PI);
      context.fill();
    });
  });
}

function drawAxes(context, area, { top, layers, xOf, yOf, line }) {
  context.strokeStyle = line;
  context.lineWidth = 1;
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const share of [0, top / 2, top]) {
    context.beginPath();
    context.moveTo(area.x, yOf(share));
    context.lineTo(area.x + area.width, yOf(share));
    context.stroke();
    context.fillText(
      percent(share).replace(".0 ", " ").replace("0.00", "0"),
      area.x - 6,
      yOf(share),
    );
  }
  context.textAlign = "center";
  context.textBaseline = "top";
  const step = Math.ceil(layers / 12);
  for (let layer = 0; layer < layers; layer += step) {
    context.fillText(`${layer + 1}`, xOf(layer), area.y + area.height + 6);
  }
  context.fillText("layer", area.x + area.width / 2, area.y + area.height + 20);
}

// The next of 0.1, 0.2, 0.5, 1 and so on, each ten times smaller too.
function roundUp(share) {
  for (const top of [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]) if (share <= top) return top;
  return 1;
}
