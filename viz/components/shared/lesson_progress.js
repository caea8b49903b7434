// How far somebody has come with the lessons. It stays in this browser; nobody is asked for a name.

import { pageWide } from "./page_wide.js";

const PLACE = "saccade.lessons";

export function lessonProgress() {
  return pageWide("lesson progress", () => new LessonProgress(globalThis.localStorage));
}

export class LessonProgress {
  listeners = new Set();

  // `storage`: where it is kept. A browser may refuse it; then it lasts as long as the page.
  constructor(storage) {
    this.storage = storage;
    this.kept = {};
    try {
      const kept = JSON.parse(storage.getItem(PLACE));
      if (kept && typeof kept === "object" && !Array.isArray(kept)) this.kept = kept;
    } catch {
      // Nothing was kept, or nothing that can be read: it begins anew.
    }
  }

  // How far one lesson is: its furthest place, whether its end was reached, which steps were done,
  // and what was answered.
  of(lesson) {
    const { place = 0, ended = false, done = {}, answers = {} } = this.kept[lesson] ?? {};
    return { place, ended, done, answers };
  }

  // How many of a lesson's doings, guesses and questions were done or answered.
  count(lesson) {
    const { done, answers } = this.of(lesson);
    return Object.keys(done).length + Object.keys(answers).length;
  }

  reach(lesson, place, places) {
    const old = this.of(lesson);
    const ended = old.ended || place === places;
    this.keep(lesson, { ...old, place: Math.max(old.place, place), ended });
  }

  // A step was done: its guess was made, or what it asks for was noticed.
  do(lesson, place) {
    const old = this.of(lesson);
    if (!old.done[place]) this.keep(lesson, { ...old, done: { ...old.done, [place]: true } });
  }

  answer(lesson, question, answer, isRight) {
    const old = this.of(lesson);
    this.keep(lesson, { ...old, answers: { ...old.answers, [question]: [answer, isRight] } });
  }

  reset() {
    this.kept = {};
    this.write();
  }

  keep(lesson, progress) {
    this.kept[lesson] = progress;
    this.write();
  }

  write() {
    try {
      this.storage.setItem(PLACE, JSON.stringify(this.kept));
    } catch {
      // Storage is full or refused; the lesson goes on.
    }
    for (const listener of this.listeners) listener();
  }
}
