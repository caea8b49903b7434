// What one does with a photo, in the words of the pointer there is: a mouse points and clicks, a
// finger taps.

const WORDS = [
  [/,? or tap it\b/g, ""],
  [/\b(click|Click) or tap\b/g, "$1"],
  [/\bMove the mouse over\b|\bPoint at\b|\bClick on\b|\bClick\b/g, "Tap"],
  [/\bmove the mouse over\b|\bpoint at\b|\bclick on\b|\bclick\b/g, "tap"],
];

export function hasFinger() {
  return globalThis.matchMedia?.("(pointer: coarse)").matches ?? false;
}

// A text that is written for a mouse, for the pointer that there is.
export function forPointer(text, isFinger = hasFinger()) {
  if (!isFinger) return text;
  return WORDS.reduce((sentence, [words, instead]) => sentence.replace(words, instead), text);
}

// Whether a mouse points. What a finger chose stays when it lifts.
export function isMouse(event) {
  return event.pointerType === "mouse";
}
