// #/: how the gateway is doing, with what needs somebody first.

import { all, api } from "../api.js";
import { createChart, OUTCOMES, sparkline } from "../chart.js";
import { fill, h, icon, say, span } from "../dom.js";
import { ago, count, milliseconds, percent, rate, time } from "../format.js";
import { createFreshness } from "../freshness.js";
import { listen } from "../live.js";
import { announce } from "../notices.js";
import { circuitBadge, empty, healthBadge, rateCell, repeat, segments, viewHead } from "../parts.js";
import { href, keep } from "../router.js";
import { stateOf } from "../key_state.js";

const WINDOWS = [["1m", "1 min"], ["10m", "10 min"], ["1h", "1 h"], ["24h", "24 h"]];
const MOST_SERVICES = 12;
const MOST_MARKS = 200;
const REFRESH = 5; // seconds, should the stream be away
const LIMITED_SHARE = 0.1;
const CLOSE_TO_LIMIT = 0.8; // of its requests per minute
const SPARKS = 60; // seconds
const GATHERED = 40; // milliseconds; events that come together are drawn together
const CHANGES = { create: "created", replace: "replaced", revise: "changed", delete: "deleted", revoke: "revoked", rotate: "rotated", restore: "restored" };
const ERRORS_TELL = { share: 0.05, requests: 20 };

export function mount(view, { query, signal }) {
  let period = WINDOWS.some(([name]) => name === query.window) ? query.window : "10m";
  let requests = 0;
  const inFlight = Array.from({ length: SPARKS }, () => null);
  const marks = [];
  const freshness = createFreshness(signal);
  const tiles = tilesOf();
  const attention = h("section", { class: "attention", "aria-label": "Needs attention", hidden: true });
  const volume = createChart({
    title: "Requests", kind: "columns", series: OUTCOMES, format: rate, unit: "per second, by outcome", total: (points, id) => mean(points, id),
  });
  const latency = createChart({
    title: "Latency", kind: "lines", series: ["p50", "p95", "p99"].map((id) => ({ id, label: id.toUpperCase() })), format: milliseconds, unit: "from the request's head to its end", total: (points, id) => latest(points, id),
  });
  const services = h("div", { class: "wide-table" });
  fill(view,
    viewHead(["Dashboard", freshness.node], null, h("a", { class: "button", href: href("history") }, icon("history"), "History"), segments({ label: "Window", options: WINDOWS, value: period, onchange: (value) => { period = value; keep({ window: value }); refresh(); } })),
    attention,
    h("div", { class: "tiles" }, Object.values(tiles).map((tile) => tile.node)),
    h("div", { class: "charts" }, volume.node, latency.node),
    h("section", { class: "card", "aria-label": "Services" }, h("div", { class: "card-head" }, h("h2", {}, "Services"), h("a", { class: "end", href: href("services") }, "All services")), services));

  const refresh = repeat(REFRESH, signal, async () => {
    const turn = (requests += 1);
    try {
      const [figures, amounts, times] = await Promise.all(["dashboard", "volume", "latency"].map((name) => api.get(`api/metrics/${name}`, { window: period })));
      if (turn !== requests || signal.aborted) return;
      freshness.news();
      draw(figures, amounts, times);
    } catch (error) {
      if (error.status === undefined) throw error;
    }
  });
  const refreshServices = repeat(3, signal, () => drawServices().catch((error) => { if (error.status === undefined) throw error; }));
  repeat(30, signal, () => drawAttention().catch((error) => { if (error.status === undefined) throw error; }));
  const known = { services: [], keys: [], busy: [], limited: [], dropped: 0, window: "" };
  let gathering = 0;
  listen(signal, (name, data, isNews) => {
    if (name === "configuration" && data.result === "applied") marks.push(data);
    if (marks.length > MOST_MARKS) marks.shift();
    if (name === "metrics" || name === "configuration") gathering ||= setTimeout(() => { gathering = 0; refresh(); }, GATHERED);
    if (name !== "circuit" || !isNews) return;
    announce(`The circuit of ${known.services.find(({ id }) => id === data.service_id)?.name ?? "a service"} is ${data.after.replace("_", " ")}: ${data.reason}`);
    refreshServices();
  });

  function draw(figures, amounts, times) {
    const slot = amounts.window.slot_seconds;
    const points = amounts.history.map((entry) => ({ start: entry.start, values: perSecond(entry.outcomes, Math.min(slot, Math.max(1, amounts.window.until - entry.start))) }));
    const byStart = new Map(times.history.map((entry) => [entry.start, entry]));
    const durations = points.map(({ start }) => {
      const entry = byStart.get(start);
      return { start, values: { p50: entry?.p50_ms ?? null, p95: entry?.p95_ms ?? null, p99: entry?.p99_ms ?? null } };
    });
    volume.update({ points, slot, marks: marks.map((change) => ({ at: change.at, label: changeInWords(change, known) })) });
    latency.update({ points: durations, slot });
    inFlight.push(figures.in_flight);
    inFlight.shift();
    const sum = (values, names) => names.reduce((total, name) => total + values[name], 0);
    const totals = points.map(({ values }) => sum(values, Object.keys(values)));
    tiles.rate.update(rate(figures.requests_per_second.value), figures.requests_per_second, totals);
    tiles.errors.update(percent(figures.error_rate.value), figures.error_rate, points.map(({ values }, place) => (totals[place] ? sum(values, ["upstream_error", "gateway_error"]) / totals[place] : 0)));
    for (const name of ["p50", "p95", "p99"]) tiles[name].update(figures.requests.value ? milliseconds(figures.latency_ms[name].value) : "–", figures.latency_ms[name], durations.map(({ values }) => values[name]));
    tiles.flight.update(count(figures.in_flight), null, inFlight);
    const refused = { value: figures.refused.value + figures.limited.value, previous: figures.refused.previous === null ? null : figures.refused.previous + figures.limited.previous };
    tiles.refused.update(count(refused.value), refused, points.map(({ values }) => sum(values, ["refused", "limited"])));
  }

  async function drawServices() {
    const asked = period;
    const [items, metrics] = await Promise.all([all("api/services"), api.get("api/metrics/services", { window: asked })]);
    known.window = WINDOWS.find(([name]) => name === asked)[1];
    const byId = new Map(metrics.items.map((entry) => [entry.id, entry.current]));
    known.services = items.map((service) => ({ ...service, now: byId.get(service.id) }));
    const rows = [...known.services].sort((one, other) => trouble(other) - trouble(one) || (other.now?.requests ?? 0) - (one.now?.requests ?? 0));
    const print = JSON.stringify(rows);
    drawList();
    if (services.dataset.print === print) return;
    services.dataset.print = print;
    fill(services, rows.length ? tableOf(rows.slice(0, MOST_SERVICES)) : nothingYet());
  }

  async function drawAttention() {
    const [keys, limits, minute, log] = await Promise.all([all("api/keys"), api.get("api/metrics/rate-limits", { window: "10m" }), api.get("api/metrics/latency", { window: "1m", limit: 1000 }), api.get("api/logs", { page_size: 1 })]);
    Object.assign(known, { keys, busy: minute.keys, limited: limits.keys, dropped: log.rows_dropped });
    drawList();
  }

  function drawList() {
    const list = troubles(known);
    attention.hidden = list.length === 0;
    const print = JSON.stringify(list);
    if (attention.dataset.print === print) return;
    attention.dataset.print = print;
    fill(attention, h("h2", {}, icon("warning"), "Needs attention"), h("ul", {}, list.map(({ tone, text, detail, address, action }) => h("li", { class: `tone-${tone}` }, h("i"), h("span", {}, h("strong", {}, text), " ", span("muted", detail)), h("a", { href: address }, action)))));
  }
}

/** What somebody should look at, the worst first. */
function troubles({ services, keys, busy, limited, dropped, window }) {
  const found = [];
  for (const service of services.filter(({ enabled }) => enabled)) {
    const address = href("services", { open: service.id });
    if (service.circuit === "open") found.push({ tone: "bad", text: `The circuit of ${service.name} is open.`, detail: "Its requests get 503.", address, action: "Look" });
    if (service.circuit === "half_open") found.push({ tone: "warn", text: `The circuit of ${service.name} is half open.`, detail: "A few requests try whether it is well again.", address, action: "Look" });
    if (service.health === "unhealthy") found.push({ tone: "bad", text: `${service.name} is unhealthy.`, detail: "No target passes its checks.", address, action: "Look" });
    if (service.health === "degraded") found.push({ tone: "warn", text: `${service.name} is degraded.`, detail: "Some of its targets are out.", address, action: "Look" });
    const now = service.now;
    if (now && now.requests >= ERRORS_TELL.requests && now.error_rate >= ERRORS_TELL.share && service.circuit === "closed") found.push({ tone: "warn", text: `${percent(now.error_rate)} of the requests to ${service.name} failed.`, detail: `In the last ${window}.`, address: href("logs", { service: service.name, status: "5xx" }), action: "See them" });
  }
  for (const { name, share, limited: figure } of limited) {
    if (share >= LIMITED_SHARE) found.push({ tone: "warn", text: `${name} is at its limit.`, detail: `${count(figure.value)} of its requests were refused in ten minutes (${percent(share)}).`, address: href("keys", { q: name }), action: "See the key" });
  }
  const minutes = new Map(busy.map(({ id, current }) => [id, current]));
  const isLimited = new Set(limited.filter(({ share }) => share >= LIMITED_SHARE).map(({ id }) => id));
  for (const key of keys) {
    const { requests, outcomes } = minutes.get(key.id) ?? { requests: 0, outcomes: { limited: 0 } };
    const used = (requests - outcomes.limited) / key.requests_per_minute;
    if (used >= CLOSE_TO_LIMIT && !isLimited.has(key.id)) found.push({ tone: "warn", text: `${key.name} is close to its limit.`, detail: `It used ${percent(used)} of ${count(key.requests_per_minute)} requests in the last minute.`, address: href("keys", { q: key.name }), action: "See the key" });
    const { name: state } = stateOf(key);
    if (state === "expiring") found.push({ tone: "warn", text: `${key.name} expires ${ago(key.expires_at)}.`, detail: key.owner ? `It is ${key.owner}’s.` : "", address: href("keys", { q: key.name }), action: "See the key" });
  }
  if (dropped) found.push({ tone: "bad", text: `${count(dropped)} rows of the request log are lost.`, detail: "It could not be written fast enough.", address: href("logs"), action: "See the log" });
  return found.sort((one, other) => (other.tone === "bad") - (one.tone === "bad")).slice(0, 8);
}

function tilesOf() {
  const tile = (label, { colour = "success", isBetterLow } = {}) => {
    const value = h("strong", { class: "number" }, "–");
    const change = h("span", { class: "change number" });
    const line = sparkline();
    return {
      node: h("div", { class: `tile card c-${colour}` }, h("h2", {}, label), h("div", { class: "spread" }, value, change), line.node),
      update(text, figure, values) {
        say(value, text);
        drawChange(change, figure, isBetterLow);
        line.update(values);
      },
    };
  };
  return {
    rate: tile("Requests/s"), errors: tile("Error rate", { colour: "upstream_error", isBetterLow: true }), p50: tile("P50", { colour: "p50", isBetterLow: true }),
    p95: tile("P95", { colour: "p95", isBetterLow: true }), p99: tile("P99", { colour: "p99", isBetterLow: true }), flight: tile("In flight", { colour: "redirect" }), refused: tile("Refused", { colour: "limited", isBetterLow: true }),
  };
}

function changeInWords({ at, action, kind, id }, { services, keys }) {
  const name = [...services, ...keys].find((entity) => entity.id === id)?.name ?? id;
  return `${time(at * 1000)} ${kind.replaceAll("_", " ")} ${name} ${CHANGES[action] ?? action}`.replace(/ +/g, " ");
}

/** Against the window before. */
function drawChange(node, figure, isBetterLow) {
  const { value, previous } = figure ?? {};
  const isKnown = previous !== null && previous !== undefined && (previous > 0 || value > 0);
  const share = isKnown && previous > 0 ? (value - previous) / previous : null;
  const tone = !isBetterLow || share === null || Math.abs(share) < 0.1 ? "" : share > 0 ? "bad" : "good";
  node.className = `change number ${tone}`;
  node.title = isKnown ? "Against the window before" : "";
  say(node, !isKnown ? "" : share === null ? "new" : Math.abs(share) < 0.005 ? "±0 %" : `${share > 0 ? "+" : "−"}${share > 9.99 ? ">999" : Math.round(Math.abs(share) * 100)} %`);
}

function perSecond(outcomes, seconds) {
  return Object.fromEntries(Object.entries(outcomes).map(([name, value]) => [name, value / seconds]));
}

function mean(points, id) {
  return points.length ? points.reduce((sum, { values }) => sum + (values[id] ?? 0), 0) / points.length : 0;
}

function latest(points, id) {
  return points.findLast(({ values }) => values[id] !== null)?.values[id] ?? null;
}

function trouble(service) {
  return { open: 4, half_open: 3 }[service.circuit] ?? ({ unhealthy: 2, degraded: 1 }[service.health] ?? 0);
}

function tableOf(rows) {
  const head = [["Service"], ["Circuit"], ["Health"], ["Requests/s", true], ["P95", true], ["Errors", true]];
  return h("table", {}, h("caption", { class: "unseen" }, "Services"),
    h("thead", {}, h("tr", {}, head.map(([label, right]) => h("th", { scope: "col", class: right ? "right" : null }, label)))),
    h("tbody", {}, rows.map((service) => h("tr", { class: service.enabled ? null : "dimmed" },
      h("td", {}, h("a", { class: "row-open", href: href("services", { open: service.id }) }, service.name)),
      h("td", {}, circuitBadge(service.circuit)),
      h("td", {}, healthBadge(service.health)),
      h("td", { class: "right" }, rate(service.now?.requests_per_second ?? 0)),
      h("td", { class: "right" }, service.now?.requests ? milliseconds(service.now.latency_ms.p95) : "–"),
      h("td", { class: "right" }, rateCell(service.now?.error_rate ?? 0))))));
}

function nothingYet() {
  return empty({ drawing: "services", title: "Nothing is configured yet", text: "It begins with a service: the address of something that answers HTTP.", action: h("a", { class: "button primary", href: href("services", { create: "yes" }) }, "Create the first service") });
}
