// Terms within a text: each is a button, and its meaning shows on hover, tap or focus.

import { element } from "./controls.js";
import { inlineText } from "./inline_text.js";
import { forPointer } from "./pointer.js";

const SIGN = /^[.,;:!?)]+/; // behind a term, on the same line
const EDGE = 8; // pixels between a meaning and the edge of the screen

// The nodes of a text. `parts` are texts, and [words, name, meaning] of each term.
export function explainedText(component, parts) {
  return parts.flatMap((part, i) => {
    if (typeof part !== "string")
      return element(
        "span",
        { class: "unbroken" },
        ...explainedTerm(component, part),
        signOf(parts[i + 1]),
      );
    const isBehind = i > 0 && typeof parts[i - 1] !== "string";
    return inlineText(forPointer(isBehind ? part.slice(signOf(part).length) : part));
  });
}

// Write a text with its terms into a node, unless it stands there already.
export function setExplained(component, node, parts) {
  const text = JSON.stringify(parts);
  if (node.dataset.explained === text) return;
  node.dataset.explained = text;
  node.replaceChildren(...explainedText(component, parts));
}

function signOf(part) {
  return typeof part === "string" ? (part.match(SIGN)?.[0] ?? "") : "";
}

function explainedTerm(component, [words, name, sentence]) {
  const id = `term-${name.replaceAll(" ", "-")}`;
  const meaning = element("span", { class: "meaning", role: "tooltip", popover: "auto", id });
  meaning.append(element("b", {}, name), `: ${sentence}`);
  const button = element("button", { type: "button", class: "term", "aria-describedby": id });
  button.append(words);
  const show = () => {
    meaning.showPopover?.();
    place(meaning, button.getBoundingClientRect());
  };
  const hide = () => meaning.hidePopover?.();
  component.on(button, "pointerenter", ({ pointerType }) => pointerType === "mouse" && show());
  component.on(button, "pointerleave", ({ pointerType }) => pointerType === "mouse" && hide());
  component.on(button, "focus", show);
  component.on(button, "blur", hide);
  component.on(button, "click", show);
  return [button, meaning];
}

// Below the term, or above it where there is no room below; never over the edge of the screen.
function place(meaning, { left, top, bottom }) {
  const { width, height } = meaning.getBoundingClientRect();
  const isBelow = bottom + height + EDGE < innerHeight;
  meaning.style.left = `${Math.max(EDGE, Math.min(left, innerWidth - width - EDGE))}px`;
  meaning.style.top = `${isBelow ? bottom + 4 : top - height - 4}px`;
}
