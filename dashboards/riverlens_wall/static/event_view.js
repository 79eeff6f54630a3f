// One frame and its event, opened from a tile: the picture, what was found, the times, the JSON.

import { colourOf } from "./colours.js";
import { byId, el, setText } from "./dom.js";
import { draw } from "./draw.js";
import { jsonTree } from "./json_tree.js";
import { milliseconds, percent } from "./words.js";

const ASK_AGAIN_MS = 1000;
const ASK_TIMES = 15;
const STAGES = ["broker", "queue", "decode", "predict"];

export class EventView {
  constructor() {
    this.dialog = byId("event");
    this.dialog.addEventListener("close", () => this.closed());
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    new ResizeObserver(() => this.draw()).observe(this.dialog);
  }

  open(tile) {
    if (!tile.head) return;
    this.tile = tile;
    this.place = `${tile.head.partition}/${tile.head.offset}`;
    this.boxes = tile.head.boxes ?? [];
    this.size = tile.size;
    this.bitmap = null;
    this.marked = -1;
    this.build(tile);
    this.dialog.showModal();
    this.loadSmall(tile, this.place);
    this.loadWhole(this.place);
    this.loadEvent(this.place, ASK_TIMES);
  }

  build(tile) {
    this.canvas = el("canvas", { role: "img", "aria-label": `The frame of camera ${tile.id}` });
    this.pictureNote = el("p", { class: "soft picture-note" });
    this.facts = el("dl", { class: "facts" });
    this.found = el("div", { class: "found" });
    this.times = el("div", { class: "times" });
    this.json = el("div", { class: "json" }, el("p", { class: "soft" }, "Waiting for the event…"));
    this.copy = el("button", { type: "button", class: "quiet", disabled: "" }, "Copy JSON");
    const close = el("button", { type: "button", class: "quiet", onclick: () => this.dialog.close() }, "Close");
    this.dialog.replaceChildren(
      el(
        "header",
        {},
        el("h2", { id: "event-title" }, tile.id, el("span", { class: "soft" }, `  partition ${tile.head.partition}, offset ${tile.head.offset}`)),
        el("div", { class: "tools" }, this.copy, close),
      ),
      el(
        "div",
        { class: "event-body" },
        el("section", { "aria-label": "Frame" }, el("div", { class: "event-picture" }, this.canvas), this.pictureNote, this.found),
        el("section", { "aria-label": "Event", class: "event-words" }, this.facts, this.times, el("h3", {}, "JSON"), this.json),
      ),
    );
    setText(this.pictureNote, tile.head.note || "Loading the whole frame…");
  }

  /** Until the whole frame is there: the picture that the tile shows. */
  async loadSmall(tile, place) {
    if (!tile.bytes) return this.draw();
    const bitmap = await createImageBitmap(tile.bytes);
    if (this.place === place && !this.bitmap) this.show(bitmap);
    else bitmap.close();
  }

  async loadWhole(place) {
    try {
      const reply = await fetch(`/frame/${place}`);
      if (!reply.ok) throw new Error((await reply.json()).why);
      const blob = await reply.blob();
      const bitmap = await createImageBitmap(blob);
      if (this.place !== place) return bitmap.close();
      this.show(bitmap);
      const size = `${bitmap.width} × ${bitmap.height} pixels, ${Math.round(blob.size / 1024)} KiB`;
      this.pictureNote.replaceChildren(`The whole frame: ${size}. `, el("a", { href: `/frame/${place}`, target: "_blank", rel: "noopener" }, "Open the image"));
    } catch (error) {
      if (this.place === place) setText(this.pictureNote, `The whole frame is not shown: ${error.message}`);
    }
  }

  async loadEvent(place, times) {
    try {
      const reply = await fetch(`/event/${place}`);
      if (this.place !== place) return;
      if (reply.status === 200) return this.showEvent(await reply.text());
      const { why } = await reply.json();
      this.json.replaceChildren(el("p", { class: "soft" }, `Waiting for the event: ${why}.`));
    } catch {
      this.json.replaceChildren(el("p", { class: "soft" }, "The wall does not answer; the event is asked for again."));
    }
    if (times > 0) setTimeout(() => this.place === place && this.loadEvent(place, times - 1), ASK_AGAIN_MS);
  }

  showEvent(text) {
    const event = JSON.parse(text);
    this.copy.disabled = false;
    this.copy.onclick = () => this.copyText(JSON.stringify(event, null, 2));
    this.showFacts(event);
    this.showTimes(event.timing_ms ?? {});
    if (event.image) this.size = [event.image.width, event.image.height];
    if (event.detections) {
      this.boxes = event.detections.map(({ label, score, box }) => [label, score, box.x1, box.y1, box.x2, box.y2]);
      this.showFound(event.detections.map(({ label, score, box_px: at }) => [label, score, `${at.x1}, ${at.y1} – ${at.x2}, ${at.y2}`]));
    } else if (event.classes) {
      this.showFound(event.classes.map(({ label, score }) => [label, score, ""]));
    }
    this.json.replaceChildren(jsonTree(event));
    this.draw();
  }

  showFacts(event) {
    const facts = [["Captured", event.captured_at]];
    if (event.reason) facts.push(["Dropped", event.reason]);
    if (event.model) facts.push(["Model", `${event.model.name}, version ${event.model.version}`]);
    if (event.batch) facts.push(["Batch", `${event.batch.size} frames, left: ${event.batch.reason}`]);
    if (event.sequence !== null && event.sequence !== undefined) facts.push(["Sequence", event.sequence]);
    facts.push(["Event", event.event_id]);
    this.facts.replaceChildren(...facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  }

  showTimes(times) {
    const stages = STAGES.filter((stage) => typeof times[stage] === "number");
    const total = Math.max(times.total ?? 0, stages.reduce((sum, stage) => sum + times[stage], 0), 0.001);
    const rows = stages.map((stage) => {
      const bar = el("span", { class: "time-bar", "aria-hidden": "true" });
      bar.style.width = `${Math.max(0.5, (100 * times[stage]) / total)}%`;
      return el("div", { class: "time" }, el("span", {}, stage), el("span", { class: "time-track" }, bar), el("span", { class: "time-value" }, milliseconds(times[stage])));
    });
    const sum = typeof times.total === "number" ? `, ${milliseconds(times.total)} in all` : "";
    this.times.replaceChildren(...(rows.length ? [el("h3", {}, `Where the time went${sum}`), ...rows] : []));
  }

  showFound(rows) {
    const items = rows.map(([label, score, where], index) => {
      const swatch = el("span", { class: "swatch", "aria-hidden": "true" });
      swatch.style.background = colourOf(label);
      const mark = (marked) => () => {
        this.marked = marked;
        this.draw();
      };
      return el(
        "li",
        { tabindex: "0", onmouseenter: mark(index), onmouseleave: mark(-1), onfocus: mark(index), onblur: mark(-1) },
        swatch, el("span", { class: "found-label" }, label), el("span", { class: "found-score" }, percent(score)), el("span", { class: "soft" }, where),
      );
    });
    this.found.replaceChildren(el("h3", {}, items.length ? `${items.length} found` : "Nothing found"), el("ul", {}, ...items));
  }

  show(bitmap) {
    this.bitmap?.close();
    this.bitmap = bitmap;
    this.size ??= [bitmap.width, bitmap.height];
    this.draw();
  }

  draw() {
    if (!this.dialog.open || !this.canvas) return;
    if (this.size) this.canvas.style.aspectRatio = `${this.size[0]} / ${this.size[1]}`;
    draw(this.canvas, this.bitmap, this.size, this.boxes, { marked: this.marked, labels: true });
  }

  async copyText(text) {
    try {
      await navigator.clipboard.writeText(text);
      setText(this.copy, "Copied");
    } catch {
      setText(this.copy, "Not copied: the browser forbids it");
    }
  }

  closed() {
    this.place = null;
    this.bitmap?.close();
    this.bitmap = null;
    this.tile?.button.focus();
    this.dialog.replaceChildren();
    this.canvas = null;
  }
}
