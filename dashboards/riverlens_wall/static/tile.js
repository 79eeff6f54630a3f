// One camera's tile: its picture with boxes, its name and how it fares.

import { draw } from "./draw.js";
import { el, setAttribute, setText } from "./dom.js";
import { age, inView, rate } from "./words.js";

const DESCRIBE_EVERY_MS = 5000;

export class Tile {
  constructor(key, id, open) {
    this.key = key;
    this.id = id;
    this.head = null;
    this.bitmap = null;
    this.latest = 0;
    this.describedAt = -DESCRIBE_EVERY_MS;
    this.canvas = el("canvas", { "aria-hidden": "true" });
    this.note = el("span", { class: "tile-note", hidden: "" });
    this.badge = el("span", { class: "tile-badge", hidden: "" });
    this.name = el("span", { class: "tile-name", title: id }, id);
    this.age = el("span", { class: "tile-age" });
    this.rate = el("span");
    this.dropCount = el("span");
    this.drops = el("span", { class: "tile-drops", hidden: "" }, this.dropCount, el("span", { class: "word" }, " dropped"));
    this.found = el("span", { class: "tile-found" });
    this.button = el(
      "button",
      { type: "button", class: "tile", tabindex: "-1", "aria-label": `Camera ${id}`, onclick: () => open(this) },
      el("span", { class: "tile-picture" }, this.canvas, this.note, this.badge),
      el(
        "span",
        { class: "tile-words" },
        el("span", { class: "tile-line" }, el("span", { class: "light", "aria-hidden": "true" }), this.name, this.age),
        el("span", { class: "tile-line tile-more soft" }, this.found, this.drops, this.rate),
      ),
    );
    this.node = el("li", {}, this.button);
    this.node.tile = this;
  }

  /** A picture came; resolves when it is drawn, or was overtaken. */
  async picture(head, bytes) {
    this.latest += 1;
    const number = this.latest;
    let bitmap = null;
    let note = head.note;
    if (!note) {
      try {
        bitmap = await createImageBitmap(new Blob([bytes], { type: head.mime }));
      } catch {
        note = "this browser cannot decode the image";
      }
    }
    if (number !== this.latest) {
      bitmap?.close();
      return;
    }
    this.bitmap?.close();
    this.bitmap = bitmap;
    this.bytes = bitmap ? new Blob([bytes], { type: head.mime }) : null;
    this.head = { ...head, note };
    this.capturedAt = performance.now() - head.age_ms;
    setText(this.note, note);
    this.note.hidden = !note;
    this.draw();
    this.tick();
  }

  /** The picture's proportions, or null while there is none. */
  get size() {
    return this.head?.size ?? (this.bitmap ? [this.bitmap.width, this.bitmap.height] : null);
  }

  draw() {
    if (this.head) draw(this.canvas, this.bitmap, this.size, this.head.boxes ?? []);
  }

  /** The status of the camera, once a second. */
  status(camera, onlyChanges) {
    this.camera = camera;
    this.onlyChanges = onlyChanges;
    setAttribute(this.button, "data-state", camera.silent ? "silent" : "live");
    setText(this.rate, `${rate(camera.fps || camera.events_per_s)}/s`);
    setText(this.dropCount, String(camera.dropped));
    setAttribute(this.drops, "title", `${camera.dropped} frames without an event in the last minute`);
    this.drops.hidden = !camera.dropped;
    setText(this.found, inView(camera.in_view) || this.otherWords() || (camera.events_per_s ? "nothing found" : ""));
    this.tick();
    this.describe(camera);
  }

  /** What a classifier or any other model says. */
  otherWords() {
    if (this.head?.classes?.length) return this.head.classes.map(([label]) => label).join(", ");
    return this.head?.outputs?.length ? `outputs: ${this.head.outputs.join(", ")}` : "";
  }

  tick() {
    const now = performance.now();
    setText(this.age, this.head ? age(now - this.capturedAt) : age(this.camera?.age_ms));
    const badge = this.words(now);
    setText(this.badge, badge);
    this.badge.hidden = !badge;
  }

  words() {
    if (this.camera?.silent) return `silent for ${age(this.camera.quiet_s * 1000)}`;
    if (!this.head) return "waiting for a frame";
    if (this.head.answered || this.onlyChanges) return "";
    return this.camera?.events_per_s ? "events are behind" : "no event yet";
    return "";
  }

  /** For a screen reader: said when the tile is reached, so not renewed while it has the focus. */
  describe(camera) {
    const now = performance.now();
    if (now - this.describedAt < DESCRIBE_EVERY_MS || document.activeElement === this.button) return;
    this.describedAt = now;
    const parts = [`Camera ${this.id}`, camera.silent ? "silent" : `${rate(camera.fps || camera.events_per_s)} frames a second`];
    parts.push(inView(camera.in_view) || "nothing in view");
    if (camera.dropped) parts.push(`${camera.dropped} frames without an event in the last minute`);
    if (this.head?.note) parts.push(this.head.note);
    setAttribute(this.button, "aria-label", parts.join(", "));
  }

  close() {
    this.latest += 1;
    this.bitmap?.close();
    this.node.remove();
  }
}
