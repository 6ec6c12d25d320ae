// #/explain: what the gateway would do with a request, stage by stage. Nothing is sent, taken, counted or logged.

import { all, api } from "../api.js";
import { fill, h, icon, span } from "../dom.js";
import { createForm } from "../form.js";
import { count } from "../format.js";
import { badge, empty, viewHead } from "../parts.js";
import { keep } from "../router.js";

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
const VERDICTS = { passed: "good", refused: "bad", postponed: "warn", skipped: "off", not_reached: "off" };
const TITLES = { normalise: "Read", guards: "Guards", authenticate: "Credential", rate_limit: "Rate limit", route: "Route", circuit: "Circuit", target: "Target", attempt: "Upstream" };

export function mount(view, { query, signal }) {
  const result = h("section", { class: "stack", "aria-label": "What would happen", "aria-live": "polite" });
  const submit = h("button", { class: "button primary", type: "submit" }, icon("explain"), "Explain");
  const form = createForm({ fields: fieldsOf(), values: { method: "GET", ...query }, onSubmit: explain });
  submit.setAttribute("form", form.node.id);
  let names = new Map();
  fill(view,
    viewHead("Explain", "What would become of a request, and why. Nothing is sent, taken or counted."),
    h("div", { class: "explain" }, h("section", { class: "card", "aria-label": "The request" }, h("div", { class: "card-body stack" }, form.node, submit)), result));
  fill(result, h("div", { class: "card" }, empty({ drawing: "explain", title: "Describe a request", text: "Its path is enough. The data plane's own code says what would become of it." })));
  if (query.path) form.node.requestSubmit();

  async function explain() {
    const asked = form.body();
    keep({ method: asked.method === "GET" ? "" : asked.method, path: asked.path, host: asked.host });
    const answer = await api.post("api/gateway/request", asked);
    if (names.size === 0) names = new Map((await all("api/services").catch(() => [])).map(({ id, name }) => [id, name]));
    if (!signal.aborted) fill(result, outcomeOf(answer, names), h("ol", { class: "walk" }, answer.stages.map((stage) => stageOf(stage, names))));
  }
}

function fieldsOf() {
  return [
    { name: "method", kind: "select", label: "Method", options: METHODS.map((name) => [name, name]) },
    { name: "host", label: "Host", optional: true, mono: true, placeholder: "localhost" },
    { name: "path", label: "Path", required: true, wide: true, mono: true, placeholder: "/orders/42?full=yes" },
    { name: "api_key", label: "API key", optional: true, wide: true, mono: true, type: "password", placeholder: "mgw_live_…" },
    { name: "token", label: "Token", optional: true, wide: true, mono: true, type: "password", placeholder: "eyJ…" },
    { name: "client_ip", label: "Client IP", optional: true, mono: true, placeholder: "127.0.0.1" },
    { name: "headers", kind: "headers", label: "Headers", optional: true, wide: true, hint: "One a line, such as X-Version: 2" },
    { name: "body", kind: "lines", label: "Body", optional: true, wide: true },
  ];
}

function outcomeOf(answer, names) {
  const isForwarded = answer.status === null;
  const service = names.get(answer.service_id) ?? answer.service_id;
  return h("div", { class: `note tone-${isForwarded ? "good" : answer.status >= 500 ? "bad" : "warn"}` },
    h("strong", {}, isForwarded ? `It would go to ${service}, which answers.` : `The gateway would answer ${answer.status}.`), " ",
    isForwarded ? "Nobody knows its answer before it is asked." : answer.code ? ["The reason is ", h("code", {}, answer.code), "."] : null,
    answer.headers.length ? h("details", {}, h("summary", {}, isForwarded ? "Header lines that the gateway adds" : "Its answer"), h("pre", { class: "sample" }, answer.headers.map(([name, value]) => `${name}: ${value}\n`), answer.body ? `\n${answer.body}` : "")) : null);
}

function stageOf(stage, names) {
  const time = stage.took_us === null ? null : span("faint number end", `${stage.took_us.toFixed(1)} µs`);
  return h("li", { class: `card tone-${VERDICTS[stage.verdict]}`, "data-stage": stage.stage },
    h("div", { class: "card-head" }, h("h2", {}, TITLES[stage.stage] ?? stage.stage), badge(stage.verdict.replace("_", " "), VERDICTS[stage.verdict]), time),
    h("div", { class: "card-body stack" }, h("p", { class: "muted" }, stage.why),
      stage.limits?.length ? limitsOf(stage.limits) : null,
      stage.candidates?.length ? candidatesOf(stage.candidates, names) : null,
      stage.upstream_request ? upstreamOf(stage.upstream_request) : null));
}

function table(caption, heads, rows) {
  return h("div", { class: "wide-table", tabindex: "0", role: "region", "aria-label": caption }, h("table", {}, h("caption", { class: "unseen" }, caption),
    h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))), h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell) => h("td", {}, cell)))))));
}

function limitsOf(limits) {
  return table("Limits", ["Limit", "Counted as", "Tokens", "Next token"], limits.map((limit) => [
    [limit.name, span("sub", `${count(limit.requests_per_minute)}/min, burst ${count(limit.burst_size)}${limit.enforced ? "" : ", shadow"}`)],
    h("code", {}, limit.counted_as),
    span(limit.admitted ? "number" : "number bad", `${limit.tokens_before.toFixed(2)} → ${limit.tokens_after.toFixed(2)}`),
    limit.next_token_seconds === null ? "full" : `in ${limit.next_token_seconds.toFixed(2)} s`,
  ]));
}

function candidatesOf(candidates, names) {
  return table("Routes that take this path", ["Route", "Service", "Priority", "Verdict"], candidates.map((route) => [
    [h("a", { class: "mono", href: `#/routes?open=${encodeURIComponent(route.route_id)}` }, route.path), span("sub", [route.match, ...route.methods, ...route.hosts].join(" · "))],
    names.get(route.service_id) ?? route.service_id,
    String(route.priority),
    route.chosen ? badge("chosen", "good") : span("muted", route.failed.join("; ") || "another one is preferred"),
  ]));
}

function upstreamOf({ method, url, added, removed, changed }) {
  const line = (mark, tone, text) => h("li", {}, span(`${tone} mono`, mark), " ", h("code", {}, text));
  return [
    h("p", {}, h("code", {}, `${method} ${url}`)),
    h("ul", { class: "edits" },
      added.map(([name, value]) => line("+", "good", `${name}: ${value}`)),
      removed.map(([name, value]) => line("−", "bad", `${name}: ${value}`)),
      changed.map(([name, before, after]) => line("±", "warn", `${name}: ${before} → ${after}`))),
  ];
}
