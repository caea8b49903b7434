// Text with **bold**, *italic* and `code`, as nodes of a page; everything else stands as it is.

import { element } from "./controls.js";

const PARTS = /\*\*([^*]+)\*\*|\*([^*\s][^*]*)\*|`([^`]+)`/g;

// The parts of a text: [name of the element or null, its text].
export function partsOf(text) {
  const parts = [];
  let end = 0;
  for (const { 0: whole, 1: bold, 2: italic, 3: code, index } of text.matchAll(PARTS)) {
    if (index > end) parts.push([null, text.slice(end, index)]);
    parts.push(bold ? ["b", bold] : italic ? ["i", italic] : ["code", code]);
    end = index + whole.length;
  }
  if (end < text.length) parts.push([null, text.slice(end)]);
  return parts;
}

export function inlineText(text) {
  return partsOf(text).map(([tag, part]) => (tag ? element(tag, {}, part) : part));
}
