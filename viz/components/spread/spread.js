// One probability before and after a change, beside what random changes of the same size do.

import { Component, mountable } from "../shared/component.js";
import { element, setText } from "../shared/controls.js";
import { percent } from "../shared/text.js";

class Spread extends Component {
  static selector = ".spread";

  receive({ before, after, caption }, { draws }) {
    const values = [...draws, before, after];
    const [low, high] = widened(Math.min(...values), Math.max(...values));
    const at = (value) => `${(100 * (value - low)) / (high - low)}%`;
    const place = (kind, value) => {
      const node = element("span", { class: kind, title: percent(value) });
      node.style.left = at(value);
      return node;
    };
    this.find(".axis").replaceChildren(
      ...[...draws].map((value) => place("dot", value)),
      place("mark before", before),
      place("mark after", after),
    );
    setText(this.find(".low"), percent(low));
    setText(this.find(".high"), percent(high));
    setText(this.find(".was"), percent(before));
    setText(this.find(".now"), percent(after));
    setText(this.find("figcaption"), caption);
  }

  draw() {}
}

// Room at both ends, within what a probability can be.
function widened(low, high) {
  const room = Math.max(0.02, 0.1 * (high - low));
  return [Math.max(0, low - room), Math.min(1, high + room)];
}

export default mountable(Spread);
