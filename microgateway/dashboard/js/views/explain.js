// #/explain: what the gateway would do with a request, stage by stage; with many of them, over time; and with the log.

import { all, api } from "../api.js";
import { fill, h, icon, span } from "../dom.js";
import { createForm } from "../form.js";
import { count, fullTime, milliseconds } from "../format.js";
import { runJob } from "../job.js";
import { failed } from "../notices.js";
import { badge, empty, plainTable, segments, viewHead } from "../parts.js";
import { href, keep } from "../router.js";
import { batchFields, batchOf, runBatch, scriptFields, storyOf } from "./batch.js";
import { replayFields, replayStory } from "./replay.js";

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
const VERDICTS = { passed: "good", refused: "bad", postponed: "warn", skipped: "off", not_reached: "off" };
const TITLES = { normalise: "Read", guards: "Guards", authenticate: "Credential", rate_limit: "Rate limit", route: "Route", circuit: "Circuit", target: "Target", attempt: "Upstream" };

const MODES = {
  one: {
    label: "One request", fields: () => [...requestFields(), ...upstreamFields()], verb: "Explain", drawing: "explain",
    title: "Describe a request", text: "Its path is enough. The data plane’s own code says what would become of it.",
  },
  batch: {
    label: "Many requests", fields: () => [...requestFields(), ...batchFields()], verb: "Run", drawing: "pulse",
    title: "Describe a request and how it comes", text: "It goes through a data plane of its own, again and again, to simulated services. Traffic is not touched by it.",
  },
  replay: {
    label: "The log again", fields: replayFields, verb: "Replay", drawing: "replay",
    title: "Say what would be different", text: "Every request of the log is judged once more, at the moment at which it came, under that configuration. What comes out otherwise is listed. Nothing is changed by it.",
  },
};

export function mount(view, { query, signal }) {
  const status = h("div", { role: "status" });
  const rest = h("div", { class: "stack" });
  const submit = h("button", { class: "button primary", type: "submit" });
  const asking = h("div", { class: "card-body stack" });
  let mode = query.mode in MODES ? query.mode : "one";
  let form = null;
  const said = { method: "GET", ...query, configuration: parsed(query.patch) };
  let names = new Map();
  let turn = 0;
  let left = new AbortController();
  fill(view,
    viewHead("Explain", "What would become of a request, of many, or of the log, and why.",
      segments({ label: "What is asked", options: Object.entries(MODES).map(([name, { label }]) => [name, label]), value: mode, onchange: choose })),
    h("div", { class: "explain" }, h("section", { class: "card", "aria-label": "What is asked" }, asking), h("section", { class: "stack", "aria-label": "What would happen" }, status, rest)));
  build();
  if (query.row) explainRow(query.row).catch(failed);
  else if (query.path && mode === "one") form.node.requestSubmit();

  function choose(value) {
    try { Object.assign(said, form.body()); } catch { /* what makes no sense is not taken along */ }
    mode = value;
    keep({ mode: value === "one" ? "" : value, row: "", patch: "" });
    build();
  }

  function build() {
    turn += 1;
    left.abort();
    left = new AbortController();
    const { fields, verb, drawing, title, text } = MODES[mode];
    form = createForm({ fields: fields(), values: said, onSubmit: { one: explain, batch: run, replay }[mode] });
    submit.setAttribute("form", form.node.id);
    fill(submit, icon(mode === "batch" ? "play" : drawing), verb);
    fill(asking, form.node, submit);
    fill(status);
    fill(rest, h("div", { class: "card" }, empty({ drawing, title, text })));
  }

  async function explain() {
    const own = (turn += 1);
    const asked = form.body();
    remember(asked);
    const answer = await api.post("api/gateway/request", asked);
    await learnNames();
    if (own === turn && !signal.aborted) show(outcomeOf(answer, names), walkOf(answer));
  }

  /** A request of the log, with the key that it had. */
  async function explainRow(id) {
    const own = (turn += 1);
    const { row, answer, assumed } = await api.get(`api/gateway/rows/${encodeURIComponent(id)}`);
    await learnNames();
    if (own !== turn || signal.aborted) return;
    Object.assign(said, { method: row.method, path: row.path + row.query, client_ip: row.client_ip });
    build();
    const then = h("p", { class: "muted" }, `It came ${fullTime(row.timestamp * 1000)}${row.key ? `, from ${row.key}` : ""}, and was answered ${row.status}`, row.code ? [" (", h("code", {}, row.code), ")"] : "", ". ", assumed.map((text) => `${text} `));
    show([outcomeOf(answer, names)], [then, walkOf(answer)]);
  }

  function run() {
    const asked = form.body();
    remember(asked);
    return work((gone) => runBatch(batchOf(asked), rest, gone), (job) => storyOf(job, names));
  }

  function replay() {
    const asked = form.body();
    return work((gone) => runJob("api/gateway/replay", asked, rest, gone), replayStory);
  }

  /** Has it worked on, unless somebody leaves, and shows what `tell` makes of it. */
  async function work(begin, tell) {
    const own = (turn += 1);
    submit.disabled = true;
    try {
      fill(status);
      const job = await begin(AbortSignal.any([signal, left.signal]));
      await learnNames();
      if (own === turn && !signal.aborted) show(...tell(job));
    } catch (error) {
      if (own === turn) fill(rest);
      throw error;
    } finally {
      submit.disabled = false;
    }
  }

  function show(note, more) {
    fill(status, note);
    fill(rest, more);
  }

  function remember({ method, path, host }) {
    keep({ method: method === "GET" ? "" : method, path, host, row: "" });
  }

  function walkOf({ stages }) {
    return h("ol", { class: "walk" }, stages.map((stage) => stageOf(stage, names)));
  }

  async function learnNames() {
    if (names.size === 0) names = new Map((await all("api/services").catch(() => [])).map(({ id, name }) => [id, name]));
  }
}

function parsed(text) {
  try { return JSON.parse(text ?? "null") ?? undefined; } catch { return undefined; }
}

function requestFields() {
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

function upstreamFields() {
  const simulated = { upstream: ["simulated"] };
  const options = [["none", "Nobody: only say what would happen"], ["simulated", "A simulated service"], ["live", "The service itself"]];
  return [
    { name: "upstream", kind: "select", label: "Sent to", options, default: "none", wide: true, hint: "With a service, it goes the way of traffic: it takes tokens, is counted and logged." },
    ...scriptFields("script", simulated),
  ];
}

function outcomeOf(answer, names) {
  const isForwarded = answer.status === null;
  const service = names.get(answer.service_id) ?? answer.service_id;
  const wasSent = answer.upstream !== "none";
  const verdict = isForwarded ? `It would go to ${service}, which answers.` : wasSent ? `The answer was ${answer.status}, in ${milliseconds(answer.latency_ms)}.` : `The gateway would answer ${answer.status}.`;
  return h("div", { class: `note tone-${isForwarded || answer.status < 400 ? "good" : answer.status >= 500 ? "bad" : "warn"}` },
    h("strong", {}, verdict), " ",
    isForwarded ? "Nobody knows its answer before it is asked." : answer.code ? ["The reason is ", h("code", {}, answer.code), ". "] : null,
    wasSent ? ["It is ", h("a", { href: href("logs", { path: answer.stages[0]?.request?.path }) }, "in the log"), "."] : null,
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

function limitsOf(limits) {
  return plainTable("Limits", ["Limit", "Counted as", "Tokens", "Next token"], limits.map((limit) => [
    [limit.name, span("sub", `${count(limit.requests_per_minute)}/min, burst ${count(limit.burst_size)}${limit.enforced ? "" : ", shadow"}`)],
    h("code", {}, limit.counted_as),
    span(limit.admitted ? "number" : "number bad", `${limit.tokens_before.toFixed(2)} → ${limit.tokens_after.toFixed(2)}`),
    limit.next_token_seconds === null ? "full" : `in ${limit.next_token_seconds.toFixed(2)} s`,
  ]));
}

function candidatesOf(candidates, names) {
  return plainTable("Routes that take this path", ["Route", "Service", "Priority", "Verdict"], candidates.map((route) => [
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
