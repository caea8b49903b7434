// What the page owes to its screen: the switch for a projector. Its style sheet is the page's, not
// its own, since what Streamlit draws has to follow, too.

import { Component, mountable } from "../shared/component.js";
import { projector } from "../shared/projector.js";
import { closeAfterChoice } from "./menu.js";

class Screen extends Component {
  static selector = ".screen";

  constructor(root) {
    super(root);
    this.button = this.find(".projector");
    this.on(this.button, "click", () => this.choose(!this.isOn));
    this.leaveMenu = closeAfterChoice();
  }

  // `projector` is what Python knows, from a link or from here; null where nobody has said anything.
  receive({ projector: known }) {
    const { remembered } = projector();
    this.isOn = known ?? remembered;
    if (known === null && remembered) this.setStateValue("projector", true);
  }

  choose(on) {
    this.isOn = on;
    projector().remember(on);
    this.setStateValue("projector", on);
    this.schedule();
  }

  close() {
    super.close();
    this.leaveMenu();
  }

  draw() {
    projector().show(this.isOn, getComputedStyle(this.root).colorScheme);
    this.button.setAttribute("aria-pressed", this.isOn);
  }
}

export default mountable(Screen);
