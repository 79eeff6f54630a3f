// Puts the page together: the connection feeds the tiles, the pipeline and the timeline.

import { announce } from "./announce.js";
import { byId, el, setAttribute, setText } from "./dom.js";
import { EventView } from "./event_view.js";
import { Link } from "./link.js";
import { showPipeline } from "./pipeline.js";
import { startTheme } from "./theme.js";
import { startTiles } from "./tiles.js";
import { showTimeline } from "./timeline.js";
import { rate } from "./words.js";

let topics = {};
let lost = false;
let sentAway = "";
let kafkaAway = "";

startTheme(byId("theme"));
const view = new EventView();
const tiles = startTiles({
  watch: (keys, width) => link.show(keys, width),
  open: (tile) => view.open(tile),
});
byId("filter").addEventListener("input", (event) => tiles.setFilter(event.target.value));

function banner(text) {
  const node = byId("banner");
  setText(node, text);
  node.hidden = !text;
}

function showBanner() {
  document.body.classList.toggle("stale", lost || Boolean(kafkaAway));
  if (sentAway) banner(`The wall sends this browser away: ${sentAway}. The page tries again by itself.`);
  else if (lost) banner("The wall does not answer. What you see is old; the page tries again by itself.");
  else banner(kafkaAway ? `Kafka is away: ${kafkaAway}. What you see is old; the wall tries again by itself.` : "");
}

function showEmpty(cameras) {
  const node = byId("empty");
  node.hidden = cameras.length > 0;
  if (cameras.length || node.dataset.for === topics.bootstrap_servers) return;
  node.dataset.for = topics.bootstrap_servers ?? "";
  node.replaceChildren(
    el("h3", {}, "No camera has sent a frame yet"),
    el("p", {}, `The wall listens to the topic ${topics.frames_topic}. Start a camera with:`),
    el("pre", {}, el("code", {}, `riverlens producer run --synthetic --cameras 4 \\\n  --bootstrap-servers ${topics.bootstrap_servers}`)),
    el("p", { class: "soft" }, "It appears here by itself."),
  );
}

function showCount({ cameras, others }) {
  const total = cameras.reduce((sum, camera) => sum + camera.fps, 0);
  const silent = cameras.filter((camera) => camera.silent).length;
  const parts = cameras.length ? [`${cameras.length}`, `${rate(total)} frames/s`] : [];
  if (silent) parts.push(`${silent} silent`);
  if (others) parts.push(`${others} more than --max-cameras`);
  setText(byId("count"), parts.join(" · "));
}

const link = new Link({
  hello(body) {
    topics = body;
    if (lost) announce("The wall is back");
    lost = false;
    sentAway = "";
    showBanner();
  },
  status(body) {
    if (Boolean(body.kafka_away) !== Boolean(kafkaAway)) announce(body.kafka_away ? "Kafka is away" : "Kafka answers again");
    kafkaAway = body.kafka_away;
    showBanner();
    showEmpty(body.cameras);
    showCount(body);
    tiles.status(body.cameras, body.only_changes);
    showPipeline(body);
    showTimeline(body.timeline);
    byId("notes").replaceChildren(...body.notes.map((note) => el("p", {}, note)));
  },
  picture: (head, bytes) => tiles.picture(head, bytes),
  lost(why) {
    if (!lost) announce("The connection to the wall is lost");
    lost = true;
    sentAway = why;
    setAttribute(byId("verdict"), "data-level", "bad");
    setText(byId("verdict-text"), "Not connected");
    showBanner();
  },
});
