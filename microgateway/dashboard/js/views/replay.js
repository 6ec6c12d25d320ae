// The log of a period under another configuration: what is asked, and what would come out otherwise.

import { fill, h, span } from "../dom.js";
import { count, duration, fullTime, time } from "../format.js";
import { badge, plainTable, segments } from "../parts.js";
import { href } from "../router.js";

const MOST_ROWS = 200;
const PERIODS = [["15m", "The last 15 minutes"], ["1h", "The last hour"], ["24h", "The last day"], ["7d", "The last week"]];
const GROUPS = [["", "Everything"], ["limit", "Limit"], ["route", "Route"], ["key", "Key"]];
const EXAMPLE = '{\n  "keys": {\n    "mobile": { "requests_per_minute": 120 }\n  }\n}';

export function replayFields() {
  return [
    { name: "since", kind: "select", label: "Requests of", options: PERIODS, default: "24h" },
    { name: "until", label: "Until", optional: true, mono: true, placeholder: "now", hint: "So long ago, as 10m, or a moment." },
    { name: "configuration", kind: "json", label: "What would be different", wide: true, placeholder: EXAMPLE, hint: "services, routes, keys and rate_limits, each by name or id. A value is merged into what there is, null takes it away, an unknown name makes a new one, except of a key." },
    { group: "Before that", fields: [{ name: "warm_up_seconds", kind: "number", label: "Warm up", default: 600, hint: "Seconds before the period in which buckets and circuits become what they were." }] },
  ];
}

/** `[what to announce, everything else]`. */
export function replayStory({ state, result }) {
  const { rows, changed, changes, keys, unknown, took_seconds: took, since, until } = result;
  const verdict = rows === 0 ? "The log has no request of this period." : changed === 0 ? `None of ${count(rows)} requests would come out otherwise.` : `${count(changed)} of ${count(rows)} requests would come out otherwise.`;
  const note = h("div", { class: `note tone-${changed ? "warn" : rows ? "good" : "off"}` }, h("strong", {}, verdict),
    ` From ${fullTime(since * 1000)} on, ${duration(until - since)}${state === "cancelled" ? ", until it was cancelled" : ""}; judged again in ${took.toFixed(2)} s.`);
  return [note, [
    changes.length ? changesOf(changes) : null,
    keys.length ? keysOf(keys) : null,
    unknown.length ? card("What the log does not say", null, h("ul", { class: "unknown" }, unknown.map((entry) => h("li", {}, h("b", { class: "number" }, count(entry.requests)), span("muted", ` ${entry.what}`))))) : null,
  ]];
}

function changesOf(changes) {
  const place = h("div", { class: "flush" });
  const show = (by) => fill(place, by ? groupedTable(changes, by) : fullTable(changes));
  show("");
  return card("What would change", segments({ label: "Grouped by", options: GROUPS, value: "", onchange: show }), place);
}

function fullTable(changes) {
  return plainTable("What would come out otherwise, the most first", ["Then", "Would be", "Requests", "Limit", "Route", "Key", "First", "Example"], changes.slice(0, MOST_ROWS).map((change) => [
    outcome(change.before), outcome(change.after), span("number", count(change.requests)), limitOf(change.limit), routeOf(change), change.key ?? span("faint", "–"),
    h("time", { class: "number nowrap", title: fullTime(change.first_at * 1000) }, time(change.first_at * 1000)),
    change.examples.slice(0, 1).map((row) => h("a", { class: "mono", href: href("logs", { open: row.id }) }, `${row.method} ${row.path}`)),
  ]));
}

function groupedTable(changes, by) {
  const groups = new Map();
  for (const change of changes) {
    const name = change[by] ?? "";
    const group = groups.get(name) ?? { change, requests: 0, kinds: new Map() };
    const kind = `${change.before} ${change.after}`;
    group.requests += change.requests;
    group.kinds.set(kind, (group.kinds.get(kind) ?? 0) + change.requests);
    groups.set(name, group);
  }
  const shown = { limit: ({ limit }) => limitOf(limit), route: ({ route }) => (route ? h("code", {}, route) : span("faint", "no route")), key: ({ key }) => key ?? span("faint", "no key") };
  const head = GROUPS.find(([name]) => name === by)[1];
  return plainTable(`What would come out otherwise, by ${head.toLowerCase()}`, [head, "Requests", "Then, and would be"], [...groups.values()].sort((one, other) => other.requests - one.requests).slice(0, MOST_ROWS).map(({ change, requests, kinds }) => [
    shown[by](change), span("number", count(requests)),
    h("ul", {}, [...kinds].map(([kind, many]) => h("li", { class: "pair" }, span("number muted", count(many)), kind.split(" ").map((text, place) => [place ? "→" : "", outcome(text)])))),
  ]));
}

function keysOf(keys) {
  return card("Keys whose refusals change", null, h("div", { class: "flush" }, plainTable("Keys whose refusals change, the most first", ["Key", "Requests", "Limited then", "Would be limited", "First"], keys.slice(0, MOST_ROWS).map((key) => [
    h("a", { class: "plain-link", href: href("keys", { q: key.name }) }, key.name), count(key.requests), count(key.limited_before),
    span(key.limited_after > key.limited_before ? "bad" : "good", count(key.limited_after)), key.first_at === null ? "" : span("number", time(key.first_at * 1000))]))));
}

const outcome = (name) => (name === "forwarded" ? badge("forwarded", "good") : badge(name.replaceAll("_", " "), "warn"));
const limitOf = (name) => (name === null ? span("faint", "–") : name === "key" ? span("muted", "the key’s own") : name);

function routeOf({ route, route_after: after }) {
  const code = (path) => (path ? h("code", {}, path) : span("faint", "–"));
  return route && after && route !== after ? [code(route), " → ", code(after)] : code(route ?? after);
}

function card(title, tools, content) {
  return h("section", { class: "card", "aria-label": title }, h("div", { class: "card-head" }, h("h2", {}, title), tools ? h("div", { class: "end" }, tools) : null), content);
}
