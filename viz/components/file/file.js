// A figure in a file of its own: its parts are unpacked when they are first asked for, and drawn by
// the same components as in the app. Nothing is fetched from anywhere.

import { setText } from "../shared/controls.js";
import { projector } from "../shared/projector.js";
import { stand } from "../shared/stage.js";

const TOO_OLD =
  "This browser cannot unpack the figure: it lacks DecompressionStream. Open the file in Chrome or " +
  "Edge from 103, Firefox from 113 or Safari from 16.4.";

const packed = new Map(); // a name -> the element that holds its packed bytes
const unpacked = new Map(); // a name -> the promise of its bytes

function unpack(name) {
  if (!unpacked.has(name)) unpacked.set(name, inflate(name));
  return unpacked.get(name);
}

async function inflate(name) {
  const node = packed.get(name);
  if (!node) throw new Error(`This file was written without ${name}.`);
  const bytes = fromBase64(node.textContent);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

// What a component asks of the app's server, it finds in the file. What it reports has no reader.
function ask(question, message, source) {
  return message ? Promise.resolve(new Uint8Array()) : unpack(`${source}/${question}`);
}

function fail(sentence) {
  const place = document.querySelector(".notice");
  place.hidden = false;
  setText(place, sentence);
}

async function begin() {
  if (!("DecompressionStream" in globalThis)) return fail(TOO_OLD);
  for (const node of document.querySelectorAll("script[data-name]"))
    packed.set(node.dataset.name, node);
  const places = [...document.querySelectorAll("[data-kind]")];
  const stages = await Promise.all(
    places.map(async (place) => {
      const data = await unpack(place.dataset.payload);
      return stand(place, place.dataset.kind, data, ask);
    }),
  );
  const redraw = () => {
    for (const stage of stages) stage.redraw();
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  listenToTheme(redraw);
  listenToProjector();
}

function isDark() {
  return getComputedStyle(document.documentElement).colorScheme === "dark";
}

// A file opens as on a screen of one's own, whatever was chosen elsewhere.
function listenToProjector() {
  const button = document.querySelector(".projector");
  const show = (on) => {
    projector().show(on, isDark() ? "dark" : "light");
    button.setAttribute("aria-pressed", on);
  };
  button.addEventListener("click", () => show(!projector().on));
  const again = () => show(projector().on);
  document.querySelector(".theme").addEventListener("click", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  button.hidden = false;
}

// The button goes from the system's choice of light or dark to the other one, and back.
function listenToTheme(redraw) {
  const button = document.querySelector(".theme");
  const name = () => setText(button, isDark() ? "Light" : "Dark");
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    name();
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
  button.hidden = false;
  name();
}

begin().catch((error) => fail(`This figure could not be drawn. ${error.message}`));
