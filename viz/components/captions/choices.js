// What the caption could have been: the likeliest words at the chosen place, and other beams.

import { element, setText, shareRow } from "../shared/controls.js";
import { decimals, percent } from "../shared/text.js";

const END = "<end>"; // how the model's vocabulary writes it

export class Choices {
  constructor(captions) {
    this.captions = captions;
  }

  build() {
    const { captions } = this;
    const { beams, beam } = captions.header;
    const items = beams.map(([text, logprob], i) => {
      const name = element("bdi", { class: "name" }, text);
      const value = element("span", { class: "value" }, decimals(logprob));
      const attributes = { type: "button", class: "choice beam", "aria-pressed": i === beam };
      const button = element("button", attributes, name, value);
      captions.on(button, "click", () => captions.setTriggerValue("beam", i));
      return element("li", {}, button);
    });
    captions.find(".beams").replaceChildren(...items);
    captions.find(".beams-group").hidden = beams.length < 2;
    this.listed = null; // the word whose alternatives are on the page
  }

  // The chosen word, and the likeliest words in its place.
  show() {
    const { captions } = this;
    const { words, probabilities, logprobs, alternatives } = captions.header;
    const { word } = captions;
    if (!words.length) return;
    const write = (selector, text) => setText(captions.find(selector), text);
    const numbers = `probability ${percent(probabilities[word])}, log ${decimals(logprobs[word])}`;
    write(".which", `“${words[word]}”`);
    write(".logprob", `word ${word + 1} of ${words.length}, ${numbers}`);
    if (this.listed !== word) {
      this.listed = word;
      captions.find(".alternatives").replaceChildren(...this.alternatives(word));
    }
    const go = captions.header.fixed ? "" : " Choose one, and the caption goes on from it.";
    const about = `The likeliest words here.${go}`;
    write(".alternatives-note", alternatives[word].length ? about : "");
  }

  alternatives(word) {
    const { words, probabilities, alternatives } = this.captions.header;
    const list = alternatives[word];
    const isListed = list.some(([text]) => text === words[word]);
    const shown = isListed ? list : [...list, [words[word], probabilities[word]]];
    return shown.map(([text, probability]) => this.alternative(word, text, probability));
  }

  alternative(word, text, probability) {
    const { captions } = this;
    const { words } = captions.header;
    const shown = text === END ? "(the end)" : text;
    const button = shareRow("button", shown, probability);
    button.type = "button";
    button.classList.add("choice");
    const isToken = text === END ? word === 0 : /^<.+>$/.test(text); // not a word to go on from
    button.disabled = text === words[word] || isToken || captions.header.fixed;
    captions.on(button, "click", () => {
      captions.setTriggerValue("continue", [...words.slice(0, word), text]);
    });
    const item = element("li", {}, button);
    item.classList.toggle("taken", text === words[word]);
    return item;
  }
}
