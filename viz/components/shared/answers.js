// Answers about what a page shows: a photo, a layer's queries and keys, a rollout row. Whatever
// came with the payload is taken from there; the rest is asked for, once for all components.

import { pageWide } from "./page_wide.js";
import { unpack } from "./payload.js";

const SOURCES = 6; // whose answers are kept, the newest last; a photo is a source of its own
const FEW = 400; // answers of one source; rollout has one for each patch

// The answers for a payload. Its header names the source of answers and the photos, each of which is
// a source of its own, and has the key that lets this browser in. `ask` is a function (question,
// message, source) -> Promise of bytes; the server's routes where it is not given.
export function answersFor(header, arrays, ask) {
  const { source, key } = header;
  const answers = answersOf(source, key, arrays, ask);
  answers.photo = (name = "photo") =>
    header[name]
      ? answersOf(header[name], key, {}, ask).once("photo", decode)
      : answers.once(name, decode);
  return answers;
}

function answersOf(source, key, arrays, ask) {
  const sources = pageWide("answers", () => new Map());
  const answers = sources.get(source) ?? new Answers();
  answers.ask = ask ? (question, message) => ask(question, message, source) : askRoute(source, key);
  answers.arrays = { ...answers.arrays, ...arrays };
  sources.delete(source);
  if (source) sources.set(source, answers); // without one, the answers are this payload's own
  for (const old of [...sources.keys()].slice(0, -SOURCES)) sources.delete(old);
  return answers;
}

class Answers {
  kept = new Map(); // a question -> the promise of its answer
  done = new Map(); // a question -> its answer

  // A part that was packed as a payload: its header and its arrays in one object.
  part(question) {
    return this.once(question, (bytes) => {
      const { header, arrays } = unpack(bytes);
      return { ...header, ...arrays };
    });
  }

  // The answer if it is here already.
  here(question) {
    return this.done.get(question);
  }

  once(question, read) {
    if (!this.kept.has(question)) {
      if (this.kept.size >= FEW) this.forget(this.kept.keys().next().value);
      const inline = this.arrays[question];
      const bytes = inline ? Promise.resolve(inline) : this.ask(question);
      const answer = bytes.then(read);
      this.kept.set(question, answer);
      answer.then(
        (found) => this.done.set(question, found),
        () => this.forget(question), // so that it can be asked again
      );
    }
    return this.kept.get(question);
  }

  forget(question) {
    this.kept.delete(question);
    this.done.delete(question);
  }
}

// The server's routes as a function to ask. A message is handed over, and has no answer.
function askRoute(source, key) {
  return async (question, message) => {
    if (!key) throw new Error("The page does not say whom to ask.");
    const path = message ? question : `${source}/${question}`;
    const address = new URL(`look/${path}`, document.baseURI);
    const headers = { "X-Saccade-Key": key };
    const handedOver = { method: "POST", keepalive: true, body: JSON.stringify(message) };
    const response = await fetch(address, { headers, ...(message ? handedOver : {}) });
    if (!response.ok) throw new NotAnswered(response.status);
    return new Uint8Array(await response.arrayBuffer());
  };
}

// The server does not answer any more: it was started anew, or what was asked about made room.
export class NotAnswered extends Error {
  constructor(status) {
    super("The server has let go of this photo. Reload the page.");
    this.status = status;
  }
}

async function decode(jpeg) {
  try {
    return await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
  } catch {
    throw new Error("The photo could not be decoded.");
  }
}
