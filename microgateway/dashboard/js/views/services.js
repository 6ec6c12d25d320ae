// #/services: the registry of upstreams, and how each is doing.

import { ask, attempt } from "../actions.js";
import { all, api } from "../api.js";
import { openDialog } from "../dialog.js";
import { fill, h, icon, s, span } from "../dom.js";
import { openEditor } from "../editor.js";
import { ago, count, duration, fullTime, milliseconds, percent, rate } from "../format.js";
import { mountList, titleCell } from "../list_view.js";
import { circuitBadge, createButton, empty, facts, healthBadge, iconButton, rateCell, repeat, toggle } from "../parts.js";
import { href, keep } from "../router.js";
import { serviceFields } from "./service_form.js";

const REFRESH = 3; // seconds
const STRIPS = 60_000; // milliseconds between two looks at a day
const MOST_STRIPS = 60;
const CELLS = 48;
const STATES = {
  attention: (service) => service.circuit !== "closed" || ["unhealthy", "degraded"].includes(service.health),
  open: (service) => service.circuit === "open",
  disabled: (service) => !service.enabled,
};

export function mount(view, context) {
  const strips = new Map();
  let stripsAt = -Infinity;
  const list = mountList(view, context, {
    name: "services", noun: "service", title: "Services", subtitle: "The upstreams behind the gateway.", searchLabel: "Search services", seconds: REFRESH,
    tools: h("button", { class: "button", onclick: checkAll }, icon("pulse"), "Check all"),
    filters: [{ name: "state", label: "State", any: "Any state", options: [["attention", "Needs attention"], ["open", "Circuit open"], ["disabled", "Switched off"]] }],
    columns: columns(),
    dimmed: (service) => !service.enabled,
    text: (service) => `${service.name} ${service.base_url}`.toLowerCase(),
    fits: (service, { state }) => (STATES[state] ?? (() => true))(service),
    load, create: () => edit(null), open: inspect,
    whenEmpty: () => empty({ drawing: "services", title: "No service yet", text: "A service is an upstream: the address of something that answers HTTP. Routes then lead requests to it.", action: createButton("Create the first service", () => edit(null)) }),
  });

  async function load() {
    const [services, metrics] = await Promise.all([all("api/services"), api.get("api/metrics/services", { window: "10m" })]);
    const now = new Map(metrics.items.map((entry) => [entry.id, entry.current]));
    if (performance.now() - stripsAt > STRIPS) loadStrips(services.slice(0, MOST_STRIPS));
    return services.map((service) => ({ ...service, now: now.get(service.id) ?? null, day: strips.get(service.id) ?? null }));
  }

  async function loadStrips(services) {
    stripsAt = performance.now();
    for (const { id } of services) {
      if (context.signal.aborted) return;
      const day = await api.get("api/metrics/volume", { window: "24h", service: id }).catch(() => null);
      if (day) strips.set(id, cellsOf(day.history));
    }
    list.refresh();
  }

  function columns() {
    return [
      { id: "name", label: "Service", first: true, sort: (service) => service.name, cell: (service) => titleCell(service, service.name, service.targets.map((target) => target.url).join(", ") || service.base_url, () => inspect(service)) },
      { id: "health", label: "Health", sort: (service) => service.health, cell: (service) => healthBadge(service.health) },
      { id: "circuit", label: "Circuit", sort: (service) => service.circuit, cell: (service) => circuitBadge(service.circuit) },
      { id: "targets", label: "Targets", right: true, sort: (service) => service.targets.length || 1, cell: targetsCell },
      { id: "rate", label: "Requests/s", right: true, sort: (service) => service.now?.requests_per_second ?? 0, cell: (service) => rate(service.now?.requests_per_second ?? 0) },
      { id: "p95", label: "P95", right: true, sort: (service) => service.now?.latency_ms.p95 ?? 0, cell: (service) => (service.now?.requests ? milliseconds(service.now.latency_ms.p95) : "–") },
      { id: "errors", label: "Errors", right: true, sort: (service) => service.now?.error_rate ?? 0, cell: (service) => rateCell(service.now?.error_rate ?? 0) },
      { id: "day", label: "24 hours", cell: (service) => (service.day ? strip(service.day) : null) },
      { id: "enabled", label: "In use", sort: (service) => Number(service.enabled), cell: (service) => toggle({ name: service.name, entity: service, change: (enabled) => change(service, enabled) }) },
      { id: "actions", label: "Actions", hiddenLabel: true, className: "actions", cell: (service) => [
        iconButton(`Check ${service.name} now`, "pulse", () => check(service), `check-${service.id}`),
        iconButton(`Edit ${service.name}`, "edit", () => edit(service), `edit-${service.id}`),
      ] },
    ];
  }

  async function change(service, enabled) {
    await attempt(() => api.patch(`api/services/${service.id}`, { enabled }), `${service.name} is switched ${enabled ? "on" : "off"}.`);
    await list.refresh();
  }

  async function check(service) {
    await attempt(() => api.post(`api/services/${service.id}/health-check`), (result) => `${service.name} is ${result.health}: ${result.targets.map(checkInWords).join("; ")}.`);
    await list.refresh();
  }

  async function checkAll() {
    await attempt(() => api.post("api/health/check-all"), ({ items }) => `${items.filter(({ health }) => health === "healthy").length} of ${items.length} services are healthy.`);
    await list.refresh();
  }

  async function edit(service) {
    await openEditor({
      kind: "service", path: "api/services", spec: "ServiceSpec", entity: service, nameOf: ({ name }) => name, fields: serviceFields(),
      subtitle: service ? service.id : "An upstream that requests are sent on to.",
      values: { health_check_path: "/health", enabled: true },
      remove: { label: "Delete", done: "deleted", text: "A service that routes still use can't be deleted." },
    });
    await list.refresh();
  }

  async function inspect(service) {
    const body = h("div", { class: "stack" });
    const foot = [
      h("button", { class: "button", onclick: () => check(service) }, icon("pulse"), "Check now"),
      h("a", { class: "button", href: href("logs", { service: service.name }) }, icon("logs"), "Its requests"),
      h("button", { class: "button", onclick: () => { dialog.close(); edit(service); } }, icon("edit"), "Edit"),
    ];
    const dialog = openDialog({ title: service.name, subtitle: service.base_url, body, foot, kind: "drawer" });
    keep({ open: service.id });
    const gone = new AbortController();
    repeat(1, AbortSignal.any([gone.signal, context.signal]), async () => {
      const [current, circuit, health] = await Promise.all([api.get(`api/services/${service.id}`), api.get(`api/circuit-breakers/${service.id}`), all("api/health/services")]).catch(() => []);
      if (current) drawDetails(body, current, circuit, health.find(({ id }) => id === service.id), () => reset(current));
    });
    await dialog.closed;
    gone.abort();
    keep({ open: "" });
  }

  async function reset({ id, name }) {
    await ask({ title: `Close the circuit of ${name}?`, text: "Requests are sent to it at once, whatever the gateway has seen of it.", action: "Close circuit", tone: "primary" },
      () => api.post(`api/circuit-breakers/${id}/reset`), `The circuit of ${name} is closed.`);
    await list.refresh();
  }
}

function targetsCell(service) {
  const good = service.target_health.filter(({ status }) => status === "healthy" || status === "unknown").length;
  return span(good < service.target_health.length ? "warn" : "", `${good}/${service.target_health.length}`);
}

function checkInWords(target) {
  const last = target.last_check;
  return last === null ? `${target.url} was not asked` : `${target.url} ${last.passed ? "passed" : `failed (${last.detail || last.status})`} in ${milliseconds(last.latency_ms)}`;
}

/** A day of slots as so many cells of requests and errors. */
function cellsOf(history) {
  const each = Math.ceil(history.length / CELLS);
  return Array.from({ length: Math.ceil(history.length / each) }, (_, place) => history.slice(place * each, (place + 1) * each).reduce(
    ([requests, errors], entry) => [requests + entry.requests, errors + entry.outcomes.upstream_error + entry.outcomes.gateway_error], [0, 0]));
}

function strip(cells) {
  const requests = cells.reduce((sum, [many]) => sum + many, 0);
  const errors = cells.reduce((sum, [, many]) => sum + many, 0);
  const tone = ([many, failed]) => (many === 0 ? "off" : failed === 0 ? "good" : failed / many < 0.05 ? "warn" : "bad");
  const label = requests ? `${count(requests)} requests, ${percent(errors / requests)} failed` : "no requests";
  return s("svg", { class: "strip", viewBox: `0 0 ${cells.length * 3} 16`, role: "img", "aria-label": label }, s("title", {}, label),
    cells.map((cell, place) => s("rect", { class: `tone-${tone(cell)}`, x: place * 3, width: 2, height: 16, rx: 0.7 })));
}

function drawDetails(body, service, circuit, health, onReset) {
  const print = JSON.stringify([service, circuit, health]);
  if (body.dataset.print === print) return;
  body.dataset.print = print;
  const hadFocus = body.contains(document.activeElement);
  fill(body,
    facts([
      ["State", service.enabled ? "in use" : "switched off"],
      ["Health", healthBadge(service.health)],
      ["Requests", `${count(service.total_requests)}, ${percent(service.error_rate)} failed`],
      ["Changed", h("time", { datetime: service.updated_at, title: fullTime(service.updated_at) }, ago(service.updated_at))],
    ]),
    h("hr"), h("h2", {}, "Targets"),
    h("ul", { class: "history" }, (health?.targets ?? []).map((target) => h("li", { class: "target" }, healthBadge(target.status), h("span", {}, h("code", {}, target.url), span("sub", target.last_check
      ? `${target.last_check.passed ? "passed" : `failed: ${target.last_check.detail || target.last_check.status}`}, ${milliseconds(target.last_check.latency_ms)}, ${ago(target.last_check.at)}` : "not checked yet", target.in_flight ? `, ${target.in_flight} in flight` : ""))))),
    h("hr"),
    h("div", { class: "spread" }, h("h2", {}, "Circuit breaker"), circuitBadge(circuit.state), circuit.state !== "closed" && circuit.mode === "auto" ? h("button", { class: "button small", onclick: onReset, "data-focus": "reset" }, icon("refresh"), "Close circuit") : null),
    facts([
      circuit.mode !== "auto" && ["Mode", circuit.mode.replace("_", " ")],
      ["Opens", circuit.trip === "rate" ? `at ${percent(circuit.failure_rate)} failures of ${circuit.minimum_calls} calls or more in ${duration(circuit.window_seconds)}` : `after ${circuit.failure_threshold} failures in a row`],
      ["Failures in a row", String(circuit.failures)],
      circuit.mode === "auto" && ["Tries again", triesAgain(circuit)],
    ]),
    h("ol", { class: "history" }, circuit.history.slice(0, 12).map(transition)));
  if (hadFocus && !body.contains(document.activeElement)) body.querySelector("button")?.focus();
}

function triesAgain({ state, retry_after_seconds: wait, recovery_timeout: timeout }) {
  if (state !== "open") return `${duration(timeout)} after it opened`;
  return wait > 0 ? `in ${duration(wait)}` : "with the next request";
}

function transition({ at, after, by, reason }) {
  return h("li", {}, h("time", { class: "faint number", datetime: at, title: fullTime(at) }, ago(at)), circuitBadge(after), span("muted", by ? `${reason} (${by})` : reason));
}
