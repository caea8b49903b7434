// A figure in a notebook's cell, through anywidget: the same components as in the app. What the user
// chooses goes to Python as traits, and what Python sets is drawn.

import { element } from "../shared/controls.js";
import { unpack } from "../shared/payload.js";
import { sharedView } from "../shared/shared_view.js";
import { stand } from "../shared/stage.js";

const TRAITS = ["layer", "head", "query"];

function render({ model, el }) {
  const figure = read(model.get("_data"));
  const root = element("div", { class: "saccade" });
  const takeTheme = () => setTheme(root, isDark(el));
  takeTheme();
  root.append(element("p", { class: "saccade-title" }, figure.title));
  root.append(...figure.about.map((line) => element("p", { class: "saccade-about" }, line)));
  el.append(root);
  const take = (update) => takeChoice(model, update);
  const ask = (question, message, source) => {
    if (message) take(message.view);
    return answer(figure.answers, message ? null : `${source}/${question}`);
  };
  const send = (name, value) => take(name === "view" ? value : { [name]: value });
  const stages = figure.parts.map(({ kind, heading, payload }) => {
    if (heading) root.append(element("p", { class: "saccade-heading" }, heading));
    const place = root.appendChild(element("div"));
    return stand(place, kind, payload, ask, send);
  });
  requestAnimationFrame(() => {
    if (takeTheme()) for (const stage of stages) stage.redraw(); // the cell stands on the page now
  });
  const follow = () => show(model, figure);
  for (const trait of TRAITS) model.on(`change:${trait}`, follow);
  return () => {
    for (const trait of TRAITS) model.off(`change:${trait}`, follow);
    for (const stage of stages) stage.close();
  };
}

// The bytes that Python sends: the parts and the answers, one after another.
function read(data) {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const { header, arrays } = unpack(bytes);
  const { title, about, scope } = header;
  const parts = header.parts.map((part, at) => ({ ...part, payload: arrays[`part${at}`] }));
  const answers = new Map(header.names.map((name, at) => [name, arrays[`answer${at}`]]));
  return { title, about, scope, parts, answers };
}

async function answer(answers, name) {
  if (name === null) return new Uint8Array();
  if (!answers.has(name)) throw new Error(`This figure was made without ${name}.`);
  return answers.get(name);
}

// What somebody chose here, as traits. A word of a caption is its query.
function takeChoice(model, update) {
  const { word, ...rest } = update;
  const chosen = word === undefined ? rest : { ...rest, query: word };
  for (const trait of TRAITS) if (trait in chosen) model.set(trait, chosen[trait]);
  model.save_changes();
}

// What Python set, drawn. The view that somebody chose here comes back as it is.
function show(model, { scope, parts }) {
  if (!scope) return;
  const view = sharedView(scope);
  const ask = parts[0].kind === "captions" ? "word" : "query";
  const wanted = { layer: model.get("layer"), head: model.get("head"), [ask]: model.get("query") };
  const update = Object.fromEntries(
    Object.entries(wanted).filter(([name, value]) => view.values?.[name] !== value),
  );
  if (Object.keys(update).length) view.restore({ ...view.values, ...update });
}

// Returns whether the theme is another one than before.
function setTheme(root, dark) {
  const before = root.dataset.theme;
  root.dataset.theme = dark ? "dark" : "light";
  return root.dataset.theme !== before;
}

// Whether the notebook around the cell is dark, by the colour behind it.
function isDark(node) {
  for (let at = node; at; at = at.parentElement ?? at.getRootNode().host) {
    const [red, green, blue, alpha] = pixelOf(getComputedStyle(at).backgroundColor);
    if (alpha > 0) return 0.3 * red + 0.59 * green + 0.11 * blue < 128;
  }
  return false;
}

// A colour in whatever form a style has it, oklch() too, as red, green, blue and alpha to 255.
function pixelOf(color) {
  const canvas = element("canvas", { width: 1, height: 1 });
  const pen = canvas.getContext("2d");
  pen.fillStyle = "transparent";
  pen.fillStyle = color; // a cell outside the page has none, and leaves it as it was
  pen.fillRect(0, 0, 1, 1);
  return pen.getImageData(0, 0, 1, 1).data;
}

export default { render };
