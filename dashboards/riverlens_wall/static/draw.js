// A picture with its boxes on a canvas.

import { colourOf } from "./colours.js";

const LABELS_FROM_PX = 170;
const SCORES_FROM_PX = 360;
const SMALL_PX = 260;

/** Where a picture of `size` lies in a canvas, whole and centred. */
export function placed(width, height, size) {
  const scale = Math.min(width / size[0], height / size[1]);
  const w = size[0] * scale;
  const h = size[1] * scale;
  return { x: (width - w) / 2, y: (height - h) / 2, w, h };
}

/** Match the canvas's pixels to the screen's; returns its size in CSS pixels. */
function fit(canvas) {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

/** Draw `image` (or a plain ground where there is none), then boxes as [label, score, x1, y1, x2, y2]. */
export function draw(canvas, image, size, boxes, { marked = -1, labels = undefined } = {}) {
  const { context, width, height } = fit(canvas);
  if (!width || !height) return;
  const real = size ?? (image ? [image.width, image.height] : [4, 3]);
  const at = placed(width, height, real);
  if (image) {
    context.drawImage(image, at.x, at.y, at.w, at.h);
  } else if (size) {
    context.fillStyle = "#20262e";
    context.fillRect(at.x, at.y, at.w, at.h);
  }
  const scale = width < SMALL_PX ? 0.75 : 1;
  const shown = boxes.map((each, index) => ({ each, index, at: corners(at, each) }));
  // The surest last, so that it lies on top.
  for (const one of [...shown].reverse()) outline(context, one, { scale, faint: marked >= 0 && one.index !== marked });
  if (marked >= 0 && boxes[marked]) name(context, at, shown[marked], [], true);
  else if (labels || width >= LABELS_FROM_PX) {
    const taken = [];
    for (const one of shown) name(context, at, one, taken, labels || width >= SCORES_FROM_PX);
  }
}

function corners(at, [, , x1, y1, x2, y2]) {
  return { x: at.x + x1 * at.w, y: at.y + y1 * at.h, w: (x2 - x1) * at.w, h: (y2 - y1) * at.h };
}

function outline(context, { each: [label], at }, { scale, faint }) {
  context.globalAlpha = faint ? 0.35 : 1;
  context.lineJoin = "round";
  context.strokeStyle = "rgba(0, 0, 0, 0.5)";
  context.lineWidth = 3.5 * scale;
  context.strokeRect(at.x, at.y, at.w, at.h);
  context.strokeStyle = colourOf(label);
  context.lineWidth = 1.75 * scale;
  context.strokeRect(at.x, at.y, at.w, at.h);
  context.globalAlpha = 1;
}

/** A label by its box, the surest first; one that would cover another is left out: the box's colour tells it. */
function name(context, picture, { each: [label, score], at }, taken, scored) {
  const text = scored ? `${label} ${Math.round(score * 100)}%` : label;
  context.font = `600 ${scored ? 11 : 10}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  const height = scored ? 15 : 13;
  const width = context.measureText(text).width + 7;
  const x = Math.max(picture.x, Math.min(at.x - 1, picture.x + picture.w - width));
  const y = at.y - height >= picture.y ? at.y - height : Math.min(at.y + at.h, picture.y + picture.h - height);
  const covers = taken.some((other) => x < other.x + other.w && other.x < x + width && y < other.y + other.h && other.y < y + height);
  if (covers) return;
  taken.push({ x, y, w: width, h: height });
  context.fillStyle = colourOf(label);
  context.fillRect(x, y, width, height);
  context.fillStyle = "#10141a";
  context.fillText(text, x + 3.5, y + height / 2 + 0.5);
}
