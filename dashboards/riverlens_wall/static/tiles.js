// The grid of tiles: as large as fits, arrow keys between them, pictures only for those in sight.

import { announce } from "./announce.js";
import { byId } from "./dom.js";
import { Tile } from "./tile.js";

const MIN_WIDTH = 104;
/** Narrower tiles have one line of words; wall.css says the same. */
const ONE_LINE_PX = 146;
const GAP = 8;
const WATCH_AFTER_MS = 150;

const wordsPx = (width) => (width > ONE_LINE_PX ? 46 : 24);

export class Tiles {
  /** `watch(keys, width)` is told which tiles are seen; `open(tile)` when one is chosen. */
  constructor(list, { watch, open }) {
    this.list = list;
    this.open = open;
    this.watch = watch;
    this.byKey = new Map();
    this.seen = new Set();
    this.filter = "";
    this.current = null;
    this.aspect = 4 / 3;
    this.observer = new IntersectionObserver((entries) => this.sight(entries), { rootMargin: "80px" });
    new ResizeObserver(() => this.layout()).observe(list.parentElement);
    window.addEventListener("resize", () => this.layout());
    document.addEventListener("visibilitychange", () => this.watchSoon());
    list.addEventListener("keydown", (event) => this.key(event));
    list.addEventListener("focusin", (event) => {
      this.chosen = true;
      this.focused(event.target.closest("li")?.tile);
    });
    setInterval(() => this.byKey.forEach((tile) => tile.tick()), 500);
  }

  get shown() {
    return [...this.byKey.values()].filter((tile) => !tile.node.hidden);
  }

  /** The wall's list of cameras: tiles come, go and change. */
  status(cameras, onlyChanges) {
    const before = this.byKey.size;
    const keys = new Set(cameras.map((camera) => camera.key));
    for (const [key, tile] of this.byKey) if (!keys.has(key)) this.remove(key, tile);
    for (const camera of cameras) {
      const known = this.byKey.get(camera.key);
      const tile = known ?? this.add(camera);
      if (known && known.camera && known.camera.silent !== camera.silent) {
        announce(camera.silent ? `Camera ${camera.id} is silent` : `Camera ${camera.id} is back`);
      }
      tile.status(camera, onlyChanges);
    }
    if (this.byKey.size !== before) this.layout();
    this.keepStop();
  }

  picture(head, bytes) {
    const tile = this.byKey.get(head.camera);
    if (!tile) return Promise.resolve();
    const first = !tile.size;
    return tile.picture(head, bytes).then(() => first && this.measure());
  }

  setFilter(text) {
    this.filter = text.trim().toLowerCase();
    this.byKey.forEach((tile) => this.applyFilter(tile));
    this.keepStop();
    this.layout();
  }

  applyFilter(tile) {
    tile.node.hidden = Boolean(this.filter) && !tile.id.toLowerCase().includes(this.filter);
  }

  add(camera) {
    const tile = new Tile(camera.key, camera.id, this.open);
    this.byKey.set(camera.key, tile);
    this.applyFilter(tile);
    this.list.insertBefore(tile.node, this.following(tile));
    this.observer.observe(tile.node);
    return tile;
  }

  /** The node before which a tile stands, by name as people look for it: camera-2 before camera-10. */
  following(tile) {
    const nodes = [...this.list.children];
    return nodes.find((node) => node.tile.id.localeCompare(tile.id, undefined, { numeric: true }) > 0) ?? null;
  }

  remove(key, tile) {
    this.observer.unobserve(tile.node);
    this.byKey.delete(key);
    this.seen.delete(key);
    tile.close();
    if (this.current === tile) this.current = null;
    this.watchSoon();
  }

  sight(entries) {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) this.seen.add(target.tile.key);
      else this.seen.delete(target.tile.key);
    }
    this.watchSoon();
  }

  watchSoon() {
    clearTimeout(this.watching);
    this.watching = setTimeout(() => {
      const keys = document.hidden ? [] : [...this.seen];
      const ratio = Math.min(window.devicePixelRatio || 1, 2);
      this.watch(keys, Math.round((this.width ?? MIN_WIDTH) * ratio));
    }, WATCH_AFTER_MS);
  }

  /** The proportions that most pictures have. */
  measure() {
    const counts = new Map();
    for (const tile of this.byKey.values()) {
      if (!tile.size) continue;
      const aspect = Math.min(2.4, Math.max(0.75, tile.size[0] / tile.size[1])).toFixed(2);
      counts.set(aspect, (counts.get(aspect) ?? 0) + 1);
    }
    const most = [...counts].sort((a, b) => b[1] - a[1])[0];
    if (most && Number(most[0]) !== this.aspect) {
      this.aspect = Number(most[0]);
      this.layout();
    }
  }

  /** The number of columns with which tiles are largest and all in sight; those too small to read scroll. */
  layout() {
    const tiles = this.shown;
    const area = this.list.parentElement.getBoundingClientRect();
    const width = this.list.clientWidth;
    const height = Math.max(240, window.innerHeight - this.list.getBoundingClientRect().top - window.scrollY - 16);
    if (!tiles.length || !width || !area.width) return;
    const most = Math.max(1, Math.floor((width + GAP) / (MIN_WIDTH + GAP)));
    let [columns, best] = [most, 0];
    for (let count = 1; count <= most; count += 1) {
      const across = (width - GAP * (count - 1)) / count;
      const rows = Math.ceil(tiles.length / count);
      const high = (height + GAP) / rows - GAP;
      const fits = Math.min(across, (high - wordsPx(Infinity)) * this.aspect);
      const narrow = Math.min(across, ONE_LINE_PX, (high - wordsPx(0)) * this.aspect);
      const tall = fits > ONE_LINE_PX ? fits : narrow;
      if (tall >= MIN_WIDTH && tall > best) [columns, best] = [count, tall];
    }
    this.width = best || (width - GAP * (columns - 1)) / columns;
    this.columns = columns;
    this.list.style.setProperty("--columns", columns);
    this.list.style.setProperty("--most", `${Math.floor(this.width)}px`);
    this.list.style.setProperty("--aspect", this.aspect);
    requestAnimationFrame(() => tiles.forEach((tile) => tile.draw()));
    this.watchSoon();
  }

  /** One tile is reached by Tab: the one last chosen, else the first in sight. */
  keepStop() {
    if (this.current && this.chosen && !this.current.node.hidden) return;
    this.focused([...this.list.children].find((node) => !node.hidden)?.tile);
  }

  focused(tile) {
    if (!tile || tile === this.current) return;
    if (this.current) this.current.button.tabIndex = -1;
    this.current = tile;
    tile.button.tabIndex = 0;
  }

  key(event) {
    const nodes = [...this.list.children].filter((node) => !node.hidden);
    const index = nodes.indexOf(this.current?.node);
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns };
    let next = null;
    if (event.key in steps) next = index + steps[event.key];
    else if (event.key === "Home") next = 0;
    else if (event.key === "End") next = nodes.length - 1;
    if (next === null || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    nodes[next]?.tile.button.focus();
  }
}

export const startTiles = (handlers) => new Tiles(byId("tiles"), handlers);
