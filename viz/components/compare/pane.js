// One side of the comparison: a photo, and the map over it. The layer's queries and keys, or the
// rows of rollout, are asked for once; each row after that is drawn from them.

import { answersFor } from "../shared/answers.js";
import { attentionRows, fusedRow, peakOf } from "../shared/attention.js";
import { element, setText } from "../shared/controls.js";
import { drawFrame, MapCanvas } from "../shared/drawing.js";
import { centreOf, patchBox } from "../shared/grid.js";
import { isInside, patchThere } from "../shared/map_distance.js";

const FROM_CURSOR = "patch";
const FROM_ALL = "mean";

export class Pane {
  constructor(owner, letter) {
    this.owner = owner;
    this.canvas = element("canvas", { class: "photo", tabindex: "0", role: "application" });
    this.title = element("b");
    this.about = element("span", { class: "about" });
    this.missing = element("p", { class: "missing", role: "status" });
    this.letter = element("span", { class: "letter", "aria-hidden": "true" }, letter);
    const caption = element("figcaption", {}, this.letter, this.title, this.about);
    this.figure = element("figure", {}, caption, this.canvas, this.missing);
    this.picture = new MapCanvas(this.canvas);
    this.values = null; // of the patches, as they were drawn last
  }

  receive(header, map) {
    const changed = header.photo !== this.header?.photo;
    this.header = header;
    this.map = map;
    this.averaged = null;
    this.answers = answersFor(header, {}, this.owner.ask);
    setText(this.title, header.title);
    setText(this.about, header.about);
    setText(this.missing, header.missing);
    this.missing.hidden = !header.missing;
    this.canvas.hidden = Boolean(header.missing);
    this.canvas.setAttribute("aria-label", `${header.title}: ${header.about}. ${KEYS}`);
    if (header.missing || !changed) return;
    this.photo = null;
    this.owner.wait(this.answers.photo(), (photo) => {
      if (this.header.photo === header.photo) this.photo = photo;
    });
  }

  // What the map covers: see ../shared/map_distance.js.
  get part() {
    return this.header;
  }

  // The token at a place of the photo, or of the name of a token that is no patch.
  tokenOf(point) {
    const { prefix } = this.header;
    if (typeof point !== "string") return prefix.length + patchThere(point, this.part);
    const index = prefix.indexOf(point);
    return index < 0 ? prefix.length + centreOf(this.part.grid) : index;
  }

  // Whether the model sees this place of the photo.
  sees(point) {
    return typeof point !== "string" && isInside(point, this.part.box);
  }

  // Compute the map from a point; null while what it needs is on its way.
  look(point) {
    if (this.header.missing) return null;
    const token = this.header.from === FROM_CURSOR ? this.tokenOf(point) : this.header.from;
    const found = METHODS[this.header.method](this, token);
    if (found) this.values = found;
    return found;
  }

  // An answer, or null while it is on its way.
  here(question) {
    const found = this.answers.here(question);
    if (!found && this.asked !== question) this.owner.wait(this.answers.part(question));
    this.asked = found ? null : question;
    return found ?? null;
  }

  draw(style, point) {
    if (!this.photo || !this.values || this.header.missing) return;
    const { grid } = this.header;
    const context = this.picture.draw(this.photo, this.values, this.peak, grid, style);
    if (this.sees(point)) drawFrame(context, patchBox(patchThere(point, this.part), grid), 1.6);
  }

  get peak() {
    return this.values[peakOf(this.values)];
  }
}

const KEYS = "Arrow keys go from patch to patch.";

const METHODS = {
  attention: attentionOf,
  rollout: rolloutOf,
  map: (pane) => pane.map,
};

function attentionOf(pane, token) {
  const { layer, head, prefix } = pane.header;
  if (token === FROM_ALL) {
    const mean = pane.here(`mean/${layer}`);
    return mean && fusedRow(mean.rows, mean.heads, mean.tokens, head).subarray(prefix.length);
  }
  const found = pane.here(`layer/${layer}`);
  if (!found) return null;
  const rows = attentionRows(found, token);
  return fusedRow(rows, found.heads, found.tokens, head).subarray(prefix.length);
}

function rolloutOf(pane, token) {
  const { fusion, discard, prefix, whole } = pane.header;
  const question = `${fusion}/${discard.toFixed(2)}`;
  if (!whole) return pane.here(`rollout/${question}/${token}`)?.row.subarray(prefix.length) ?? null;
  const found = pane.here(`rollouts/${question}`);
  if (!found) return null;
  const { rows, tokens } = found;
  if (token !== FROM_ALL)
    return rows.subarray(token * tokens, (token + 1) * tokens).subarray(prefix.length);
  pane.averaged ??= meanOfPatches(rows, tokens, prefix.length);
  return pane.averaged;
}

// The mean row of all patches.
function meanOfPatches(rows, tokens, first) {
  const mean = new Float32Array(tokens - first);
  for (let i = first; i < tokens; i++) {
    for (let j = first; j < tokens; j++) mean[j - first] += rows[i * tokens + j] / (tokens - first);
  }
  return mean;
}
