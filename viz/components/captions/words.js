// The words of the caption as buttons, each with its probability.

import { element, shareBar } from "../shared/controls.js";
import { percent } from "../shared/text.js";

export class Words {
  constructor(captions) {
    this.captions = captions;
  }

  build() {
    const { header } = this.captions;
    this.buttons = header.words.map((text, word) => this.button(text, word));
    this.captions.find(".words").replaceChildren(...this.buttons);
  }

  button(text, word) {
    const { captions } = this;
    const { probabilities, given, unknown, sure } = captions.header;
    const number = probabilities[word] < sure ? percent(probabilities[word]) : "";
    const button = element(
      "button",
      { type: "button", class: "word" },
      element("bdi", { class: "text" }, text),
      shareBar(probabilities[word]),
      element("small", {}, number),
    );
    if (word < given) {
      button.classList.add("given");
      button.title = "You chose this word.";
    }
    if (unknown.includes(word)) {
      button.classList.add("unknown");
      button.title = "The model does not know this word and reads it as an unknown one.";
    }
    captions.on(button, "pointerenter", () => captions.glanceAt(word));
    captions.on(button, "pointerleave", () => captions.glanceAt(null));
    captions.on(button, "click", () => captions.choose(word));
    return button;
  }

  // Keep the focus on the chosen word, if it is on a word.
  focus(word) {
    const { activeElement } = this.captions.root.getRootNode();
    if (activeElement?.matches(".word")) this.buttons[word].focus();
  }

  // Mark the chosen word, and those that stand out: see `strengths`.
  mark() {
    const { word, view, triangle } = this.captions;
    const strengths = this.strengths();
    for (const [i, button] of this.buttons.entries()) {
      button.setAttribute("aria-pressed", i === word);
      button.classList.toggle("traced", i === triangle.traced?.row);
      button.tabIndex = i === view.word ? 0 : -1;
      button.style.setProperty("--strength", (strengths?.[i] ?? 0).toFixed(3));
    }
  }

  // How strongly each word is coloured: by how much it looked at a patch, or by how much the word
  // traced in the triangle was built on it.
  strengths() {
    const { maps, view, patch, triangle, header } = this.captions;
    const { traced } = triangle;
    if (traced) {
      const row = maps.ownRow(view, traced.row);
      return header.words.map((_, i) => (i === traced.row ? 0 : row[i + 1]));
    }
    if (patch === null) return null;
    const shares = header.words.map((_, i) => maps.patches(view, i)[patch]);
    const top = Math.max(...shares, 2 / maps.tokens); // not where nobody looks
    return shares.map((share) => share / top);
  }
}
