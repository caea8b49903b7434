// A lesson at the foot of the page: what its step says, asks for and explains, and its quiz. It
// notices by the address when something was done. Progress stays in this browser.

import { showPicture } from "../screen/picture.js";
import { Component, mountable } from "../shared/component.js";
import { element, setText } from "../shared/controls.js";
import { pageHistory } from "../shared/history.js";
import { inlineText } from "../shared/inline_text.js";
import { lessonProgress } from "../shared/lesson_progress.js";
import { forPointer } from "../shared/pointer.js";
import { explainedText } from "../shared/terms.js";
import { isMet } from "./conditions.js";

const ACTS = ["pointerdown", "keydown"];

class Lesson extends Component {
  static selector = ".lesson";

  constructor(root) {
    super(root);
    const moves = { back: -1, next: 1 };
    for (const [name, by] of Object.entries(moves)) {
      this.on(this.find(`.${name}`), "click", () => this.go(this.place + by));
    }
    this.on(this.find(".leave"), "click", () => this.leave());
    this.on(this.find(".again"), "click", () => this.go(this.place));
    this.on(this.find(".fold"), "click", () => this.fold(!this.isFolded));
    this.on(this.find(".reveal"), "click", () => this.reveal());
    this.on(this.root, "keydown", (event) => {
      if (event.key === "Escape" && !this.find(".meaning:popover-open")) this.leave();
    });
    this.act = () => {
      this.hasActed = true;
    };
    for (const act of ACTS) document.addEventListener(act, this.act, { capture: true });
    this.heard = this.guard(() => this.hear());
    pageHistory().listeners.add(this.heard);
  }

  receive(header) {
    const isNew = header.lesson !== this.lesson || header.place !== this.place;
    Object.assign(this, header);
    if (!isNew) return;
    this.before = new URLSearchParams(this.step?.query ?? "");
    this.isBegun = this.hasActed = false;
    this.isDone = this.guessed = this.isRevealed = false;
    this.hasMoved = this.hasMoved !== undefined;
    lessonProgress().reach(this.lesson, this.place, this.places);
    this.build();
    this.hear();
  }

  // Go to a place. On another page the browser opens it, as Back would; but not before this page
  // has run, since Streamlit loses its way then.
  go(place) {
    const way = this.ways[place - 1];
    if (place > this.places) this.leave();
    else if (way && way[0] !== this.page && pageHistory().hasArrived) this.visit(way, place);
    else this.setTriggerValue("go", `${this.lesson}.${place}`);
  }

  visit([path, query], place) {
    const base = location.pathname.slice(0, location.pathname.length - this.page.length);
    const params = new URLSearchParams(query);
    params.set("lesson", `${this.lesson}.${place}`);
    history.pushState(null, "", `${base}${path}?${params}`);
    dispatchEvent(new PopStateEvent("popstate"));
  }

  // Whether the page that the step is about is shown.
  get here() {
    const way = this.ways[this.place - 1];
    return !way || way[0] === this.page;
  }

  leave() {
    this.setTriggerValue("go", "");
  }

  fold(isFolded) {
    this.isFolded = isFolded;
    this.schedule();
  }

  reveal() {
    this.isRevealed = true;
    this.schedule();
  }

  // The address has changed. It is the step's as soon as it names the step. What it is until somebody
  // does something is what the step begins with: a page writes it bit by bit.
  hear() {
    if (!this.step || !this.here) return;
    const now = new URLSearchParams(location.search);
    if (now.get("lesson") !== `${this.lesson}.${this.place}`) return;
    if (!this.isBegun) {
      this.isBegun = true;
      this.stopShowing?.();
      this.stopShowing = showPicture(this.root);
    }
    if (!this.hasActed) {
      for (const [name, value] of now) this.before.set(name, value);
      return;
    }
    const { done } = this.step;
    if (done.length && done.every((condition) => isMet(condition, now, this.before))) {
      this.isDone = true;
      lessonProgress().do(this.lesson, this.place);
      this.schedule();
    }
  }

  build() {
    const { step, quiz } = this;
    setText(this.find(".name"), this.title);
    setText(this.find(".count"), step ? `${this.place} of ${this.places}` : "Questions");
    this.find(".dots").replaceChildren(
      ...Array.from({ length: this.places }, (_, i) =>
        element("i", { class: i + 1 < this.place ? "past" : i + 1 === this.place ? "now" : "" }),
      ),
    );
    this.find(".told").hidden = this.find(".asked").hidden = !step;
    this.find(".quiz").hidden = !quiz;
    if (step) this.buildStep(step);
    else
      this.find(".quiz").replaceChildren(...quiz.map((question, i) => this.question(question, i)));
    if (this.hasMoved) this.find(step ? ".title" : ".quiz input")?.focus({ preventScroll: true });
    this.find(".body").scrollTop = 0;
  }

  buildStep({ title, text, guess, ...step }) {
    this.find(".title").textContent = title;
    this.find(".text").replaceChildren(...explainedText(this, text));
    this.find(".do").replaceChildren(...inlineText(forPointer(step.do)));
    this.find(".then").replaceChildren(...inlineText(forPointer(step.then)));
    this.find(".guess legend").replaceChildren(...inlineText(guess?.question ?? ""));
    const options = guess?.options ?? [];
    this.find(".options").replaceChildren(
      ...options.map((option, i) =>
        this.choice("guess", option, () => {
          this.guessed = i + 1;
          lessonProgress().do(this.lesson, this.place);
          this.schedule();
        }),
      ),
    );
  }

  choice(name, text, choose) {
    const input = element("input", { type: "radio", name });
    this.on(input, "change", choose);
    return element("label", { class: "choice" }, input, element("span", {}, ...inlineText(text)));
  }

  question({ question, answers }, number) {
    const reason = element("p", { class: "reason", "aria-live": "polite" });
    const choices = answers.map((answer, i) =>
      this.choice(`question ${number}`, answer.text, () => {
        lessonProgress().answer(this.lesson, number, i, answer.right);
        for (const [j, label] of choices.entries()) {
          label.classList.toggle("right", j === i && answer.right);
          label.classList.toggle("wrong", j === i && !answer.right);
        }
        const verdict = element("b", {}, answer.right ? "Right. " : "Not quite. ");
        reason.replaceChildren(verdict, ...inlineText(answer.reason));
      }),
    );
    const legend = element("legend", {}, `${number + 1}. `, ...inlineText(question));
    return element("li", {}, element("fieldset", {}, legend, ...choices, reason));
  }

  draw() {
    const { step } = this;
    this.root.classList.toggle("folded", Boolean(this.isFolded));
    this.find(".fold").setAttribute("aria-expanded", String(!this.isFolded));
    this.find(".back").disabled = this.place === 1;
    const isLast = this.place === this.places;
    const next = this.place === this.ways.length ? "Questions" : "Next step";
    setText(this.find(".next"), isLast ? "Finish" : next);
    if (!step) return;
    const isAsked = Boolean(step.do || step.guess);
    const isOpen = !isAsked || this.isRevealed || this.isDone || Boolean(this.guessed);
    this.find(".away").hidden = this.here;
    this.find(".task").hidden = !step.do;
    this.find(".task").classList.toggle("done", this.isDone);
    this.find(".guess").hidden = !step.guess;
    this.find(".reveal").hidden = isOpen;
    this.find(".then").hidden = !isOpen || !step.then;
    for (const [i, label] of [...this.root.querySelectorAll(".options .choice")].entries()) {
      const isRight = i + 1 === step.guess.right;
      label.classList.toggle("right", Boolean(this.guessed) && isRight);
      label.classList.toggle("wrong", this.guessed === i + 1 && !isRight);
    }
    this.find(".next").classList.toggle("ready", isOpen);
  }

  close() {
    super.close();
    this.stopShowing?.();
    for (const act of ACTS) document.removeEventListener(act, this.act, { capture: true });
    pageHistory().listeners.delete(this.heard);
  }
}

export default mountable(Lesson);
