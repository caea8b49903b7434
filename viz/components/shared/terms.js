// Terms within a text: each is a button, and its meaning shows on hover, tap or focus.

import { element } from "./controls.js";
import { inlineText } from "./inline_text.js";
import { forPointer } from "./pointer.js";

const WORD_JOINER = "\u2060"; // no line ends between a term and the full stop behind it
const EDGE = 8; // pixels between a meaning and the edge of the screen

// The nodes of a text. `parts` are texts, and [words, name, meaning] of each term.
export function explainedText(component, parts) {
  return parts.flatMap((part) =>
    typeof part === "string" ? inlineText(forPointer(part)) : explainedTerm(component, part),
  );
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
  return [button, WORD_JOINER, meaning];
}

// Below the term, or above it where there is no room below; never over the edge of the screen.
function place(meaning, { left, top, bottom }) {
  const { width, height } = meaning.getBoundingClientRect();
  const isBelow = bottom + height + EDGE < innerHeight;
  meaning.style.left = `${Math.max(EDGE, Math.min(left, innerWidth - width - EDGE))}px`;
  meaning.style.top = `${isBelow ? bottom + 4 : top - height - 4}px`;
}
