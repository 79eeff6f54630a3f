// A colour for each label, the same everywhere on the page, and nearly always the same tomorrow.

const PALETTE = ["#ff8a5c", "#3fc1ff", "#5fd68a", "#ffd24d", "#d59bff", "#ff8fc0", "#35d6c8", "#b7dd3f", "#ff6f6f", "#8fa8ff"];
const MOST = 500;
const given = new Map();
const taken = new Set();

function hash(text) {
  let value = 501;
  for (const char of text) value = (value * 31 + char.codePointAt(0)) >>> 0;
  return value;
}

/** Bright enough on pictures. Labels share a colour only when all are taken. */
export function colourOf(label) {
  if (given.has(label)) return given.get(label);
  const first = hash(label) % PALETTE.length;
  const free = PALETTE.findIndex((_, step) => !taken.has((first + step) % PALETTE.length));
  const index = (first + Math.max(free, 0)) % PALETTE.length;
  if (given.size < MOST) {
    given.set(label, PALETTE[index]);
    taken.add(index);
  }
  return PALETTE[index];
}
