// Attention rollout from the view's token: a row that the server computes, once for everybody.

import { sumOf } from "../shared/attention.js";
import { mountable } from "../shared/component.js";
import { element, radio, setText } from "../shared/controls.js";
import { ReadableMap } from "../shared/readable_map.js";
import { beginView } from "../shared/shared_view.js";
import { explainedText } from "../shared/terms.js";
import { capital, prefixName, tokenTitle } from "../shared/text.js";

class Rollout extends ReadableMap {
  static selector = ".rollout";

  constructor(root) {
    super(root);
    this.discard = this.find(".discard");
    this.on(this.discard, "input", () => this.change({ discard: Number(this.discard.value) }));
    this.whenNear(() => {
      this.near = true;
      this.viewChanged();
    });
  }

  receive(header) {
    this.header = { ...header, grid: header.layers[0].slice(1) };
    this.loadPhoto();
    this.find(".about-rollout").replaceChildren(...explainedText(this, header.aboutRollout ?? []));
    setText(this.find(".about-fusion"), header.aboutFusion);
    setText(this.find(".about-discard"), header.aboutDiscard);
    this.discard.disabled = Boolean(header.whole);
    this.buildFusions();
    this.shown = null;
    this.follow(beginView(header, this.answers));
    this.viewChanged();
  }

  buildFusions() {
    this.fusions = this.header.fusions.map((fusion) => {
      const input = radio("fusion", capital(fusion));
      this.on(input, "change", () => this.change({ fusion }));
      return { fusion, input, chip: element("label", { class: "chip" }, input, fusion) };
    });
    this.find(".fusions").replaceChildren(...this.fusions.map(({ chip }) => chip));
  }

  change(update) {
    this.followed.change(update);
  }

  get view() {
    return this.followed.values;
  }

  get style() {
    return { ...this.header.style, ...this.view };
  }

  // In a file, one answer has the rows from all tokens.
  get question() {
    const { fusion, discard, query } = this.view;
    const settings = `${fusion}/${discard.toFixed(2)}`;
    return this.header.whole ? `rollouts/${settings}` : `rollout/${settings}/${query}`;
  }

  rowOf({ row, rows, tokens }) {
    const { query } = this.view;
    return row ?? rows.subarray(query * tokens, (query + 1) * tokens);
  }

  get place() {
    return tokenTitle(this.view.query, this.header.prefix, this.header.grid);
  }

  viewChanged() {
    if (!this.header) return;
    this.showControls();
    if (!this.near) return;
    const { question } = this;
    const row = this.answers.here(question);
    this.root.classList.toggle("waiting", !row);
    if (row) this.showRow(question, row);
    else {
      this.wait(this.answers.part(question), (found) => {
        if (question === this.question) this.showRow(question, found);
      });
    }
  }

  showControls() {
    const { fusion, discard } = this.view;
    setText(this.find(".lead"), this.lead());
    for (const { fusion: name, input } of this.fusions) input.checked = name === fusion;
    this.discard.value = discard;
    setText(this.find("output"), `${Math.round(100 * discard)} %`);
  }

  // Why one layer is not enough, and what rollout does about it.
  lead() {
    const { length } = this.header.layers;
    const last = `By layer ${length} each patch holds a mix from ${length - 1} layers.`;
    const all = `Rollout multiplies the maps of all ${length}, from ${this.place} back to the photo.`;
    return `${length > 1 ? `${last} ` : ""}${all}`;
  }

  showRow(question, answer) {
    this.root.classList.remove("waiting");
    const looks = JSON.stringify([question, this.style, this.view.query]);
    if (this.shown === looks) return;
    this.shown = looks;
    const row = this.rowOf(answer);
    const { prefix } = this.header;
    const values = row.subarray(prefix.length);
    const whole = (share) => `${Math.round(100 * share)} %`;
    const kept = prefix.map((name, token) => `, ${prefixName(name)} ${whole(row[token])}`);
    this.show({
      values,
      unit: "of the relevance",
      caption: `All patches together: ${whole(sumOf(values))}${kept.join("")}.`,
      alt: `Attention rollout from ${this.place}`,
    });
  }
}

export default mountable(Rollout);
