// JSON as a tree that folds, all of it text.

import { el } from "./dom.js";

const FOLD_FROM = 12;

function leaf(value) {
  const kind = value === null ? "null" : typeof value;
  return el("span", { class: `json-${kind}` }, JSON.stringify(value));
}

function label(name) {
  return name === null ? "" : el("span", { class: "json-name" }, typeof name === "number" ? `${name}: ` : `${JSON.stringify(name)}: `);
}

export function jsonTree(value, name = null, depth = 0) {
  if (value === null || typeof value !== "object") return el("div", { class: "json-line" }, label(name), leaf(value));
  const entries = Array.isArray(value) ? value.map((each, index) => [index, each]) : Object.entries(value);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  if (!entries.length) return el("div", { class: "json-line" }, label(name), `${open}${close}`);
  const flat = entries.every(([, each]) => each === null || typeof each !== "object");
  if (flat && depth > 0 && entries.length <= 6) {
    return el("div", { class: "json-line" }, label(name), el("span", { class: "json-flat" }, JSON.stringify(value, null, 1).replace(/\s*\n\s*/g, " ")));
  }
  const fold = el("details", { class: "json-fold" });
  fold.open = depth < 1 || entries.length < FOLD_FROM;
  fold.append(el("summary", {}, label(name), `${open}${entries.length}${close}`));
  // Large arrays of numbers (a model's raw outputs) are shown in part: the copy holds them all.
  for (const [key, each] of entries.slice(0, 200)) fold.append(jsonTree(each, key, depth + 1));
  if (entries.length > 200) fold.append(el("div", { class: "json-line soft" }, `… and ${entries.length - 200} more`));
  return fold;
}
