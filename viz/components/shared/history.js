// The browser's history: the address of what is shown, and Back and Forward.
//
// Python says the address of a page (see viz/components/address); a view that the browser changes
// alone writes its own parameters into it. A step is made for each choice. Back and Forward between
// two views are drawn here; where more than the view differs, Python is asked to open the address.
// (Streamlit runs the page again on each of them, whatever we do, but nothing is computed anew.)

import { pageWide } from "./page_wide.js";

export function pageHistory() {
  return pageWide("history", () => new PageHistory());
}

function queryOf(params) {
  return new URLSearchParams(params).toString();
}

// Parameters without those of some names.
function without(params, names) {
  return Object.fromEntries(Object.entries(params).filter(([name]) => !names.includes(name)));
}

// Whether two addresses differ in no more than the screen for which they are drawn: to switch to a
// projector is no step.
function isSameView(query, other) {
  const [one, two] = [query, other].map((text) => {
    const params = new URLSearchParams(text);
    params.delete("projector");
    return params.toString();
  });
  return one === two;
}

class PageHistory {
  // Functions that are called after each change of the address.
  listeners = new Set();

  constructor() {
    addEventListener("popstate", (event) => this.onMove(event));
    this.push = history.pushState.bind(history);
    history.pushState = (state, title, address) => {
      if (!this.onlyClears(address)) this.push(state, title, address);
    };
  }

  // Whether a step leads to the page that is shown, without its parameters. Streamlit makes one as
  // Python opens another page, and Back would have to be pressed twice.
  onlyClears(address) {
    return address === location.pathname && this.hasArrived && location.search !== "";
  }

  // A view that writes parameters of its own: see SharedView.
  follow(view) {
    this.view = view;
  }

  // Take the address as Python has it: parameters, the scope of the view on the page, the session,
  // and a function that asks Python to open another address.
  take({ params, scope, session, open }) {
    const isNew = this.session !== undefined && this.session !== session;
    const arrived = this.path !== location.pathname;
    Object.assign(this, { params, scope, session, open, path: location.pathname });
    const query = this.query();
    const there = location.search.slice(1);
    // What the address says counts after Back to another page, where the session has gone on, and
    // after a new start of the server, which knows the first address alone.
    const isRight = (arrived && this.hasMoved) || (isNew && !arrived);
    this.hasMoved = false;
    if (isRight && there && there !== query) {
      this.shown = there;
      this.ask(location.search);
      return;
    }
    const isStep = !arrived && !this.opening && !isSameView(this.shown, query);
    this.opening = false;
    this.write(query, isStep);
    this.tell();
  }

  // The view has changed.
  step() {
    if (!this.params || !this.isViews) return;
    this.write(this.query(), true);
    this.tell();
  }

  tell() {
    for (const listener of this.listeners) listener();
  }

  // Whether the page that is shown has run to its end.
  get hasArrived() {
    return this.path === location.pathname;
  }

  get isViews() {
    return this.view !== undefined && this.view.scope === this.scope;
  }

  query() {
    const own = this.isViews ? this.view.write(this.view.values) : {};
    return queryOf({ ...this.rest, ...own });
  }

  // What the address says besides the view.
  get rest() {
    return this.isViews ? without(this.params, this.view.names) : this.params;
  }

  write(query, isStep) {
    const address = `${location.pathname}${query ? `?${query}` : ""}${location.hash}`;
    const views = this.isViews ? this.view.values : null;
    const state = { saccade: { rest: queryOf(this.rest), view: views && { ...views } } };
    if (isStep && query !== this.shown) this.push(state, "", address);
    else history.replaceState(state, "", address);
    this.shown = query;
  }

  // Back or Forward.
  onMove(event) {
    this.hasMoved = location.pathname !== this.path;
    if (this.hasMoved || !this.params) return; // another page is Streamlit's
    const query = location.search.slice(1);
    if (query === this.shown) return; // a place on the page
    this.shown = query;
    const { rest, view } = event.state?.saccade ?? {};
    if (view && this.isViews && rest === queryOf(this.rest)) this.view.restore(view);
    else this.ask(location.search);
  }

  ask(query) {
    this.opening = true;
    this.open(query);
  }
}
