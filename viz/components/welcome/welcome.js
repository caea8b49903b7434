// What a first visit is offered: the tour. It is offered once in a browser, and a key skips it.

import { Component, mountable } from "../shared/component.js";
import { setText } from "../shared/controls.js";
import { lessonProgress } from "../shared/lesson_progress.js";

class Welcome extends Component {
  static selector = ".welcome";

  constructor(root) {
    super(root);
    this.on(this.find(".start"), "click", () => this.setTriggerValue("go", `${this.tour}.1`));
    this.on(this.find(".skip"), "click", () => this.skip());
    this.pressed = this.guard((event) => {
      if (event.key === "Escape" && !this.root.hidden) this.skip();
    });
    addEventListener("keydown", this.pressed);
  }

  receive({ tour, steps }) {
    Object.assign(this, { tour, steps });
  }

  skip() {
    lessonProgress().reach(this.tour, 1, 1);
    this.schedule();
  }

  draw() {
    setText(this.find(".steps"), `${this.steps} steps`);
    this.root.hidden = lessonProgress().of(this.tour).place > 0;
  }

  close() {
    super.close();
    removeEventListener("keydown", this.pressed);
  }
}

export default mountable(Welcome);
