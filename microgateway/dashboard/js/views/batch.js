// Many requests at once: what is asked, how far it is, and what came of it over time.

import { createChart, OUTCOMES } from "../chart.js";
import { h, s, span } from "../dom.js";
import { count, duration, milliseconds, percent } from "../format.js";
import { runJob } from "../job.js";
import { badge, plainTable } from "../parts.js";

const MOST_SERIES = 6;
const MOST_ROWS = 200;
const TONES = { closed: "good", half_open: "warn", open: "bad" };
const KINDS = [["constant", "Evenly"], ["poisson", "At random"], ["ramp", "More and more, or less"], ["bursts", "In bursts"]];
const LATENCIES = [["constant", "Always the same"], ["uniform", "Between two"], ["exponential", "Exponential, of this mean"], ["lognormal", "Lognormal, of this median"]];

/** How a simulated service answers. `name` is the object that the fields are of, `when` what they depend on. */
export function scriptFields(name, when) {
  const number = (field, label, more) => ({ name: `${name}.${field}`, kind: "number", label, when, ...more });
  return [
    { name: `${name}.latency`, kind: "select", label: "Its latency", options: LATENCIES, default: "constant", when },
    number("latency_ms", "Milliseconds", { default: 5 }),
    number("to_ms", "Up to milliseconds", { when: { ...when, [`${name}.latency`]: ["uniform"] } }),
    number("error_rate", "Share of errors", { placeholder: "0" }),
    number("error_status", "Status of errors", { placeholder: "500" }),
    number("hang_rate", "Share that hangs", { placeholder: "0" }),
    number("reset_rate", "Share that breaks off", { placeholder: "0" }),
  ];
}

export function batchFields() {
  const arrival = (field, label, kinds, value) => ({ name: `arrivals.${field}`, kind: "number", label, default: value, when: kinds && { "arrivals.kind": kinds } });
  return [
    { name: "arrivals.kind", kind: "select", label: "Requests come", options: KINDS, default: "constant" },
    arrival("seconds", "For seconds", null, 60),
    arrival("per_second", "Requests a second", ["constant", "poisson", "ramp"], 10),
    arrival("to_per_second", "In the end a second", ["ramp"], 50),
    arrival("burst_size", "Requests in a burst", ["bursts"], 10),
    arrival("every_seconds", "Every so many seconds", ["bursts"], 1),
    { group: "Services, which are simulated", isOpen: true, fields: [
      ...scriptFields("upstream"),
      { name: "upstream.phases.0.from_seconds", kind: "number", label: "All fail from second", placeholder: "20" },
      { name: "upstream.phases.0.to_seconds", kind: "number", label: "to second", placeholder: "40" },
    ] },
    { group: "Time and state", fields: [
      { name: "clock", kind: "select", label: "Clock", options: [["virtual", "Virtual: as fast as it goes"], ["real", "Real"]], default: "virtual" },
      { name: "state", kind: "select", label: "Buckets and circuits", options: [["fresh", "Fresh"], ["copy", "A copy of the present"], ["traffic", "Those of traffic"]], default: "fresh", hint: "Those of traffic, on the real clock: tokens are taken, and requests are logged." },
      { name: "seed", kind: "number", label: "Seed", optional: true, placeholder: "0", hint: "The same seed, the same story." },
    ] },
    { group: "Other settings", fields: [{ name: "", kind: "rest", wide: true, label: "As JSON", names: ["configuration", "services", "concurrency"], hint: "configuration: what is to be different. services: scripts of some. concurrency: how many may be under way." }] },
  ];
}

/** The body of the call. A phase is as the rest of the script, but for its errors. */
export function batchOf({ arrivals, upstream, clock, state, seed, configuration, services, concurrency, ...request }) {
  const { phases, ...script } = upstream;
  if (phases) script.phases = Object.values(phases).map((phase) => ({ ...script, error_rate: 1, ...phase }));
  return { requests: [request], arrivals, upstream: script, clock, state, seed, configuration, services, concurrency };
}

/** Asks for it, and shows in `place` how far it is until it has ended. Errors are at the fields of the one request. */
export async function runBatch(body, place, signal) {
  try {
    return await runJob("api/gateway/batch", body, place, signal);
  } catch (error) {
    error.errors?.forEach((entry) => { entry.field = entry.field === "body" ? "" : entry.field.replace(/^requests\.0\./, ""); }); // "body": all of it
    throw error;
  }
}

/** `[what to announce, everything else]`. */
export function storyOf({ state, result }, names) {
  const named = (text) => { const [id, ...rest] = text.split(" "); return [names.get(id) ?? id, ...rest].join(" "); };
  const limited = result.timeline.find(({ what, after }) => what === "first" && after === "429");
  const opened = result.timeline.find(({ what, after }) => what === "circuit" && after === "open");
  const note = h("div", { class: `note tone-${opened ? "bad" : limited ? "warn" : "good"}` },
    h("strong", {}, `${count(result.requests)} requests in ${duration(result.seconds)}`), state === "cancelled" ? ", until it was cancelled" : "",
    `, which took ${milliseconds(result.took_seconds * 1000)}. `,
    limited ? `First 429 at ${stopwatch(limited.at)}. ` : "None was refused with 429. ",
    opened ? `The circuit of ${named(opened.name)} opened at ${stopwatch(opened.at)}: ${opened.reason}.` : "No circuit opened.");
  const changes = result.timeline.filter(({ what }) => what === "circuit");
  const marks = changes.map(({ at, name, after }) => ({ at, label: `${stopwatch(at)}: the circuit of ${named(name)} is ${after.replace("_", " ")}` }));
  return [note, [
    volumeOf(result, marks),
    result.tokens.length ? tokensOf(result.tokens) : null,
    changes.length ? circuitsOf(changes, result, named) : null,
    card("Answers", plainTable("Answers by status and reason", ["Status", "Reason", "Requests", "Share"], result.counts.map((entry) => [
      badge(String(entry.status), entry.status >= 500 ? "bad" : entry.status >= 400 ? "warn" : "good"), entry.code ? h("code", {}, entry.code) : "the service's answer", count(entry.requests), percent(entry.requests / result.requests)])),
    h("p", { class: "muted" }, `P50 ${milliseconds(result.latency_ms.p50)}, P95 ${milliseconds(result.latency_ms.p95)}, P99 ${milliseconds(result.latency_ms.p99)}; ${count(result.admitted)} went to a service, with ${count(result.retries)} retries.`)),
    groupsOf([...result.keys.map((group) => ["Key", group]), ...result.services.map((group) => ["Service", group])]),
    card("What happened when", plainTable("What happened, in order", ["At", "What", "Became", "Why"], result.timeline.slice(0, MOST_ROWS).map((entry) => [
      span("number nowrap", stopwatch(entry.at)), entry.what === "first" ? h("code", {}, entry.name) : `${entry.what} of ${named(entry.name)}`, entry.what === "first" ? `first ${entry.after}` : entry.after.replace("_", " "), entry.reason]))),
  ]];
}

function volumeOf({ history, slot_seconds: slot }, marks) {
  const chart = createChart({
    title: "Requests by outcome", kind: "columns", series: OUTCOMES, format: (value) => (Number.isInteger(value) ? count(value) : value.toFixed(1)), unit: `in ${slot < 10 ? Number(slot.toFixed(2)) : Math.round(slot)} s each, by when they ended`, clock: stopwatch,
    total: (points, id) => points.reduce((sum, { values }) => sum + (values[id] ?? 0), 0),
  });
  chart.update({ points: history.map(({ at, outcomes }) => ({ start: at, values: outcomes })), slot, marks });
  return chart.node;
}

function tokensOf(tokens) {
  const shown = tokens.slice(0, MOST_SERIES).map(({ limit, tokens: points }, place) => ({ id: `s${place}`, label: limit, at: new Map(points) }));
  const times = [...new Set(shown.flatMap(({ at }) => [...at.keys()]))].sort((one, other) => one - other);
  const chart = createChart({
    title: "Tokens", kind: "lines", series: shown, format: (value) => value.toFixed(1), clock: stopwatch,
    unit: tokens.length > shown.length ? `of ${shown.length} buckets out of ${tokens.length}` : "left in each bucket",
    total: (points, id) => points.at(-1)?.values[id],
  });
  chart.update({ points: times.map((start) => ({ start, values: Object.fromEntries(shown.map(({ id, at }) => [id, at.get(start) ?? null])) })), slot: (times[1] ?? 1) - times[0] });
  return chart.node;
}

/** A strip for each service whose circuit changed; the table of what happened says the same. */
function circuitsOf(changes, { seconds }, named) {
  const strips = [...new Set(changes.map(({ name }) => name))].map((name) => {
    const own = changes.filter((change) => change.name === name);
    const states = [{ at: 0, after: own[0].before }, ...own];
    const pieces = states.map(({ at, after }, place) => s("rect", { class: `tone-${TONES[after]}`, x: at, width: Math.max(0, (states[place + 1]?.at ?? seconds) - at), height: 1 }));
    const words = states.map(({ at, after }) => `${after.replace("_", " ")} from ${stopwatch(at)}`).join(", ");
    return h("div", {}, h("h3", {}, named(name)), s("svg", { class: "strip", viewBox: `0 0 ${seconds || 1} 1`, preserveAspectRatio: "none", role: "img", "aria-label": `The circuit of ${named(name)}: ${words}` }, pieces));
  });
  return card("Circuits", h("div", { class: "circuits stack" }, strips), h("div", { class: "chips" }, Object.entries(TONES).map(([state, tone]) => badge(state.replace("_", " "), tone))));
}

function groupsOf(groups) {
  if (groups.length === 0) return null;
  const rows = groups.slice(0, MOST_ROWS).map(([kind, group]) => [span("muted", kind), group.name, ...["requests", "answered", "limited", "errors"].map((name) => count(group[name]))]);
  return card("Keys and services", plainTable("Keys and services, the busiest first", ["", "Name", "Requests", "Answered", "Limited", "Errors"], rows));
}

function card(title, ...content) {
  return h("section", { class: "card", "aria-label": title }, h("div", { class: "card-head" }, h("h2", {}, title)), h("div", { class: "card-body stack" }, content));
}

/** Seconds since the beginning: `0:02.4`, or without the tenths where slots are long. */
function stopwatch(seconds, slot = 0) {
  const tenths = slot < 1 ? Math.round(seconds * 10) : Math.round(seconds) * 10;
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(tenths / 36_000), Math.floor(tenths / 600) % 60];
  const rest = two(Math.floor(tenths / 10) % 60) + (slot < 1 ? `.${tenths % 10}` : "");
  return hours ? `${hours}:${two(minutes)}:${rest}` : `${minutes}:${rest}`;
}
