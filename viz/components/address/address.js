// The address of the page as Python has it, handed to the browser's history. Nothing is drawn.

import { Component, mountable } from "../shared/component.js";
import { pageHistory } from "../shared/history.js";

class Address extends Component {
  static selector = ".address";

  receive({ params, scope, session }) {
    const open = (query) => this.setTriggerValue("open", query);
    pageHistory().take({ params, scope, session, open });
  }

  draw() {}
}

export default mountable(Address);
