// #/logs: every request, as it ended.

import { ask, attempt } from "../actions.js";
import { api, open } from "../api.js";
import { openDialog } from "../dialog.js";
import { fill, h, icon, say, span } from "../dom.js";
import { bytes, count, exactTime, fullTime, milliseconds } from "../format.js";
import { createFreshness } from "../freshness.js";
import { failed } from "../notices.js";
import { badge, copyButton, empty, facts, filterBox, repeat, searchBox, unreachable, viewHead } from "../parts.js";
import { go, here, href, keep } from "../router.js";

const PAGE = 100;
const MOST_KEPT = 300;
const SINCE = [["5m", "Last 5 minutes"], ["1h", "Last hour"], ["24h", "Last day"], ["7d", "Last week"]];
const STATUSES = [["2xx", "2xx"], ["3xx", "3xx"], ["4xx", "4xx"], ["5xx", "5xx"], ["401", "401"], ["404", "404"], ["429", "429"], ["502", "502"], ["503", "503"], ["504", "504"]];
const FLAGS = [["rate_limited", "Rate limited"], ["circuit_open", "Circuit open"]];
const LATENCIES = [["100", "Over 100 ms"], ["500", "Over 500 ms"], ["1000", "Over 1 s"], ["5000", "Over 5 s"]];
const BY_ADDRESS = { route: "Route", request_id: "Request", trace_id: "Trace", until: "Until" }; // filters that something leads to
const AN_ID = /^[0-9a-f]{32}$/;
const STAGES = [["parse", "Read"], ["auth", "Credential"], ["rate_limit", "Rate limit"], ["router", "Route"], ["circuit_breaker", "Circuit"], ["proxy", "Upstream"]];

export function mount(view, { query, signal }) {
  const filters = Object.fromEntries(["method", "status", "service", "key", "path", "min_latency_ms", "since", "flag", ...Object.keys(BY_ADDRESS)].map((name) => [name, query[name] ?? ""]));
  let rows = [];
  let cursor = null;
  let isTailing = true;
  let turn = 0;
  let typing = 0;

  const freshness = createFreshness(signal);
  const body = h("tbody", {});
  const frame = h("div", { class: "table-frame cards dense log" },
    h("table", {}, h("caption", { class: "unseen" }, "Requests, the newest first"),
      h("thead", {}, h("tr", {}, [["Time"], ["Method"], ["Status"], ["Path"], ["Service"], ["Key"], ["Latency", "right"]].map(([label, right]) => h("th", { scope: "col", class: right }, label)))), body));
  const nothing = h("div", { class: "card", hidden: true });
  const total = h("span", { class: "total number", role: "status" });
  const tail = h("button", { class: "button", "aria-pressed": "true", onclick: () => follow(!isTailing, true) });
  const older = h("button", { class: "button", hidden: true, onclick: loadOlder }, "Load older requests");
  const services = choice("service", "Service", "Any service", []);
  const keys = choice("key", "Key", "Any key", []);
  fill(view,
    viewHead(["Logs", freshness.node], null, tail,
      h("button", { class: "button", onclick: () => save("csv") }, icon("download"), "CSV"),
      h("button", { class: "button", onclick: () => save("ndjson") }, icon("download"), "NDJSON"),
      h("button", { class: "button quiet", onclick: clear, "data-focus": "clear" }, icon("remove"), "Clear")),
    h("div", { class: "bar" },
      searchBox({ label: "Search paths, or an id", value: filters.path, oninput: (value) => refine("path", value) }),
      choice("method", "Method", "Any method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"].map((name) => [name, name])).node,
      choice("status", "Status", "Any status", STATUSES).node, services.node, keys.node,
      choice("flag", "Reason", "Any reason", FLAGS).node, choice("min_latency_ms", "Latency", "Any latency", LATENCIES).node, choice("since", "Since", "Any time", SINCE).node,
      Object.entries(BY_ADDRESS).filter(([name]) => filters[name]).map(([name, label]) => h("button", { class: "button small", onclick: () => go("logs", { ...here().query, [name]: "" }) }, `${label}: ${filters[name]}`, icon("close"))),
      total),
    frame, nothing, h("div", { class: "more" }, older));
  follow(true);
  skeleton();
  names();
  window.addEventListener("scroll", () => { if (window.scrollY > 80 && isTailing) follow(false); }, { signal, passive: true });
  if (query.open) api.get(`api/logs/${encodeURIComponent(query.open)}`).then((row) => signal.aborted || inspect(row), failed);
  const refresh = repeat(1, signal, async () => { if (isTailing) await load(); });

  function choice(name, label, any, options) {
    const known = filters[name] && !options.some(([value]) => value === filters[name]) ? [[filters[name], filters[name]], ...options] : options;
    return filterBox({ label, all: any, options: known, value: filters[name], onchange: (value) => refine(name, value) });
  }

  async function names() {
    for (const [name, box] of [["services", services], ["keys", keys]]) {
      const { items } = await api.get(`api/${name}`, { limit: 200 }).catch(() => ({ items: [] }));
      const wanted = filters[name.slice(0, -1)];
      const listed = [...new Set([...(wanted ? [wanted] : []), ...items.map((item) => item.name)])];
      box.set(listed.map((text) => [text, text]), wanted);
    }
  }

  function refine(name, value) {
    filters[name] = value;
    keep({ [name]: value });
    clearTimeout(typing);
    typing = setTimeout(() => { follow(true); load(); }, name === "path" ? 200 : 0);
  }

  function wanted() {
    const { flag, ...rest } = filters;
    if (AN_ID.test(rest.path)) Object.assign(rest, { request_id: rest.path, path: "" });
    return { ...rest, ...(flag ? { [flag]: "true" } : {}) };
  }

  async function load() {
    const own = (turn += 1);
    try {
      const page = await api.get("api/logs", { ...wanted(), page_size: PAGE });
      if (own !== turn || signal.aborted) return;
      freshness.news();
      rows = page.items;
      cursor = page.next_cursor;
      draw(page);
    } catch (error) {
      if (own === turn && rows.length === 0 && error.name !== "AbortError") show(unreachable(error, () => refresh()));
    }
  }

  async function loadOlder() {
    follow(false);
    try {
      const page = await api.get("api/logs", { ...wanted(), page_size: PAGE, cursor });
      rows = [...rows, ...page.items].slice(-MOST_KEPT);
      cursor = page.next_cursor;
      draw(page);
    } catch (error) {
      failed(error);
    }
  }

  function draw(page) {
    say(total, `${count(page.total)}${page.total_is_exact ? "" : " or more"} ${page.total === 1 ? "request" : "requests"}`);
    older.hidden = cursor === null;
    if (rows.length === 0) return show(isFiltered() ? noneFits() : noneYet());
    nothing.hidden = true;
    frame.hidden = false;
    const shown = new Map([...body.children].map((row) => [row.dataset.id, row]));
    const next = rows.map((row) => shown.get(String(row.id)) ?? rowOf(row, inspect));
    const isSame = next.length === body.children.length && next.every((row, place) => body.children[place] === row);
    if (!isSame) fill(body, next);
    return undefined;
  }

  function show(content) {
    frame.hidden = true;
    nothing.hidden = false;
    fill(nothing, content);
  }

  function skeleton() {
    fill(body, Array.from({ length: 12 }, () => h("tr", {}, [1, 2, 2, 1, 3, 3, 2].map((width) => h("td", {}, h("span", { class: `skeleton w${width}` }))))));
  }

  function follow(isOn, isByHand = false) {
    isTailing = isOn;
    tail.setAttribute("aria-pressed", String(isOn));
    fill(tail, icon(isOn ? "pause" : "play"), isOn ? "Pause" : "Follow");
    freshness.node.hidden = !isOn;
    if (isOn && isByHand) { window.scrollTo(0, 0); load(); }
  }

  function isFiltered() {
    return Object.values(filters).some(Boolean);
  }

  function noneFits() {
    return empty({ drawing: "search", title: "No request fits", text: "Another filter, or a longer time, may.", action: h("button", { class: "button", onclick: () => { if (location.hash === "#/logs") location.reload(); else go("logs"); } }, "Show all") });
  }

  function noneYet() {
    return empty({ drawing: "logs", title: "No request yet", text: "Every request to the proxy port is here, however it ended, also those that are refused." });
  }

  function save(format) {
    return attempt(async () => {
      const answer = await open("api/logs/export", { query: { ...wanted(), format }, signal });
      const name = /filename="([^"]+)"/.exec(answer.headers.get("content-disposition") ?? "")?.[1] ?? `request-log.${format}`;
      const address = URL.createObjectURL(await answer.blob());
      h("a", { href: address, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
      return name;
    }, (name) => `${name} is saved.`);
  }

  async function clear() {
    await ask({ title: "Clear the request log?", text: "All rows are deleted, also those that the filters hide. This can't be undone.", action: "Clear log" }, () => api.delete("api/logs"), "The request log is empty.");
    await load();
  }
}

function rowOf(row, inspect) {
  const cell = (label, content, className) => h("td", { "data-label": label, class: className }, content);
  return h("tr", { "data-id": row.id },
    cell("Time", h("time", { class: "number nowrap muted", datetime: row.timestamp, title: fullTime(row.timestamp) }, exactTime(row.timestamp))),
    cell("Method", span("chip", row.method || "–")),
    cell("Status", statusBadge(row)),
    cell("Path", h("button", { class: "row-open mono", onclick: () => inspect(row), "data-focus": `log-${row.id}` }, (row.path || "not readable") + row.query), "path first"),
    cell("Service", row.service ?? span("faint", "–")),
    cell("Key", row.key ?? span("faint", "–")),
    cell("Latency", milliseconds(row.latency_ms), "right"));
}

function statusBadge(row) {
  const tone = row.status >= 500 ? "bad" : row.status >= 400 ? "warn" : row.status >= 300 ? "info" : "good";
  return [badge(String(row.status), tone), row.code ? span("code faint", row.code) : null];
}

async function inspect(row) {
  const session = await api.get("api/session").catch(() => ({}));
  const line = curlOf(row, session.proxy);
  openDialog({
    title: span("mono", `${row.method} ${row.path}`),
    subtitle: fullTime(row.timestamp),
    kind: "drawer",
    body: [
      h("div", { class: "spread" }, statusBadge(row), row.rate_limited ? badge(`limited by ${row.limited_by}`, "warn") : null, row.circuit_open ? badge("circuit open", "bad") : null, row.shadowed.map((rule) => badge(`${rule} would have limited it`, "violet"))),
      h("h3", {}, "Stages"), stagesOf(row),
      h("h3", {}, "Time"), timesOf(row),
      facts([
        ["Service", row.service ?? "none"], ["Route", h("code", {}, row.route ?? "none")], ["Key", row.key ?? "none"], ["Client", h("code", {}, row.client_ip)],
        row.query && ["Query", h("code", {}, row.query)],
        row.upstream && ["Upstream", [h("code", {}, row.upstream), row.upstream_status ? ` answered ${row.upstream_status}` : ""]],
        row.breaker && ["Circuit", row.breaker.replace("_", " ")], ["Retries", String(row.retries)],
        ["Bodies", `${bytes(row.bytes_in)} in, ${bytes(row.bytes_out)} out`], ["Request id", h("code", {}, row.request_id)], ["Trace id", h("a", { class: "mono", href: href("logs", { trace_id: row.trace_id }) }, row.trace_id)],
      ]),
      h("h3", {}, "As curl"), h("pre", { class: "sample" }, line),
      h("div", { class: "spread" }, copyButton(line, "Copy as curl"), h("a", { class: "button", href: href("explain", { row: row.id }) }, icon("explain"), "Explain")),
    ],
  });
}

/** Which stages it passed, and where it stopped. */
function stagesOf(row) {
  const end = Math.max(0, STAGES.findIndex(([name]) => name === (row.stage || "proxy")));
  return h("ol", { class: "stages" }, STAGES.map(([name, label], place) => {
    const isEnd = place === end;
    const isRefusal = isEnd && row.code;
    const tone = place > end ? "off" : isRefusal ? (row.status >= 500 ? "bad" : "warn") : "good";
    const text = place > end ? "not reached" : isRefusal ? row.code.replaceAll("_", " ") : isEnd ? `answered ${row.status}` : "passed";
    return h("li", { class: `tone-${tone}${place > end ? " off" : ""}`, "data-stage": name }, h("strong", {}, label), h("span", {}, text));
  }));
}

function timesOf(row) {
  const whole = Math.max(row.latency_ms, 0.001);
  const upstream = row.upstream_ms ?? 0;
  const bar = (label, from, length, tone) => {
    const piece = h("i", { class: `tone-${tone}` });
    piece.style.marginLeft = `${(from / whole) * 100}%`;
    piece.style.width = `${Math.max(0.5, (length / whole) * 100)}%`;
    return h("li", {}, h("span", {}, label), span("track", piece), span("number", milliseconds(length)));
  };
  const starts = row.attempts.map((attempt, place) => (place ? row.attempts[place - 1].after_ms : 0));
  return h("ol", { class: "waterfall" },
    bar("In all", 0, row.latency_ms, "off"),
    row.attempts.map((attempt, place) => [bar(`Attempt ${place + 1}`, starts[place], Math.max(0, attempt.after_ms - starts[place]), "bad"), h("li", { class: "said faint" }, `${attempt.target}: ${attempt.fault.replaceAll("_", " ")}; ${attempt.verdict}`)]),
    row.upstream_ms === null ? null : bar("Upstream", Math.max(0, whole - upstream), upstream, "info"),
    row.upstream_ms === null || row.attempts.length ? null : bar("Gateway", 0, Math.max(0, whole - upstream), "violet"));
}

/** The key itself is not in the log: whoever pastes the line puts it in. */
function curlOf(row, proxy) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const host = location.hostname.includes(":") ? `[${location.hostname}]` : location.hostname;
  const base = proxy ? `${proxy.scheme}://${host}:${proxy.port}` : "http://GATEWAY";
  const method = row.method === "GET" ? "" : `-X ${quoted(row.method)} `;
  return `curl -i ${method}${row.key ? "-H 'X-API-Key: YOUR-KEY' " : ""}${quoted(`${base}${row.path}${row.query}`)}`;
}
