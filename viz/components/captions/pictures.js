// Draws a caption's maps: large over the photo, one a head of each layer, and one a word.

import { peakOf } from "../shared/attention.js";
import { element, radio } from "../shared/controls.js";
import { drawFrame, fitCanvas, MapCanvas, pixelRatio } from "../shared/drawing.js";
import { patchBox } from "../shared/grid.js";
import { headName } from "../shared/text.js";

export class Pictures {
  constructor(captions) {
    this.captions = captions;
    this.large = new MapCanvas(captions.canvas);
  }

  build() {
    this.buildHeads();
    this.buildStrip();
  }

  // A row a layer, a column a head, before them the mean of the heads.
  buildHeads() {
    const { layers } = this.captions.header;
    const columns = ["mean", ...Array(Math.max(0, ...layers)).keys()];
    const width = columns.length > 6 ? 4.6 : 5.6;
    const place = this.captions.find(".heads");
    place.style.gridTemplateColumns = `2.6rem repeat(${columns.length}, minmax(0, ${width}rem))`;
    const name = (text) => element("span", { class: "name" }, text);
    const cell = (layer, head) =>
      head >= layers[layer] ? element("span") : this.cell(layer, head);
    this.cells = [];
    place.replaceChildren(
      element("span"),
      ...columns.map((head) => name(headName(head))),
      ...layers.flatMap((_, layer) => [
        name(`layer ${layer + 1}`),
        ...columns.map((head) => cell(layer, head)),
      ]),
    );
    const several = layers.reduce((sum, heads) => sum + heads, 0) > 1;
    this.captions.find(".heads-group").hidden = !this.captions.maps.shown || !several;
  }

  cell(layer, head) {
    const title = `Layer ${layer + 1}, ${headName(head)}`;
    const input = radio("head", title);
    this.captions.on(input, "change", () => this.captions.change({ layer, head }));
    const canvas = element("canvas");
    this.cells.push({ layer, head, input, picture: new MapCanvas(canvas) });
    return element("label", { class: "cell small-map", title }, input, canvas);
  }

  buildStrip() {
    const { captions } = this;
    captions.find(".strip-group").hidden = !captions.maps.shown;
    this.shots = captions.header.words.map((text, word) => {
      const canvas = element("canvas", { "aria-hidden": "true" });
      const attributes = { type: "button", class: "shot small-map", tabindex: "-1" };
      const button = element("button", attributes, canvas, element("bdi", {}, text));
      captions.on(button, "pointerenter", () => captions.glanceAt(word));
      captions.on(button, "pointerleave", () => captions.glanceAt(null));
      captions.on(button, "click", () => captions.choose(word));
      return { word, button, picture: new MapCanvas(canvas) };
    });
    captions.find(".strip").replaceChildren(...this.shots.map(({ button }) => button));
    this.drawn = null;
  }

  markChosen() {
    const { view } = this.captions;
    for (const { layer, head, input } of this.cells) {
      input.checked = layer === view.layer && head === view.head;
    }
  }

  draw() {
    const { photo, maps, word, view, triangle } = this.captions;
    for (const shot of this.shots) shot.button.classList.toggle("now", shot.word === word);
    if (!photo) return;
    this.drawLarge();
    const changed = this.isChanged();
    if (changed) triangle.draw();
    if (!maps.shown) return;
    for (const { layer, head, picture } of this.cells)
      this.drawSmall(picture, word, { layer, head });
    if (changed) for (const shot of this.shots) this.drawSmall(shot.picture, shot.word, view);
  }

  // Whether what does not depend on the word must be drawn again.
  isChanged() {
    const { photo, view, style } = this.captions;
    const width = this.shots[0]?.picture.canvas.clientWidth;
    const now = JSON.stringify([view.layer, view.head, style, width, pixelRatio()]);
    const changed = this.drawn !== now || this.drawnPhoto !== photo;
    this.drawn = now;
    this.drawnPhoto = photo;
    return changed;
  }

  drawLarge() {
    const { maps, view, word, patch } = this.captions;
    const context = maps.shown ? this.drawMap(this.large, word, view) : this.drawPhoto();
    if (maps.shown && patch !== null) drawFrame(context, patchBox(patch, maps.grid), 1.4);
    if (view.boxes) this.drawBoxes(context);
  }

  drawPhoto() {
    const { photo, canvas } = this.captions;
    fitCanvas(canvas, photo.width / photo.height);
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = true;
    context.drawImage(photo, 0, 0, canvas.width, canvas.height);
    return context;
  }

  drawSmall(picture, word, view) {
    if (picture.canvas.clientWidth) this.drawMap(picture, word, view);
  }

  drawMap(picture, word, view) {
    const { photo, maps, style } = this.captions;
    const values = maps.patches(view, word);
    return picture.draw(photo, values, values[peakOf(values)], maps.grid, style);
  }

  // The box of the word's own object is bold.
  drawBoxes(context) {
    const { header, word } = this.captions;
    const own = header.names.find(([named]) => named === word)?.[1];
    for (const [i, box] of header.boxes.entries()) drawFrame(context, box, i === own ? 3 : 1.2);
  }
}
