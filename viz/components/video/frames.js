// The frames of a clip as pictures: decoded when they are needed, and few of them kept.

import { mutedPhoto } from "../shared/drawing.js";

const KEPT = 32; // decoded frames, the newest last
const AHEAD = 3; // frames decoded before they are shown

export class Frames {
  constructor({ sizes, photos }, loaded) {
    this.loaded = loaded; // called when a frame has come
    this.parts = [];
    let start = 0;
    for (const size of sizes) {
      this.parts.push(photos.subarray(start, start + size));
      start += size;
    }
    this.kept = new Map(); // a frame's number -> its picture, or null while it is decoded
  }

  // The picture of a frame; null while it is not here yet. The next ones are decoded meanwhile.
  at(number) {
    for (let next = number; next <= number + AHEAD; next++) this.decode(next % this.parts.length);
    return this.kept.get(number);
  }

  async decode(number) {
    if (this.kept.has(number)) return;
    this.kept.set(number, null);
    for (const old of [...this.kept.keys()].slice(0, -KEPT)) this.kept.delete(old);
    const jpeg = new Blob([this.parts[number]], { type: "image/jpeg" });
    const picture = await createImageBitmap(jpeg);
    if (!this.kept.has(number)) return;
    this.kept.set(number, picture);
    this.loaded(number);
  }
}

// A frame on a canvas, muted as under every map.
export function drawMuted(canvas, picture, style) {
  const muted = mutedPhoto(picture, canvas.width, canvas.height, style);
  const context = canvas.getContext("2d");
  context.drawImage(muted, 0, 0);
  return context;
}
