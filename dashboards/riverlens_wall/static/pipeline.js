// The pipeline as boxes: what each stage does and what it waits for.

import { announce } from "./announce.js";
import { byId, el, setAttribute, setText } from "./dom.js";

const WORDS = { ok: "well", busy: "busy", bad: "needs help", unknown: "not known" };
let level = "unknown";

function box(stage) {
  return el(
    "li",
    { class: "stage" },
    el("h3", {}, el("span", { class: "light", "aria-hidden": "true" }), stage.name, el("span", { class: "unseen" })),
    el("p", { class: "headline" }),
    el("dl", {}),
    el("p", { class: "waits soft" }),
  );
}

function fill(node, stage) {
  setAttribute(node, "data-level", stage.level);
  setText(node.querySelector(".unseen"), `: ${WORDS[stage.level]}`);
  setText(node.querySelector(".headline"), stage.headline);
  setText(node.querySelector(".waits"), stage.waits);
  setAttribute(node.querySelector(".waits"), "title", stage.waits);
  const list = node.querySelector("dl");
  if (list.children.length !== stage.figures.length) {
    list.replaceChildren(...stage.figures.map(() => el("div", {}, el("dt"), el("dd"))));
  }
  stage.figures.forEach(([name, value], index) => {
    setText(list.children[index].children[0], name);
    setText(list.children[index].children[1], value);
  });
}

export function showPipeline({ stages, verdict }) {
  const list = byId("pipeline");
  if (list.children.length !== stages.length) list.replaceChildren(...stages.map(box));
  stages.forEach((stage, index) => fill(list.children[index], stage));
  setAttribute(byId("verdict"), "data-level", verdict.level);
  setText(byId("verdict-text"), verdict.text);
  if (verdict.level !== level && (verdict.level === "bad" || level === "bad")) announce(verdict.text.replace(/\.$/, ""));
  level = verdict.level;
}
