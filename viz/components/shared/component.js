// What every component has in common: one instance a place on the page, kept while the page runs
// again; its listeners, frames and timers; and a sentence in its place where something fails.

import { answersFor, NotAnswered } from "./answers.js";
import { element } from "./controls.js";
import { unpack } from "./payload.js";
import { projector } from "./projector.js";

// A component of a class, as Streamlit mounts it: called at the first mount, at each new payload
// and at each change of the theme; what it returns is called when the component leaves the page.
export function mountable(Kind) {
  const instances = new WeakMap();
  return (page) => {
    const place = page.parentElement;
    const close = () => {
      instances.get(place)?.close();
      instances.delete(place);
    };
    const fail = (error) => {
      close();
      showFailure(place, Kind.selector, error);
    };
    try {
      let instance = instances.get(place);
      if (!instance) {
        hideFailure(place, Kind.selector);
        instance = new Kind(place.querySelector(Kind.selector));
        instance.fail = fail;
        instances.set(place, instance);
      }
      instance.update(page);
    } catch (error) {
      fail(error);
    }
    return close;
  };
}

function showFailure(place, selector, error) {
  console.error(error);
  hideFailure(place, selector);
  const sentence = `This part of the page could not be drawn. ${error.message}`;
  place.append(element("p", { class: "failure", role: "alert" }, sentence));
  const root = place.querySelector(selector);
  if (root) root.style.display = "none";
}

function hideFailure(place, selector) {
  place.querySelector(".failure")?.remove();
  const root = place.querySelector(selector);
  if (root) root.style.display = "";
}

// The base of all components. A subclass names its outermost element in a static `selector`, takes
// a payload in `receive(header, arrays)`, and draws in `draw()`.
export class Component {
  constructor(root) {
    this.root = root;
    this.sizes = new ResizeObserver(this.guard(() => this.schedule()));
    this.onProjector = this.guard(() => {
      projector().mark(this.root);
      this.schedule();
    });
    projector().mark(this.root);
    projector().listeners.add(this.onProjector);
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  // Take what Streamlit gives: the data, and how values are sent back to Python. Another host may
  // give `ask`, which then takes the place of the server's routes: see answers.js.
  update({ data, setStateValue, setTriggerValue, ask }) {
    Object.assign(this, { setStateValue, setTriggerValue, ask });
    if (data && data !== this.received) {
      this.received = data;
      const { header, arrays } = unpack(data);
      this.answers = answersFor(header, arrays, ask);
      this.receive(header, arrays);
    }
    if (data) this.schedule(); // after a change of the theme, too
  }

  // A function that may be called at any time: what it throws becomes a sentence on the page.
  guard(action) {
    return (...given) => {
      if (this.closed) return;
      try {
        action(...given);
      } catch (error) {
        this.fail(error);
      }
    };
  }

  on(node, event, action) {
    node[`on${event}`] = this.guard(action);
  }

  // Draw in the next frame, once however often it is asked for.
  schedule() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(this.guard(() => this.draw()));
  }

  // Do something once, after a while; a later call takes the place of an earlier one.
  later(action, milliseconds) {
    clearTimeout(this.timer);
    this.timer = setTimeout(this.guard(action), milliseconds);
  }

  // Draw with the photo once it is here; a photo that another has overtaken is dropped. A component
  // with several has an object of its own for each, which then gets it as its `photo`.
  loadPhoto(name = "photo", place = this) {
    const asked = this.answers.photo(name);
    if (place.asked === asked) return;
    place.asked = asked;
    place.photo = null;
    this.wait(asked, (photo) => {
      if (place.asked === asked) place.photo = photo;
    });
  }

  // Draw once an answer is here. Where the server has let it go, the page runs again, once.
  wait(answer, use = () => {}) {
    answer.then(
      this.guard((found) => {
        use(found);
        this.schedule();
      }),
      this.guard((error) => {
        if (!(error instanceof NotAnswered) || this.hasAsked) throw error;
        this.hasAsked = true;
        this.setTriggerValue?.("lost", error.status);
      }),
    );
  }

  // Do something when the component comes near the part of the page that is seen.
  whenNear(action) {
    const act = this.guard(action);
    this.nearness = new IntersectionObserver(
      (entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        this.nearness.disconnect();
        act();
      },
      { rootMargin: "300px" },
    );
    this.nearness.observe(this.root);
  }

  // Draw whenever the view that the page's components share changes.
  follow(view) {
    if (this.followed === view) return;
    this.unfollow();
    this.followed = view;
    this.onView ??= this.guard(() => this.viewChanged());
    view.listeners.add(this.onView);
  }

  unfollow() {
    this.followed?.listeners.delete(this.onView);
  }

  viewChanged() {
    this.schedule();
  }

  close() {
    this.closed = true;
    this.unfollow();
    projector().listeners.delete(this.onProjector);
    this.nearness?.disconnect();
    this.sizes.disconnect();
    clearTimeout(this.timer);
    cancelAnimationFrame(this.frame);
  }
}
