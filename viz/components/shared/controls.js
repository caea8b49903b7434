// Parts of a page: elements, whose text is always set as text, and the controls of a draw style.

import { colorMapNames } from "./colors.js";
import { percent } from "./text.js";

export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function radio(name, label) {
  return element("input", { type: "radio", name, "aria-label": label });
}

// A bar that is filled up to a share.
export function shareBar(share) {
  const fill = element("span", { class: "fill" });
  fill.style.width = `${(100 * share).toFixed(2)}%`;
  return element("span", { class: "track" }, fill);
}

// A row of a list of shares: a name, a bar, a percentage.
export function shareRow(tag, name, share) {
  return element(
    tag,
    { class: "share-row" },
    element("bdi", { class: "name", title: name }, name),
    shareBar(share),
    element("span", { class: "value" }, percent(share)),
  );
}

// The controls that a component has for its draw style, each named by its class.
const CONTROLS = {
  opacity: { event: "input", read: (node) => Number(node.value), show: "value" },
  colors: { event: "change", read: (node) => node.value, show: "value" },
  scaling: { event: "change", read: (node) => node.value, show: "value" },
  lines: { event: "change", read: (node) => node.checked, show: "checked" },
  smooth: { event: "change", read: (node) => node.checked, show: "checked" },
};

// Call `change` with the entry of the style that was chosen.
export function listenToStyle(component, change) {
  const names = colorMapNames().map((name) => element("option", {}, name));
  component.find(".colors").replaceChildren(...names);
  for (const [entry, { event, read }] of Object.entries(CONTROLS)) {
    const node = component.find(`.${entry}`);
    if (node) component.on(node, event, () => change({ [entry]: read(node) }));
  }
}

export function showStyle(component, style) {
  for (const [entry, { show }] of Object.entries(CONTROLS)) {
    const node = component.find(`.${entry}`);
    if (node) node[show] = style[entry];
  }
}
