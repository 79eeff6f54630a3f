// How many of each label were in view: one row of bars a label.

import { colourOf } from "./colours.js";
import { byId, el, setAttribute, setText, svg } from "./dom.js";

const WIDTH = 200;
const HEIGHT = 26;

function number(value) {
  return value >= 10 ? value.toFixed(0) : value.toFixed(1);
}

function makeRow(label) {
  const path = svg("path", { fill: colourOf(label) });
  const chart = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  chart.append(path);
  const swatch = el("span", { class: "swatch", "aria-hidden": "true" });
  swatch.style.background = colourOf(label);
  return el(
    "li",
    {},
    el("span", { class: "row-name", title: label }, swatch, label),
    el("span", { class: "row-now" }),
    chart,
  );
}

function bars(values, most) {
  const width = WIDTH / values.length;
  return values
    .map((value, index) => {
      if (!value) return "";
      const height = Math.max(1.5, (value / most) * (HEIGHT - 1));
      return `M${(index * width).toFixed(1)} ${HEIGHT}v${-height.toFixed(1)}h${(width * 0.86).toFixed(2)}V${HEIGHT}z`;
    })
    .join("");
}

export function showTimeline({ minutes, rows }) {
  const list = byId("timeline");
  const known = new Map([...list.children].map((node) => [node.dataset.label, node]));
  const nodes = rows.map(({ label, in_view: values }) => {
    const node = known.get(label) ?? makeRow(label);
    node.dataset.label = label;
    const most = Math.max(...values, 0.001);
    // The bin that runs may be nearly empty: the one before it tells how it is now.
    const now = values.at(-1) || values.at(-2);
    setText(node.querySelector(".row-now"), number(now));
    const chart = node.querySelector("svg");
    chart.firstChild.setAttribute("d", bars(values, most));
    setAttribute(chart, "aria-label", `${label}: ${number(now)} in view now, at most ${number(most)} in the last ${minutes} minutes`);
    return node;
  });
  if (nodes.length !== list.children.length || nodes.some((node, index) => list.children[index] !== node)) {
    list.replaceChildren(...nodes);
  }
  byId("timeline-empty").hidden = rows.length > 0;
  setText(byId("span"), `all cameras, last ${minutes} min`);
}
