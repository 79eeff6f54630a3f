// Numbers as people read them.

const one = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

export const rate = (perSecond) => (perSecond >= 100 ? perSecond.toFixed(0) : one.format(perSecond));

/** Milliseconds as an age: `0.2 s`, `14 s`, `3 min`, `2 h`; a clock that is ahead is told as such. */
export function age(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < -1000) return `clock ${duration(-ms)} ahead`;
  return duration(Math.max(0, ms));
}

function duration(ms) {
  const seconds = ms / 1000;
  if (seconds < 10) return `${one.format(seconds)} s`;
  if (seconds < 100) return `${seconds.toFixed(0)} s`;
  if (seconds < 6000) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

export const milliseconds = (ms) => (ms < 10 ? `${one.format(ms)} ms` : `${ms.toFixed(0)} ms`);

export const percent = (share) => `${Math.round(share * 100)} %`;

/** `{person: 3, car: 1}` -> `3 person, 1 car`, most first. */
export function inView(counts) {
  return Object.entries(counts)
    .sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1))
    .map(([label, count]) => `${count} ${label}`)
    .join(", ");
}
