// A picture with its boxes on a canvas.

import { colourOf } from "./colours.js";

const LABELS_FROM_PX = 200;

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
  const named = labels ?? width >= LABELS_FROM_PX;
  // The surest last, so that its name lies on top.
  for (let index = boxes.length - 1; index >= 0; index -= 1) {
    if (index !== marked) box(context, at, boxes[index], { named, faint: marked >= 0 });
  }
  if (boxes[marked]) box(context, at, boxes[marked], { named: true, faint: false });
}

function box(context, at, [label, score, x1, y1, x2, y2], { named, faint }) {
  const colour = colourOf(label);
  const [x, y] = [at.x + x1 * at.w, at.y + y1 * at.h];
  const [w, h] = [(x2 - x1) * at.w, (y2 - y1) * at.h];
  context.globalAlpha = faint ? 0.35 : 1;
  context.lineJoin = "round";
  context.strokeStyle = "rgba(0, 0, 0, 0.55)";
  context.lineWidth = 3.5;
  context.strokeRect(x, y, w, h);
  context.strokeStyle = colour;
  context.lineWidth = 1.75;
  context.strokeRect(x, y, w, h);
  if (named) name(context, at, `${label} ${Math.round(score * 100)}`, colour, x, y, h);
  context.globalAlpha = 1;
}

function name(context, at, text, colour, x, y, h) {
  context.font = "600 11px system-ui, sans-serif";
  context.textBaseline = "middle";
  const width = context.measureText(text).width + 8;
  const left = Math.max(at.x, Math.min(x - 1, at.x + at.w - width));
  const top = y - 15 >= at.y ? y - 15 : Math.min(y + h, at.y + at.h - 15);
  context.fillStyle = colour;
  context.fillRect(left, top, width, 15);
  context.fillStyle = "#10141a";
  context.fillText(text, left + 4, top + 8);
}
