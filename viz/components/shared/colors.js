// Colour maps as tables of RGBA words. COLOR_TABLES is written above the joined modules by
// viz/components/mounts.py: 256 colours a name, in hexadecimal.

const palettes = new Map();

export function colorMapNames() {
  return Object.keys(COLOR_TABLES);
}

// The 256 steps of a style's colour map, whose opacity grows with the value.
export function palette({ colors, opacity, gamma }) {
  const id = `${colors} ${opacity} ${gamma}`;
  if (!palettes.has(id)) {
    const alpha = (step) => Math.round(255 * opacity * (step / 255) ** gamma);
    palettes.set(id, wordsOf(colors, alpha));
  }
  return palettes.get(id);
}

// The same colours, opaque: for scales, and for maps that lie over no photo.
export function opaquePalette(colors) {
  if (!palettes.has(colors))
    palettes.set(
      colors,
      wordsOf(colors, () => 255),
    );
  return palettes.get(colors);
}

function wordsOf(colors, alpha) {
  const table = COLOR_TABLES[colors];
  if (!table) throw new Error(`There is no colour map called ${colors}.`);
  const words = new Uint32Array(256);
  for (let step = 0; step < 256; step++) {
    const rgb = Number.parseInt(table.slice(6 * step, 6 * step + 6), 16);
    words[step] = (alpha(step) << 24) | ((rgb & 255) << 16) | (rgb & 0xff00) | (rgb >> 16);
  }
  return words;
}
