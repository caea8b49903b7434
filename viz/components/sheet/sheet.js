// Every head of every layer from one query, on one grid. A click opens the head in the explorer.
// Small models' maps are computed here from all layers; of a large one the server sends the rows.

import { mountable } from "../shared/component.js";
import { setText } from "../shared/controls.js";
import { sameToken } from "../shared/grid.js";
import { HeadGrid } from "../shared/head_grid.js";
import { beginView } from "../shared/shared_view.js";
import { percent, prefixName, tokenTitle } from "../shared/text.js";
import { SheetMaps } from "./maps.js";

class Sheet extends HeadGrid {
  static selector = ".sheet";

  constructor(root) {
    super(root);
    this.whenNear(() => {
      this.near = true;
      this.viewChanged();
    });
  }

  receive(header) {
    this.header = header;
    this.maps = null;
    this.loadPhoto();
    this.follow(beginView(header, this.answers));
    if (this.cursor && !this.exists(...this.cursor)) this.point(null);
    this.viewChanged();
  }

  get view() {
    return this.followed.values;
  }

  get style() {
    return { ...this.header.style, ...this.view };
  }

  get heads() {
    return this.header.layers.map(([heads]) => heads);
  }

  get chosen() {
    const { layer, head } = this.view;
    return typeof head === "number" ? [layer, head] : null;
  }

  // -- the maps --------------------------------------------------------------------------

  viewChanged() {
    if (!this.header) return;
    const { layers, prefix } = this.header;
    const place = tokenTitle(this.view.query, prefix, layers[this.view.layer].slice(1));
    const grid = "A row is a layer, a column a head; each map is scaled to its own maximum.";
    setText(this.find(".lead"), `From ${place}. ${grid} Choose one to open it above.`);
    if (this.near) this.loadMaps();
    this.schedule();
  }

  // The maps that were asked for last are shown; until they are here, the ones before.
  loadMaps() {
    const { header, answers, view } = this;
    const id = `${view.layer} ${view.query}`;
    if (this.maps?.id === id) return;
    const show = (maps) => {
      if (this.answers === answers && id === `${this.view.layer} ${this.view.query}`) {
        this.maps = Object.assign(maps, { id });
      }
    };
    const questions = header.whole
      ? header.layers.map((_, layer) => `layer/${layer}`)
      : [`sheet/${view.layer}/${view.query}`];
    const here = questions.map((question) => answers.here(question));
    const make = (parts) =>
      header.whole
        ? SheetMaps.fromLayers(header, view, parts)
        : SheetMaps.fromServer(header, parts[0]);
    if (here.every(Boolean)) return show(make(here));
    const parts = Promise.all(questions.map((question) => answers.part(question)));
    this.wait(parts, (found) => show(make(found)));
  }

  // -- one head --------------------------------------------------------------------------

  drawHead(cell) {
    const { maps } = this;
    this.drawMap(cell, maps?.map(cell.at), maps?.tops[cell.at], maps?.grid);
  }

  describe(layer, head) {
    const name = this.nameOf(layer, head);
    if (!this.maps) return name;
    const { columns, maxima, shares } = this.maps;
    const at = layer * columns + head;
    const others = this.header.prefix.map(
      (token, i) => `, ${prefixName(token)} ${percent(shares[i][at])}`,
    );
    return `${name}: strongest patch ${percent(maxima[at])}${others.join("")}`;
  }

  choose(layer, head) {
    const query = sameToken(this.view.query, this.view.layer, layer, this.header);
    this.followed.change({ layer, head, query });
  }
}

export default mountable(Sheet);
