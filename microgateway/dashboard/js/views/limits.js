// #/limits: limits besides the keys' own, and who met a limit of either kind.

import { attempt } from "../actions.js";
import { all, api } from "../api.js";
import { fill, h, icon, span } from "../dom.js";
import { askToRemove, openEditor } from "../editor.js";
import { count, percent } from "../format.js";
import { mountList, titleCell } from "../list_view.js";
import { badge, createButton, empty, iconButton, meter, plainTable, toggle } from "../parts.js";
import { go, href } from "../router.js";
import { ruleFields } from "./limit_form.js";

const REFRESH = 3; // seconds
const MOST_KEYS = 10;
const MOST_CHOICES = 200;
const REMOVAL = { label: "Delete", done: "deleted", text: "What it refuses passes from then on, and its buckets are forgotten." };
const COUNTED = { key: "each key", address: "each address", all: "all together" };
const STATES = { shadow: (rule) => rule.mode === "shadow", enforce: (rule) => rule.mode === "enforce", disabled: (rule) => !rule.enabled };

export function mount(view, context) {
  const names = new Map();
  const limited = h("div", { class: "charts below" });
  const choices = Promise.all(["services", "routes"].map((kind) => api.get(`api/${kind}`, { limit: MOST_CHOICES }).catch(() => ({ items: [], total: 0 })))); // ready when a form is opened
  const list = mountList(view, context, {
    name: "limits", path: "api/rate-limits", noun: "rule", title: "Rate limits", subtitle: "Limits besides the keys’ own, and who met one.", searchLabel: "Search rules", seconds: REFRESH,
    filters: [{ name: "mode", label: "Mode", any: "Any mode", options: [["enforce", "Enforced"], ["shadow", "Shadow: only counts"], ["disabled", "Switched off"]] }],
    columns: columns(),
    dimmed: (rule) => !rule.enabled,
    text: (rule) => `${rule.name} ${rule.what}`.toLowerCase(),
    fits: (rule, { mode }) => (STATES[mode] ?? (() => true))(rule),
    load, create: () => edit(null), open: edit,
    whenEmpty: () => empty({ drawing: "limits", title: "No rule yet", text: "Every key has a limit of its own. A rule limits besides: some paths or methods, strangers by their address, tenants by a header. In shadow mode it only counts what it would refuse.", action: createButton("Create the first rule", () => edit(null)) }),
  });
  view.append(limited);

  async function load() {
    const [rules, hour] = await Promise.all([all("api/rate-limits"), api.get("api/metrics/rate-limits", { window: "1h", limit: 1000 })]);
    await learnNames(rules);
    const said = new Map(hour.rules.map((rule) => [rule.id, rule]));
    drawLimited(limited, hour);
    return rules.map((rule) => ({ ...rule, what: whatOf(rule, names), hour: said.get(rule.id) ?? { limited: 0, shadowed: 0 } }));
  }

  /** Of the services and routes that rules speak of; one that can't be read is told by its id. */
  async function learnNames(rules) {
    const missing = (kind, field) => [...new Set(rules.map((rule) => rule[field]))].filter((id) => id && !names.has(id)).map(async (id) => {
      const { name, path } = await api.get(`api/${kind}/${id}`).catch(() => ({ name: id }));
      names.set(id, name ?? path);
    });
    await Promise.all([...missing("services", "service_id"), ...missing("routes", "route_id")]);
  }

  function columns() {
    return [
      { id: "name", label: "Rule", first: true, sort: (rule) => rule.name, cell: (rule) => titleCell(rule, rule.name, rule.what, () => edit(rule)) },
      { id: "limit", label: "Limit", right: true, sort: (rule) => rule.requests_per_minute, cell: (rule) => [`${count(rule.requests_per_minute)}/min`, span("sub", `burst ${count(rule.burst_size)}`)] },
      { id: "counted", label: "For", sort: (rule) => rule.count_by, cell: (rule) => [rule.count_by === "header" ? ["each ", h("code", {}, rule.header)] : COUNTED[rule.count_by], rule.before_auth ? span("sub", "before authentication") : null] },
      { id: "mode", label: "Enforced", sort: (rule) => rule.mode, cell: (rule) => span("pair", toggle({ name: rule.name, entity: rule, isOn: rule.mode === "enforce", label: `${rule.name} is enforced`, focus: `mode-${rule.id}`, change: (isOn) => enforce(rule, isOn) }), rule.mode === "shadow" ? badge("shadow", "violet") : null) },
      { id: "refused", label: "Refused, 1 h", right: true, sort: (rule) => rule.hour.limited + rule.hour.shadowed, cell: refusedCell },
      { id: "admitted", label: "Admitted", right: true, sort: (rule) => rule.admitted, cell: (rule) => span(rule.admitted ? "" : "faint", count(rule.admitted)) },
      { id: "subjects", label: "Buckets", right: true, sort: (rule) => rule.subjects, cell: (rule) => [span(rule.subjects ? "" : "faint", count(rule.subjects)), rule.overflowed ? span("sub warn", `${count(rule.overflowed)} shared one`) : null] },
      { id: "enabled", label: "In use", sort: (rule) => Number(rule.enabled), cell: (rule) => toggle({ name: rule.name, entity: rule, change: (enabled) => change(rule, { enabled }, `is switched ${enabled ? "on" : "off"}`) }) },
      { id: "actions", label: "Actions", hiddenLabel: true, className: "actions", cell: (rule) => [
        iconButton(`Try ${rule.name} on the log`, "replay", () => go("explain", { mode: "replay", patch: patchOf(rule) }), `try-${rule.id}`),
        iconButton(`Edit ${rule.name}`, "edit", () => edit(rule), `edit-${rule.id}`),
        iconButton(`Delete ${rule.name}`, "remove", () => remove(rule), `delete-${rule.id}`),
      ] },
    ];
  }

  const enforce = (rule, isOn) => change(rule, { mode: isOn ? "enforce" : "shadow" }, isOn ? "is enforced" : "only counts from now on");

  async function change(rule, patch, done) {
    await attempt(() => api.patch(`api/rate-limits/${rule.id}`, patch), `${rule.name} ${done}.`);
    await list.refresh();
  }

  async function remove(rule) {
    await askToRemove(rule.name, `api/rate-limits/${rule.id}`, REMOVAL);
    await list.refresh();
  }

  async function edit(rule) {
    const [services, routes] = await choices;
    await openEditor({
      kind: "rule", path: "api/rate-limits", spec: "RateLimitRuleSpec", entity: rule, nameOf: ({ name }) => name, fields: ruleFields(services, routes), remove: REMOVAL,
      subtitle: rule ? rule.id : "A request has to be admitted by its key’s limit and by every rule that it is for.",
      values: { enabled: true, mode: "enforce", count_by: "key" },
    });
    await list.refresh();
  }
}

/** For which requests it is, in words. */
function whatOf({ methods, path, match, route_id: route, service_id: service }, names) {
  const parts = [
    methods.join(", "), path && (match === "exact" ? path : `${path}${path.endsWith("/") ? "" : "/"}…`),
    route && `route ${names.get(route) ?? route}`, service && `service ${names.get(service) ?? service}`,
  ].filter(Boolean);
  return parts.join(" · ") || "every request";
}

function refusedCell({ hour, mode, refused, shadowed }) {
  const since = mode === "shadow" ? shadowed : refused;
  const recent = mode === "shadow" ? hour.shadowed : hour.limited;
  const words = `${mode === "shadow" ? "would have, " : ""}${count(since)} since the start`;
  const isLinked = recent > 0 && mode === "enforce"; // the log has no filter for the others
  return [isLinked ? h("a", { class: "plain-link", href: href("logs", { flag: "rate_limited" }) }, count(recent)) : span(recent ? "violet" : "faint", count(recent)), since ? span("sub", words) : null];
}

/** What a replay may be asked: what if it were enforced, with these numbers? */
function patchOf({ id, requests_per_minute: rate, burst_size: burst }) {
  return JSON.stringify({ rate_limits: { [id]: { mode: "enforce", requests_per_minute: rate, burst_size: burst } } });
}

/** Who met a limit within an hour, and whose limits those were. */
function drawLimited(place, { keys, rules, limited, requests }) {
  const print = JSON.stringify([keys, rules]);
  if (place.dataset.print === print) return;
  place.dataset.print = print;
  const share = requests.value ? limited.value / requests.value : 0;
  fill(place,
    card("Limited keys, 1 h", `${count(limited.value)} refused in all (${percent(share)})`, keys.length ? plainTable("Keys that met a limit in the last hour", ["Key", "Requests", "Limited", "Share"], keys.slice(0, MOST_KEYS).map((key) => [
      h("a", { class: "plain-link", href: href("keys", { q: key.name }) }, key.name), count(key.requests),
      h("a", { class: "plain-link", href: href("logs", { key: key.name, flag: "rate_limited" }) }, count(key.limited.value)),
      [percent(key.share), meter(key.share, key.share >= 0.1 ? "bad" : "warn")],
    ])) : nobody("No key met a limit in the last hour.")),
    card("Limits that said no, 1 h", "", rules.length ? plainTable("Limits that refused in the last hour, or would have", ["Limit", "Refused", "Would have"], rules.slice(0, MOST_KEYS).map((rule) => [
      rule.id ? rule.name : span("muted", "the keys’ own"), count(rule.limited), rule.shadowed ? span("violet", count(rule.shadowed)) : span("faint", "0")])) : nobody("No limit refused anything in the last hour.")));
}

function card(title, note, content) {
  return h("section", { class: "card", "aria-label": title }, h("div", { class: "card-head" }, h("h2", {}, title), span("faint end", note)), h("div", { class: "flush" }, content));
}

const nobody = (text) => h("p", { class: "quiet-note" }, icon("check"), text);
