// All lessons as cards, each with how far it is in this browser.

import { Component, mountable } from "../shared/component.js";
import { element, setText } from "../shared/controls.js";
import { lessonProgress } from "../shared/lesson_progress.js";

class LessonList extends Component {
  static selector = ".lesson_list";

  constructor(root) {
    super(root);
    this.on(this.find(".reset"), "click", () => lessonProgress().reset());
    this.heard = this.guard(() => this.schedule());
    lessonProgress().listeners.add(this.heard);
  }

  receive({ lessons }) {
    this.lessons = lessons;
    this.cards = lessons.map((lesson) => this.card(lesson));
    this.find(".cards").replaceChildren(...this.cards.map(({ node }) => node));
  }

  card({ name, title, question, minutes, places }) {
    const state = element("span", { class: "state" });
    const fill = element("span", { class: "fill" });
    const button = element(
      "button",
      { type: "button" },
      element("b", { class: "title" }, title),
      element("span", { class: "question" }, question),
      element("span", { class: "facts" }, `${minutes} minutes`, state),
      element("span", { class: "track", "aria-hidden": "true" }, fill),
    );
    this.on(button, "click", () => {
      const { place, ended } = lessonProgress().of(name);
      this.setTriggerValue("go", `${name}.${ended ? 1 : Math.min(Math.max(place, 1), places)}`);
    });
    return { node: element("li", {}, button), state, fill };
  }

  draw() {
    const progress = this.lessons.map(({ name }) => lessonProgress().of(name));
    const isDone = [];
    for (const [i, { state, fill }] of this.cards.entries()) {
      const { place, ended } = progress[i];
      const { name, places, asked } = this.lessons[i];
      const answered = lessonProgress().count(name);
      isDone[i] = ended && answered >= asked;
      const read = `read, ${answered} of ${asked} answered`;
      const way = ended ? read : `at ${place} of ${places}`;
      setText(state, place ? ` · ${isDone[i] ? "done" : way}` : "");
      fill.style.width = `${(100 * (ended ? answered : place)) / (ended ? asked : places)}%`;
    }
    const done = isDone.filter(Boolean).length;
    setText(this.find(".done"), `${done} of ${this.lessons.length} lessons done in this browser.`);
    this.find(".reset").disabled = !progress.some(({ place }) => place);
  }

  close() {
    super.close();
    lessonProgress().listeners.delete(this.heard);
  }
}

export default mountable(LessonList);
