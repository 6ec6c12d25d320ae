// #/services: the registry of upstreams, and how each is doing.

import { all, api } from "../api.js";
import { confirm, openDialog } from "../dialog.js";
import { fill, h, icon } from "../dom.js";
import { openEditor } from "../editor.js";
import { ago, count, duration, fullTime, percent } from "../format.js";
import { failed, notify } from "../notices.js";
import { badge, createButton, empty, facts, iconButton, repeat, searchBox, filterBox, toggle, viewHead } from "../parts.js";
import { href, keep } from "../router.js";
import { createTable } from "../table.js";

const REFRESH = 5; // seconds
const CIRCUITS = { closed: ["good", "closed"], half_open: ["warn", "half open"], open: ["bad", "open"] };
const HEALTHS = { healthy: "good", unhealthy: "bad", degraded: "warn", unknown: "off" };

export function mount(view, { query, signal }) {
  let services = [];
  let isLoaded = false;
  let filters = { q: query.q ?? "", state: query.state ?? "" };

  const total = h("span", { class: "total", role: "status" });
  const table = createTable({
    caption: "Services",
    columns: columns(),
    key: (service) => service.id,
    dimmed: (service) => !service.enabled,
    order: query,
    onOrder: keep,
    empty: () => (services.length ? emptyFilter() : emptyRegistry()),
  });
  const states = [["attention", "Needs attention"], ["open", "Circuit open"], ["disabled", "Switched off"]];
  const state = filterBox({ label: "State", all: "Any state", options: states, value: filters.state, onchange: (value) => refine({ state: value }) });
  fill(view,
    viewHead("Services", "The upstreams behind the gateway.", createButton("New service", () => edit(null))),
    h("div", { class: "bar" }, searchBox({ label: "Search services", value: filters.q, oninput: (value) => refine({ q: value }) }), state.node, total),
    table.node);
  table.loading();

  const refresh = repeat(REFRESH, signal, async () => {
    try {
      services = await all("api/services");
      isLoaded = true;
      draw();
    } catch (error) {
      if (!isLoaded) table.update([], () => unreachable(error, () => refresh()));
    }
  });
  whenAsked();

  async function whenAsked() {
    if (query.create) return edit(null);
    if (!query.open) return undefined;
    try {
      return await inspect(await api.get(`api/services/${query.open}`));
    } catch (error) {
      return failed(error);
    }
  }

  function refine(patch) {
    filters = { ...filters, ...patch };
    keep({ ...filters, page: "" });
    table.firstPage();
    draw();
  }

  function draw() {
    const words = filters.q.toLowerCase();
    const fits = {
      "": () => true,
      attention: (service) => service.circuit !== "closed" || service.health === "unhealthy",
      open: (service) => service.circuit === "open",
      disabled: (service) => !service.enabled,
    }[filters.state] ?? (() => true);
    const rows = services.filter((service) => fits(service) && `${service.name} ${service.base_url}`.toLowerCase().includes(words));
    table.update(rows);
    fill(total, isLoaded ? `${count(rows.length)} ${rows.length === 1 ? "service" : "services"}` : "");
  }

  function columns() {
    return [
      { id: "name", label: "Service", first: true, sort: (service) => service.name, cell: nameCell },
      { id: "health", label: "Health", sort: (service) => service.health, cell: (service) => badge(service.health, HEALTHS[service.health] ?? "off") },
      { id: "circuit", label: "Circuit", sort: (service) => service.circuit, cell: circuitCell },
      { id: "targets", label: "Targets", right: true, sort: (service) => service.targets.length || 1, cell: (service) => String(service.targets.length || 1) },
      { id: "requests", label: "Requests", right: true, sort: (service) => service.total_requests, cell: (service) => count(service.total_requests) },
      { id: "errors", label: "Errors", right: true, sort: (service) => service.error_rate, cell: (service) => rateCell(service.error_rate) },
      { id: "enabled", label: "In use", sort: (service) => Number(service.enabled), cell: enabledCell },
      { id: "actions", label: "Actions", hiddenLabel: true, className: "actions", cell: (service) => iconButton(`Edit ${service.name}`, "edit", () => edit(service), `edit-${service.id}`) },
    ];
  }

  function nameCell(service) {
    return [
      h("button", { class: "row-open", type: "button", onclick: () => inspect(service), "data-focus": `open-${service.id}` }, service.name),
      h("span", { class: "sub mono" }, service.targets.length ? service.targets.map((target) => target.url).join(", ") : service.base_url),
    ];
  }

  function enabledCell(service) {
    return toggle({ label: `${service.name} is in use`, isOn: service.enabled, focus: `use-${service.id}`, change: (isOn) => change(service, { enabled: isOn }, `${service.name} is switched ${isOn ? "on" : "off"}.`) });
  }

  async function change(service, patch, message) {
    try {
      await api.patch(`api/services/${service.id}`, patch);
      notify(message);
    } catch (error) {
      failed(error);
    }
    await refresh();
  }

  async function edit(service) {
    const done = await openEditor({
      title: service ? `Edit ${service.name}` : "New service",
      subtitle: service ? service.id : "An upstream that requests are sent on to.",
      spec: "ServiceSpec",
      fields: fieldsOf(),
      values: service ?? { health_check_path: "/health", enabled: true, tls: { verify: true } },
      saveLabel: service ? "Save changes" : "Create service",
      save: (form) => (service ? api.patch(`api/services/${service.id}`, form.patch()) : api.post("api/services", form.body())),
      remove: service && {
        label: "Delete",
        title: `Delete ${service.name}?`,
        text: "Its requests get 404 from then on. A service that routes still use can't be deleted.",
        run: () => api.delete(`api/services/${service.id}`),
      },
    });
    keep({ create: "", open: "" });
    if (!done) return;
    notify(done === "removed" ? `${service.name} is deleted.` : `${done.name} is ${service ? "saved" : "created"}, and in force.`);
    await refresh();
  }

  async function inspect(service) {
    const body = h("div", {});
    const foot = [
      h("button", { class: "button", type: "button", onclick: () => { dialog.close(); edit(service); } }, icon("edit"), "Edit"),
    ];
    const dialog = openDialog({ title: service.name, subtitle: service.base_url, body, foot, kind: "drawer" });
    keep({ open: service.id });
    const gone = new AbortController();
    dialog.closed.then(() => { gone.abort(); keep({ open: "" }); });
    repeat(2, gone.signal, async () => {
      const [current, circuit] = await Promise.all([api.get(`api/services/${service.id}`), api.get(`api/circuit-breakers/${service.id}`)]);
      drawDetails(body, current, circuit, () => reset(current));
    });
    await dialog.closed;
  }

  async function reset(service) {
    const isMeant = await confirm({ title: `Close the circuit of ${service.name}?`, text: "Requests are sent to it at once, whatever the gateway has seen of it.", action: "Close circuit", tone: "primary" });
    if (!isMeant) return;
    try {
      await api.post(`api/circuit-breakers/${service.id}/reset`);
      notify(`The circuit of ${service.name} is closed.`);
    } catch (error) {
      failed(error);
    }
    await refresh();
  }

  function emptyRegistry() {
    return empty({ drawing: "services", title: "No service yet", text: "A service is an upstream: the address of something that answers HTTP. Routes then lead requests to it.", action: createButton("Create the first service", () => edit(null)) });
  }

  function emptyFilter() {
    return empty({ drawing: "search", title: "No service fits", text: "Another search, or another state, may.", action: h("button", { class: "button", type: "button", onclick: () => { location.hash = href("services"); } }, "Show all") });
  }
}

function drawDetails(body, service, circuit, onReset) {
  const print = JSON.stringify([service, circuit]);
  if (body.dataset.print === print) return;
  body.dataset.print = print;
  const hadFocus = body.contains(document.activeElement);
  const resetButton = h("button", { class: "button small", type: "button", onclick: onReset }, icon("refresh"), "Close circuit");
  fill(body,
    facts([
      ["State", service.enabled ? "in use" : "switched off"],
      ["Health", badge(service.health, HEALTHS[service.health] ?? "off")],
      ["Requests", count(service.total_requests)],
      ["Errors", `${count(service.total_errors)} (${percent(service.error_rate)})`],
      ["Health check", h("code", {}, service.health_check_path)],
      ["Changed", h("time", { datetime: service.updated_at, title: fullTime(service.updated_at) }, ago(service.updated_at))],
    ]),
    h("hr"),
    h("div", { class: "spread" }, h("h2", {}, "Circuit breaker"), circuitCell({ circuit: circuit.state }), circuit.state !== "closed" && circuit.mode === "auto" ? resetButton : null),
    facts([
      circuit.mode !== "auto" && ["Mode", circuit.mode.replace("_", " ")],
      ["Opens", circuit.trip === "rate" ? `at ${percent(circuit.failure_rate)} failures of ${circuit.minimum_calls} calls or more in ${duration(circuit.window_seconds)}` : `after ${circuit.failure_threshold} failures in a row`],
      ["Failures in a row", String(circuit.failures)],
      ["Tries again", circuit.state === "open" ? `in ${duration(circuit.retry_after_seconds)}` : `${duration(circuit.recovery_timeout)} after it opened`],
    ]),
    circuit.history.length ? h("ol", { class: "history" }, circuit.history.slice(0, 12).map(transition)) : h("p", { class: "faint" }, "It has not changed since the gateway started."));
  if (hadFocus && !body.contains(document.activeElement)) body.querySelector("button")?.focus();
}

function transition(event) {
  return h("li", {},
    h("time", { class: "faint number", datetime: event.at, title: fullTime(event.at) }, ago(event.at)),
    badge(event.after.replace("_", " "), CIRCUITS[event.after]?.[0] ?? "off"),
    h("span", { class: "muted" }, event.by ? `${event.reason} (${event.by})` : event.reason));
}

function circuitCell(service) {
  const [tone, text] = CIRCUITS[service.circuit] ?? ["off", service.circuit];
  return badge(text, tone);
}

export function rateCell(share) {
  return h("span", { class: share >= 0.05 ? "bad" : share > 0 ? "warn" : "faint" }, percent(share));
}

export function unreachable(error, again) {
  return empty({ drawing: "warning", title: "This can't be shown", text: error.message, action: h("button", { class: "button", type: "button", onclick: again }, "Try again") });
}

function fieldsOf() {
  return [
    { name: "name", label: "Name", required: true, placeholder: "users" },
    { name: "base_url", label: "Base URL", required: true, mono: true, placeholder: "http://127.0.0.1:9000", type: "url" },
    { name: "targets", kind: "targets", label: "Targets", default: [], hint: "Several addresses with weights. When there are any, they take the place of the base URL." },
    { name: "health_check_path", label: "Health check path", mono: true, placeholder: "/health" },
    { name: "enabled", kind: "switch", label: "In use", hint: "Switched off it keeps its settings, and its requests get 503.", default: true },
    { group: "Timeouts and host", fields: [
      { name: "connect_timeout_seconds", kind: "number", label: "Connect timeout", optional: true, hint: "Seconds." },
      { name: "read_timeout_seconds", kind: "number", label: "Read timeout", optional: true, hint: "Seconds between two reads of the answer." },
      { name: "preserve_host", kind: "switch", label: "Send the client's Host on", wide: true, default: false },
    ] },
    { group: "Circuit breaker", fields: [
      { name: "circuit_breaker.mode", kind: "select", label: "Mode", options: [["auto", "Automatic"], ["forced_open", "Forced open: nothing passes"], ["disabled", "Disabled: everything passes"]], default: "auto" },
      { name: "circuit_breaker.trip", kind: "select", label: "Opens by", options: [["", "The gateway's default"], ["consecutive", "Failures in a row"], ["rate", "Share of failures"]] },
      { name: "circuit_breaker.failure_threshold", kind: "number", label: "Failures in a row", optional: true },
      { name: "circuit_breaker.recovery_timeout", kind: "number", label: "Recovery timeout", optional: true, hint: "Seconds until it is tried again." },
      { name: "circuit_breaker.half_open_max_calls", kind: "number", label: "Successes to close", optional: true },
      { name: "circuit_breaker.failure_rate", kind: "number", label: "Share of failures", optional: true, hint: "Between 0 and 1." },
      { name: "circuit_breaker.minimum_calls", kind: "number", label: "Minimum of calls", optional: true },
      { name: "circuit_breaker.window_seconds", kind: "number", label: "Window", optional: true, hint: "Seconds." },
      { name: "circuit_breaker.failure_statuses", kind: "words", label: "Statuses that are failures", optional: true, numbers: true, nullable: true, placeholder: "5xx, 429" },
      { name: "circuit_breaker.slow_call_seconds", kind: "number", label: "Slow after", optional: true, hint: "Seconds; 0: nothing is slow." },
      { name: "circuit_breaker.slow_call_rate", kind: "number", label: "Share of slow answers", optional: true },
    ] },
    { group: "TLS to the service", fields: [
      { name: "tls.verify", kind: "switch", label: "Believe only a certificate for this host", wide: true, default: true },
      { name: "tls.ca_file", label: "Authority's file", mono: true, optional: true },
      { name: "tls.server_name", label: "Server name", mono: true, optional: true },
      { name: "tls.client_cert_file", label: "Client certificate's file", mono: true, optional: true },
      { name: "tls.client_key_file", label: "Client key's file", mono: true, optional: true },
    ] },
  ];
}
