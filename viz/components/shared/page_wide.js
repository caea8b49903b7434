// Things of which a page has one. Each component is a script of its own, so what they share stands
// on the window.

const PLACE = Symbol.for("saccade");

// The page's one thing of a name, made by whoever asks first.
export function pageWide(name, make) {
  globalThis[PLACE] ??= new Map();
  const things = globalThis[PLACE];
  if (!things.has(name)) things.set(name, make());
  return things.get(name);
}
