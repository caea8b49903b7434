// The view that the components of a page share: what one of them changes, all of them draw. It goes
// into the address, and the server is told of it before a rerun could need it.

import { CAPTION_NAMES, captionParams, VIEW_NAMES, viewParams } from "./address.js";
import { pageHistory } from "./history.js";
import { pageWide } from "./page_wide.js";

const AFTER = 250; // milliseconds without a change until a choice counts as made

// The view of a scope, such as "explore"; it stays while the page is away.
export function sharedView(scope) {
  return pageWide(`view ${scope}`, () => new SharedView(scope));
}

// The view of the pages on which attention is looked at, begun from a payload's header. Where several
// figures share a page, as in a notebook, each has a `scope` of its own.
export function beginView(header, answers) {
  const shared = sharedView(header.scope ?? "explore");
  shared.begin({
    view: header.view,
    revision: header.revision,
    names: VIEW_NAMES,
    write: (view) => viewParams(view, header),
    report: answers.ask,
  });
  return shared;
}

// The view of a caption.
export function beginCaptionView({ view, style, revision, scope }, answers) {
  const shared = sharedView(scope ?? "captions");
  const { colors, opacity, smooth } = style;
  shared.begin({
    view: { ...view, colors, opacity, smooth },
    revision,
    names: CAPTION_NAMES,
    write: captionParams,
    report: answers.ask,
  });
  return shared;
}

class SharedView {
  listeners = new Set();
  names = []; // of the address's parameters that this view writes

  constructor(scope) {
    this.scope = scope;
    // A click elsewhere may lead to a rerun, which should know the view.
    const settle = () => this.settle();
    for (const event of ["pointerdown", "focusin"]) document.addEventListener(event, settle, true);
  }

  // Take Python's view, if it was changed there, and how views are written and reported.
  begin({ view, revision, write, names, report }) {
    Object.assign(this, { write, names, report });
    const isNew = revision !== this.revision;
    if (isNew) {
      clearTimeout(this.timer);
      this.unsettled = false;
      this.revision = revision;
      this.values = { ...view };
    }
    pageHistory().follow(this);
    if (isNew) this.tell();
  }

  // Somebody chose: draw at once; the address and the server follow.
  change(update, after = AFTER) {
    Object.assign(this.values, update);
    this.unsettled = true;
    this.tell();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.settle(), after);
  }

  // Show a view of the history.
  restore(values) {
    this.unsettled = false;
    clearTimeout(this.timer);
    this.values = { ...values };
    this.tell();
    this.send();
  }

  settle() {
    if (!this.unsettled) return;
    this.unsettled = false;
    clearTimeout(this.timer);
    pageHistory().step();
    this.send();
  }

  send() {
    const { scope, values, revision } = this;
    // A report that is lost costs nothing but a rerun with the view before.
    this.report?.("view", { scope, view: { ...values, revision } })?.catch(() => {});
  }

  tell() {
    for (const listen of this.listeners) listen();
  }
}
