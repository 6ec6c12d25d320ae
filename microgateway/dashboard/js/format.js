// Numbers, durations and moments as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const moment = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium" });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const minute = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });

export const count = (value) => (Math.abs(value) >= 100_000 ? compact.format(value) : whole.format(value));

/** Requests a second. */
export function rate(value) {
  if (value === 0) return "0";
  if (value < 0.01) return "<0.01";
  return value < 10 ? value.toFixed(2).replace(/\.?0+$/, "") : value < 100 ? value.toFixed(1) : whole.format(value);
}

/** A share between 0 and 1. */
export function percent(share) {
  const value = share * 100;
  if (value === 0) return "0 %";
  if (value < 0.1) return "<0.1 %";
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} %`;
}

export function milliseconds(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 10_000) return `${(value / 1000).toFixed(0)} s`;
  if (value >= 1000) return `${(value / 1000).toFixed(2)} s`;
  if (value === 0) return "0 ms";
  return `${value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)} ms`;
}

export function bytes(value) {
  if (value < 1000) return `${value} B`;
  const power = Math.min(4, Math.floor(Math.log10(value) / 3));
  const scaled = value / 1000 ** power;
  return `${scaled < 10 ? scaled.toFixed(1) : Math.round(scaled)} ${["B", "kB", "MB", "GB", "TB"][power]}`;
}

/** Seconds as the two largest units: `2 h 5 min`. */
export function duration(seconds) {
  const units = [["d", 86_400], ["h", 3600], ["min", 60], ["s", 1]];
  let rest = Math.round(seconds);
  const parts = [];
  for (const [name, size] of units) {
    const many = Math.floor(rest / size);
    if (many > 0) parts.push(`${many} ${name}`);
    rest -= many * size;
    if (parts.length === 2) break;
  }
  return parts.join(" ") || "0 s";
}

/** How far away a moment is: `3 min ago`, `in 2 d`. */
export function ago(when, now = Date.now()) {
  if (when === null || when === undefined) return "never";
  const seconds = (now - new Date(when).getTime()) / 1000;
  if (Math.abs(seconds) < 5) return "now";
  const far = duration(Math.abs(seconds)).split(" ").slice(0, 2).join(" ");
  return seconds > 0 ? `${far} ago` : `in ${far}`;
}

export const fullTime = (when) => moment.format(new Date(when));
export const date = (when) => day.format(new Date(when));
export const time = (when) => clock.format(new Date(when));
export const shortTime = (when) => minute.format(new Date(when));

/** Milliseconds too, for lines of a log. */
export function exactTime(when) {
  const at = new Date(when);
  return `${clock.format(at)}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}
