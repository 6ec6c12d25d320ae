// #/routes: which requests go to which service.

import { all, api } from "../api.js";
import { confirm } from "../dialog.js";
import { fill, h } from "../dom.js";
import { openEditor } from "../editor.js";
import { count, duration } from "../format.js";
import { failed, notify } from "../notices.js";
import { badge, createButton, empty, filterBox, iconButton, repeat, searchBox, toggle, viewHead } from "../parts.js";
import { go, keep } from "../router.js";
import { createTable } from "../table.js";
import { unreachable } from "./services.js";

const REFRESH = 30; // seconds

export function mount(view, { query, signal }) {
  let routes = [];
  let names = new Map();
  let isLoaded = false;
  let filters = { q: query.q ?? "", service: query.service ?? "", method: query.method ?? "" };

  const total = h("span", { class: "total", role: "status" });
  const table = createTable({
    caption: "Routes",
    columns: columns(),
    key: (route) => route.id,
    dimmed: (route) => !route.enabled,
    order: query,
    onOrder: keep,
    empty: () => (routes.length ? emptyFilter() : emptyTable()),
  });
  const service = filterBox({ label: "Service", all: "Any service", options: [], value: filters.service, onchange: (value) => refine({ service: value }) });
  const method = filterBox({ label: "Method", all: "Any method", options: ["GET", "POST", "PUT", "PATCH", "DELETE"].map((name) => [name, name]), value: filters.method, onchange: (value) => refine({ method: value }) });
  fill(view,
    viewHead("Routes", "Which requests go to which service.", createButton("New route", () => edit(null))),
    h("div", { class: "bar" }, searchBox({ label: "Search paths and hosts", value: filters.q, oninput: (value) => refine({ q: value }) }), service.node, method.node, total),
    table.node);
  table.loading();

  const refresh = repeat(REFRESH, signal, async () => {
    try {
      const services = await all("api/services");
      names = new Map(services.map(({ id, name }) => [id, name]));
      service.set(services.map(({ id, name }) => [id, name]), filters.service);
      const loaded = await all("api/routes", (some) => { if (!isLoaded) { routes = some.map(prepared); draw(); } });
      routes = loaded.map(prepared);
      isLoaded = true;
      draw();
    } catch (error) {
      if (!isLoaded) table.update([], () => unreachable(error, () => refresh()));
    }
  });
  whenAsked();

  async function whenAsked() {
    if (query.create) return edit(null, query.service ? { service_id: query.service } : {});
    if (!query.open) return undefined;
    try {
      return await edit(await api.get(`api/routes/${query.open}`));
    } catch (error) {
      return failed(error);
    }
  }

  /** With what is searched and shown of it. */
  function prepared(route) {
    return { ...route, service: names.get(route.service_id) ?? route.service_id, text: `${route.path} ${route.hosts.join(" ")}`.toLowerCase() };
  }

  function refine(patch) {
    filters = { ...filters, ...patch };
    keep({ ...filters, page: "" });
    table.firstPage();
    draw();
  }

  function draw() {
    const words = filters.q.toLowerCase();
    const rows = routes.filter((route) => route.text.includes(words)
      && (!filters.service || route.service_id === filters.service)
      && (!filters.method || !route.methods.length || route.methods.includes(filters.method)));
    table.update(rows);
    fill(total, `${count(rows.length)} ${rows.length === 1 ? "route" : "routes"}`);
  }

  function columns() {
    return [
      { id: "path", label: "Path", first: true, sort: (route) => route.path, cell: pathCell },
      { id: "methods", label: "Methods", sort: (route) => route.methods.join(" "), cell: (route) => h("span", { class: "chips" }, (route.methods.length ? route.methods : ["any"]).map((name) => h("span", { class: "chip" }, name))) },
      { id: "service", label: "Service", sort: (route) => route.service, cell: (route) => h("a", { class: "plain-link", href: `#/services?open=${encodeURIComponent(route.service_id)}` }, route.service) },
      { id: "auth", label: "Access", sort: (route) => route.auth, cell: (route) => badge(route.auth === "none" ? "public" : "key", route.auth === "none" ? "warn" : "off") },
      { id: "priority", label: "Priority", right: true, sort: (route) => route.priority, cell: (route) => h("span", { class: route.priority ? "" : "faint" }, String(route.priority)) },
      { id: "notes", label: "Policy", cell: policyCell },
      { id: "enabled", label: "In use", sort: (route) => Number(route.enabled), cell: enabledCell },
      { id: "actions", label: "Actions", hiddenLabel: true, className: "actions", cell: actionsCell },
    ];
  }

  function pathCell(route) {
    return [
      h("button", { class: "row-open mono", type: "button", onclick: () => edit(route), "data-focus": `open-${route.id}` }, route.path),
      h("span", { class: "sub" }, [route.match, ...route.hosts].join(" · ")),
    ];
  }

  function policyCell(route) {
    const parts = [
      route.timeout_seconds && `within ${duration(route.timeout_seconds)}`,
      route.retries > 0 && `${route.retries} ${route.retries === 1 ? "retry" : "retries"}`,
      route.strip_prefix && "strips prefix",
      route.rewrite && "rewrites",
      route.cors && "CORS",
    ].filter(Boolean);
    return h("span", { class: "muted" }, parts.join(", ") || "–");
  }

  function enabledCell(route) {
    return toggle({ label: `${route.path} is in use`, isOn: route.enabled, focus: `use-${route.id}`, change: async (isOn) => {
      try {
        await api.patch(`api/routes/${route.id}`, { enabled: isOn });
        notify(`${route.path} is switched ${isOn ? "on" : "off"}.`);
      } catch (error) {
        failed(error);
      }
      await refresh();
    } });
  }

  function actionsCell(route) {
    return [
      iconButton(`Edit ${route.path}`, "edit", () => edit(route), `edit-${route.id}`),
      iconButton(`Delete ${route.path}`, "remove", () => remove(route), `delete-${route.id}`),
    ];
  }

  async function remove(route) {
    const isMeant = await confirm({ title: `Delete ${route.path}?`, text: "Its requests are for other routes then, or get 404.", action: "Delete" });
    if (!isMeant) return;
    try {
      await api.delete(`api/routes/${route.id}`);
      notify(`${route.path} is deleted.`);
    } catch (error) {
      failed(error);
    }
    await refresh();
  }

  async function edit(route, values = {}) {
    if (names.size === 0) await all("api/services").then((services) => { names = new Map(services.map(({ id, name }) => [id, name])); }).catch(failed);
    const done = await openEditor({
      title: route ? "Edit route" : "New route",
      subtitle: route ? route.path : "Of the routes that take a request, the most specific one gets it.",
      spec: "RouteSpec",
      fields: fieldsOf(names),
      values: route ?? { enabled: true, auth: "required", ...values },
      saveLabel: route ? "Save changes" : "Create route",
      save: (form) => (route ? api.patch(`api/routes/${route.id}`, form.patch()) : api.post("api/routes", form.body())),
      remove: route && { label: "Delete", title: `Delete ${route.path}?`, text: "Its requests are for other routes then, or get 404.", run: () => api.delete(`api/routes/${route.id}`) },
    });
    keep({ create: "", open: "" });
    if (!done) return;
    notify(done === "removed" ? `${route.path} is deleted.` : `${done.path} is ${route ? "saved" : "created"}, and in force.`);
    await refresh();
  }

  function emptyTable() {
    const hasServices = names.size > 0;
    return hasServices
      ? empty({ drawing: "routes", title: "No route yet", text: "Until there is one, every request with a good key gets 404.", action: createButton("Create the first route", () => edit(null)) })
      : empty({ drawing: "routes", title: "No route yet", text: "A route leads to a service, and there is none.", action: h("a", { class: "button primary", href: "#/services?create=yes" }, "Create a service first") });
  }

  function emptyFilter() {
    return empty({ drawing: "search", title: "No route fits", text: "Another search, or another filter, may.", action: h("button", { class: "button", type: "button", onclick: () => go("routes") }, "Show all") });
  }
}

function fieldsOf(names) {
  const services = [...names].map(([id, name]) => [id, name]);
  return [
    { name: "path", label: "Path", required: true, mono: true, placeholder: "/orders/{id}", hint: "A prefix, or with {params} an exact path." },
    { name: "service_id", kind: "select", label: "Service", required: true, options: [["", "Choose a service"], ...services] },
    { name: "methods", kind: "methods", label: "Methods", hint: "None chosen: any method." },
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
