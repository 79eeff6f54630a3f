// A colour for each label, the same everywhere on the page while it is open.

const PALETTE = ["#ff8a5c", "#3fc1ff", "#5fd68a", "#ffd24d", "#d59bff", "#ff8fc0", "#35d6c8", "#b7dd3f", "#ff6f6f", "#8fa8ff"];
const given = new Map();

/** Bright enough on pictures; further labels share colours. */
export function colourOf(label) {
  if (!given.has(label)) {
    if (given.size >= 500) return PALETTE[label.length % PALETTE.length];
    given.set(label, PALETTE[given.size % PALETTE.length]);
  }
  return given.get(label);
}
