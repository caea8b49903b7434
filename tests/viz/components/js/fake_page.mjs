// As much of a browser as the component base needs: nodes, frames, and photos to decode.

class FakeNode {
  constructor(tag, className = "") {
    Object.assign(this, { tag, className, children: [], style: {}, attributes: {}, dataset: {} });
  }

  setAttribute(name, value) {
    if (name === "class") this.className = value;
    else this.attributes[name] = value;
  }

  append(...nodes) {
    for (const node of nodes) {
      if (node instanceof FakeNode) node.parent = this;
      this.children.push(node);
    }
  }

  remove() {
    this.parent.children = this.parent.children.filter((node) => node !== this);
  }

  querySelector(selector) {
    const nodes = this.children.filter((node) => node instanceof FakeNode);
    return (
      nodes.find((node) => `.${node.className}` === selector) ??
      nodes.map((node) => node.querySelector(selector)).find(Boolean) ??
      null
    );
  }

  get textContent() {
    return this.children.map((child) => child.textContent ?? child).join("");
  }
}

// A place for a component whose outermost element has a class.
export function fakePlace(className) {
  const place = new FakeNode("div");
  place.append(new FakeNode("section", className));
  return place;
}

// Install the globals; call the result to let the next frame come.
export function fakeBrowser(decode = async () => ({ width: 4, height: 3 })) {
  const frames = new Map();
  let next = 1;
  Object.assign(globalThis, {
    document: { createElement: (tag) => new FakeNode(tag) },
    ResizeObserver: class {
      disconnect() {}
    },
    requestAnimationFrame: (action) => {
      frames.set(next, action);
      return next++;
    },
    cancelAnimationFrame: (id) => frames.delete(id),
    createImageBitmap: decode,
  });
  return () => {
    const due = [...frames.values()];
    frames.clear();
    for (const action of due) action();
    return due.length;
  };
}
