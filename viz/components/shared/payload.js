// Reads what viz/components/payload.py packs: a length, a JSON header, then arrays back to back.

const TYPES = {
  uint8: [1, Uint8Array],
  float16: [2, Uint16Array],
  float32: [4, Float32Array],
  uint32: [4, Uint32Array],
};

// Bytes -> the header, and its arrays by name; an error that says what is wrong with the bytes.
export function unpack(bytes) {
  const { header, start } = readHeader(bytes);
  const arrays = {};
  let next = 0; // where the next array must begin
  for (const { name, type, shape, offset } of header.arrays) {
    if (!Object.hasOwn(TYPES, type)) throw damaged(`“${name}” is of the unknown type ${type}`);
    const [size, Type] = TYPES[type];
    const length = size * countOf(name, shape);
    if (offset !== next) throw damaged(`“${name}” does not begin where the array before it ends`);
    if (start + offset + length > bytes.byteLength) throw damaged(`“${name}” is cut off`);
    const data = bytes.slice(start + offset, start + offset + length);
    const typed = new Type(data.buffer, data.byteOffset, length / size);
    arrays[name] = type === "float16" ? floatsFromHalves(typed) : typed;
    next = offset + Math.ceil(length / 4) * 4;
  }
  return { header, arrays };
}

function readHeader(bytes) {
  if (bytes.byteLength < 4) throw damaged("there is no header");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = 4 + view.getUint32(0, true);
  if (start > bytes.byteLength) throw damaged("the header is cut off");
  let header;
  try {
    header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, start)));
  } catch {
    throw damaged("the header is no JSON");
  }
  if (!Array.isArray(header?.arrays)) throw damaged("the header lists no arrays");
  return { header, start };
}

function countOf(name, shape) {
  const whole = Array.isArray(shape) && shape.every((side) => Number.isInteger(side) && side >= 0);
  if (!whole) throw damaged(`“${name}” has no valid shape`);
  return shape.reduce((product, side) => product * side, 1);
}

function damaged(reason) {
  return new Error(`What the server sent is damaged: ${reason}.`);
}

let halves = null; // every float16 there is, by its bits

function floatsFromHalves(bits) {
  halves ??= allHalves();
  const floats = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) floats[i] = halves[bits[i]];
  return floats;
}

function allHalves() {
  const values = new Float32Array(65536);
  for (let i = 0; i < 65536; i++) {
    const sign = i & 0x8000 ? -1 : 1;
    const exponent = (i >> 10) & 31;
    const fraction = i & 1023;
    if (exponent === 31) values[i] = fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
    else if (exponent === 0) values[i] = sign * fraction * 2 ** -24;
    else values[i] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return values;
}
