// The live region: few words, at most one message in five seconds, only for what a listener must know.

const EVERY_MS = 5000;
let waiting = [];
let timer = 0;
let last = -EVERY_MS;

function say(region) {
  region.textContent = waiting.slice(0, 3).join(". ") + (waiting.length > 3 ? `. And ${waiting.length - 3} more.` : ".");
  waiting = [];
  last = performance.now();
  timer = 0;
}

export function announce(text) {
  const region = document.getElementById("announcer");
  if (!waiting.includes(text)) waiting.push(text);
  if (!timer) timer = setTimeout(say, Math.max(300, last + EVERY_MS - performance.now()), region);
}
