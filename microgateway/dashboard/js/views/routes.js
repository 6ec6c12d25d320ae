// #/routes: which requests go to which service.

import { attempt } from "../actions.js";
import { all, api } from "../api.js";
import { h, span } from "../dom.js";
import { askToRemove, openEditor } from "../editor.js";
import { count, duration } from "../format.js";
import { mountList, titleCell } from "../list_view.js";
import { failed, notify } from "../notices.js";
import { badge, createButton, empty, iconButton, moment, toggle } from "../parts.js";
import { go, href } from "../router.js";

const REFRESH = 10; // seconds
const MANY = 1_000; // such a list is not asked for again by itself
const REMOVAL = { label: "Delete", done: "deleted", text: "Its requests are for other routes then, or get 404." };
const STATES = { warned: (route) => route.warnings?.length > 0, disabled: (route) => !route.enabled };
const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"];

export function mount(view, context) {
  let names = new Map();
  let loaded = [];
  let isWanted = true;
  let warnings = new Map();
  let warnedOf = "";
  const list = mountList(view, context, {
    name: "routes", noun: "route", title: "Routes", subtitle: "Which requests go to which service.", searchLabel: "Search paths and hosts", seconds: REFRESH,
    filters: [
      { name: "service", label: "Service", any: "Any service" },
      { name: "method", label: "Method", any: "Any method", options: METHODS.map((name) => [name, name]) },
      { name: "state", label: "State", any: "Any state", options: [["warned", "With warnings"], ["disabled", "Switched off"]] },
    ],
    columns: columns(),
    dimmed: (route) => !route.enabled,
    text: (route) => route.text,
    fits: (route, { service, method, state }) => (STATES[state] ?? (() => true))(route) && (!service || route.service_id === service) && (!method || !route.methods.length || route.methods.includes(method)),
    load, create: (values) => edit(null, values), open: (route) => edit(route),
    whenEmpty: () => empty(names.size
      ? { drawing: "routes", title: "No route yet", text: "Until there is one, every request with a good key gets 404.", action: createButton("Create the first route", () => edit(null)) }
      : { drawing: "routes", title: "No route yet", text: "A route leads to a service, and there is none.", action: h("a", { class: "button primary", href: href("services", { create: "yes" }) }, "Create a service first") }),
  });

  async function load(show) {
    if (loaded.length > MANY && !isWanted) return null;
    isWanted = false;
    const [, metrics] = await Promise.all([loadNames(), api.get("api/metrics/latency", { window: "24h", limit: 1000 })]);
    list.options("service", [...names]);
    const hits = new Map(metrics.routes.map(({ id, current }) => [id, current.requests]));
    const rest = hits.has("other") ? null : 0; // some that are not told apart were hit
    const prepared = (route) => ({ ...route, service: names.get(route.service_id) ?? route.service_id, hits: hits.get(route.id) ?? rest, text: `${route.path} ${route.hosts.join(" ")}`.toLowerCase() });
    const routes = await all("api/routes", (some) => show(some.map(prepared)));
    await loadWarnings(routes);
    loaded = routes.map((route) => ({ ...prepared(route), warnings: warnings.get(route.id) ?? [] }));
    return loaded;
  }

  /** Asked only after a change: to find them takes the gateway some time. */
  async function loadWarnings(routes) {
    const print = routes.map(({ id, updated_at: at }) => id + at).join();
    if (print === warnedOf) return;
    const { items } = await api.get("api/routes/warnings");
    const paths = new Map(routes.map(({ id, path }) => [id, path]));
    warnings = new Map();
    const add = (id, warning) => warnings.set(id, [...(warnings.get(id) ?? []), warning]);
    for (const warning of items) {
      add(warning.route_id, warning);
      add(warning.other_id, { ...warning, code: "hides", detail: `No request reaches ${paths.get(warning.route_id)}: this one takes the example from it.` });
    }
    warnedOf = print;
  }

  async function loadNames() {
    names = new Map((await all("api/services")).map(({ id, name }) => [id, name]));
  }

  function refresh() {
    isWanted = true;
    return list.refresh();
  }

  function columns() {
    return [
      { id: "path", label: "Path", first: true, sort: (route) => route.path, cell: (route) => [titleCell(route, route.path, [route.match, ...route.hosts].join(" · "), () => edit(route), "mono"), (route.warnings ?? []).slice(0, 1).map(warningBadge)] },
      { id: "methods", label: "Methods", sort: (route) => route.methods.join(" "), cell: (route) => span("chips", (route.methods.length ? route.methods : ["any"]).map((name) => span("chip", name))) },
      { id: "service", label: "Service", sort: (route) => route.service, cell: (route) => h("a", { class: "plain-link", title: route.service.length > 40 ? route.service : null, href: href("services", { open: route.service_id }) }, route.service) },
      { id: "auth", label: "Access", sort: (route) => route.auth, cell: (route) => badge(route.auth === "none" ? "public" : "key", route.auth === "none" ? "warn" : "off") },
      { id: "priority", label: "Priority", right: true, sort: (route) => route.priority, cell: (route) => span(route.priority ? "" : "faint", String(route.priority)) },
      { id: "hits", label: "Hits, 24 h", right: true, sort: (route) => route.hits, cell: hitsCell },
      { id: "last", label: "Last hit", sort: (route) => (route.last_hit_at ? Date.parse(route.last_hit_at) : null), cell: (route) => moment(route.last_hit_at) },
      { id: "notes", label: "Policy", cell: (route) => span("muted", policyOf(route)) },
      { id: "enabled", label: "In use", sort: (route) => Number(route.enabled), cell: (route) => toggle({ name: route.path, entity: route, change: (enabled) => change(route, enabled) }) },
      { id: "actions", label: "Actions", hiddenLabel: true, className: "actions", cell: (route) => [
        iconButton(`Explain ${route.path}`, "explain", () => go("explain", exampleOf(route)), `explain-${route.id}`),
        iconButton(`Edit ${route.path}`, "edit", () => edit(route), `edit-${route.id}`),
        iconButton(`Delete ${route.path}`, "remove", () => remove(route), `delete-${route.id}`),
      ] },
    ];
  }

  async function change(route, enabled) {
    await attempt(() => api.patch(`api/routes/${route.id}`, { enabled }), `${route.path} is switched ${enabled ? "on" : "off"}.`);
    await refresh();
  }

  async function remove(route) {
    await askToRemove(route.path, `api/routes/${route.id}`, REMOVAL);
    await refresh();
  }

  async function edit(route, given = {}) {
    if (names.size === 0) await loadNames().catch(failed);
    const saved = await openEditor({
      kind: "route", path: "api/routes", spec: "RouteSpec", entity: route, nameOf: ({ path }) => path, fields: fieldsOf(names), remove: REMOVAL,
      notes: (route?.warnings ?? []).map(warningNote),
      subtitle: route ? route.id : "Of the routes that take a request, the most specific one gets it.",
      values: { enabled: true, auth: "required", service_id: given.service },
    });
    for (const { detail } of (saved?.warnings ?? []).slice(0, 2)) notify(detail, "warn");
    await refresh();
  }
}

/** A request that this route may be for. */
function exampleOf({ path, methods, hosts }) {
  return { method: methods[0] ?? "", path: path.replaceAll(/\{[^}]*\}/g, "1"), host: hosts.find((host) => !host.startsWith("*")) ?? "" };
}

function hitsCell({ hits, path }) {
  if (hits === null) return h("span", { class: "faint", title: "More routes were hit than are counted apart (MICROGATEWAY_METRICS_SERIES)" }, "–");
  return hits ? h("a", { class: "plain-link", href: href("logs", { route: path }) }, count(hits)) : span("faint", "0");
}

function warningBadge({ code, detail }) {
  return badge(code === "unreachable" ? "never reached" : "hides another", code === "unreachable" ? "bad" : "warn", detail);
}

function warningNote({ detail, example }) {
  return h("p", { class: "note tone-warn" }, h("strong", {}, detail), " For example ", h("code", {}, `${example.method} ${example.path}${example.query ? `?${example.query}` : ""}`), example.host && example.host !== "any" ? [" at ", h("code", {}, example.host)] : "", ".");
}

function policyOf(route) {
  const parts = [
    route.timeout_seconds && `within ${duration(route.timeout_seconds)}`,
    route.retries > 0 && `${route.retries} ${route.retries === 1 ? "retry" : "retries"}`,
    route.strip_prefix && "strips prefix", route.rewrite && "rewrites", route.cors && "CORS",
  ];
  return parts.filter(Boolean).join(", ") || "–";
}

function fieldsOf(names) {
  return [
    { name: "path", label: "Path", required: true, mono: true, placeholder: "/orders/{id}", hint: "A prefix, or with {params} an exact path." },
    { name: "service_id", kind: "select", label: "Service", required: true, options: [["", "Choose a service"], ...names] },
    { name: "methods", kind: "several", label: "Methods", options: [...METHODS, "HEAD", "OPTIONS"].map((name) => [name, name]), default: [], hint: "None chosen: any method." },
    { name: "auth", kind: "select", label: "Access", options: [["required", "With an API key or a token"], ["none", "Public: nobody is asked"]], default: "required" },
    { name: "priority", kind: "number", label: "Priority", placeholder: "0", hint: "The higher one wins, whatever the path." },
    { name: "timeout_seconds", kind: "number", label: "Timeout", optional: true, hint: "Seconds, all attempts together." },
    { name: "retries", kind: "number", label: "Retries", placeholder: "0", hint: "Attempts more, where that is safe." },
    { name: "enabled", kind: "switch", label: "In use", default: true },
    { name: "strip_prefix", kind: "switch", label: "Take the matched path off", default: false },
    { group: "Matching", fields: [
      { name: "match", kind: "select", label: "The path is", options: [["", "As the path suggests"], ["prefix", "A prefix"], ["exact", "Exact"]] },
      { name: "hosts", kind: "words", label: "Hosts", placeholder: "api.example.com, *.example.org", hint: "None: any host." },
      { name: "forward_credentials", kind: "switch", label: "Let the client's key or token through to the service", wide: true, default: false },
    ] },
  ];
}

