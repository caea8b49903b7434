// A text whose terms are explained on hover, tap or focus.

import { Component, mountable } from "../shared/component.js";
import { explainedText } from "../shared/terms.js";

class ExplainedText extends Component {
  static selector = ".explained";

  receive({ parts, note }) {
    this.root.classList.toggle("note", note);
    this.root.replaceChildren(...explainedText(this, parts));
  }

  draw() {}
}

export default mountable(ExplainedText);
