// #/keys: who may use the gateway, and how much of it.

import { all, api } from "../api.js";
import { confirm, openDialog } from "../dialog.js";
import { fill, h, icon } from "../dom.js";
import { openEditor } from "../editor.js";
import { ago, count, date, fullTime, percent } from "../format.js";
import { createForm } from "../form.js";
import { failed, notify } from "../notices.js";
import { badge, copyButton, createButton, empty, filterBox, iconButton, meter, repeat, searchBox, viewHead } from "../parts.js";
import { go, keep } from "../router.js";
import { createTable } from "../table.js";
import { unreachable } from "./services.js";
import { openToken } from "../token.js";

const REFRESH = 5; // seconds, with few keys; a long list is asked for less often
const MANY = 500;
const SOON = 14 * 86_400_000; // milliseconds

export function mount(view, { query, signal }) {
  let keys = [];
  let isLoaded = false;
  let rounds = 0;
  let filters = { q: query.q ?? "", owner: query.owner ?? "", team: query.team ?? "", state: query.state ?? "active" };

  const total = h("span", { class: "total", role: "status" });
  const table = createTable({
    caption: "API keys",
    columns: columns(),
    key: (key) => key.id,
    dimmed: (key) => stateOf(key).name !== "active" && stateOf(key).name !== "expiring",
    order: query,
    onOrder: keep,
    empty: () => (keys.length ? emptyFilter() : emptyTable()),
  });
  const owner = filterBox({ label: "Owner", all: "Any owner", options: [], value: filters.owner, onchange: (value) => refine({ owner: value }) });
  const team = filterBox({ label: "Team", all: "Any team", options: [], value: filters.team, onchange: (value) => refine({ team: value }) });
  const states = [["active", "Usable"], ["expiring", "Expiring soon"], ["expired", "Expired"], ["disabled", "Switched off"], ["revoked", "Revoked"]];
  const state = filterBox({ label: "State", all: "Any state", options: states, value: filters.state, onchange: (value) => refine({ state: value || "any" }) });
  fill(view,
    viewHead("Keys", "Who may use the gateway, and how much of it.", createButton("New key", () => create())),
    h("div", { class: "bar" }, searchBox({ label: "Search keys", value: filters.q, oninput: (value) => refine({ q: value }) }), owner.node, team.node, state.node, total),
    table.node);
  table.loading();

  const refresh = repeat(REFRESH, signal, async () => {
    rounds += 1;
    if (keys.length > MANY && isLoaded && rounds % 6 !== 0) return;
    await load();
  });
  whenAsked();

  async function load() {
    try {
      keys = (await all("api/keys", (some) => { if (!isLoaded) { keys = some.map(prepared); draw(); } })).map(prepared);
      isLoaded = true;
      owner.set(choices("owner"), filters.owner);
      team.set(choices("team"), filters.team);
      draw();
    } catch (error) {
      if (!isLoaded) table.update([], () => unreachable(error, () => refresh()));
    }
  }

  async function whenAsked() {
    if (query.create) return create();
    if (!query.open) return undefined;
    try {
      return await edit(await api.get(`api/keys/${query.open}`));
    } catch (error) {
      return failed(error);
    }
  }

  function prepared(key) {
    return { ...key, text: `${key.name} ${key.owner} ${key.team} ${key.key_prefix}`.toLowerCase() };
  }

  function choices(field) {
    return [...new Set(keys.map((key) => key[field]).filter(Boolean))].sort((one, other) => one.localeCompare(other)).map((name) => [name, name]);
  }

  function refine(patch) {
    filters = { ...filters, ...patch };
    keep({ ...filters, page: "" });
    table.firstPage();
    draw();
  }

  function draw() {
    const words = filters.q.toLowerCase();
    const rows = keys.filter((key) => key.text.includes(words)
      && (!filters.owner || key.owner === filters.owner)
      && (!filters.team || key.team === filters.team)
      && isOfState(key, filters.state));
    table.update(rows);
    fill(total, `${count(rows.length)} ${rows.length === 1 ? "key" : "keys"}`);
  }

  function columns() {
    return [
      { id: "name", label: "Key", first: true, sort: (key) => key.name, cell: nameCell },
      { id: "owner", label: "Owner", sort: (key) => key.owner, cell: (key) => [key.owner || h("span", { class: "faint" }, "–"), h("span", { class: "sub" }, key.team)] },
      { id: "limit", label: "Limit", right: true, sort: (key) => key.requests_per_minute, cell: (key) => [`${count(key.requests_per_minute)}/min`, h("span", { class: "sub" }, `burst ${count(key.burst_size)}`)] },
      { id: "usage", label: "Requests", right: true, sort: (key) => key.total_requests, cell: usageCell },
      { id: "used", label: "Last used", sort: (key) => (key.last_used_at ? Date.parse(key.last_used_at) : null), cell: (key) => moment(key.last_used_at) },
      { id: "expires", label: "Expires", sort: (key) => (key.expires_at ? Date.parse(key.expires_at) : null), cell: (key) => (key.expires_at ? moment(key.expires_at) : h("span", { class: "faint" }, "never")) },
      { id: "state", label: "State", sort: (key) => stateOf(key).text, cell: (key) => badge(stateOf(key).text, stateOf(key).tone) },
      { id: "actions", label: "Actions", hiddenLabel: true, className: "actions", cell: actionsCell },
    ];
  }

  function nameCell(key) {
    return [
      h("button", { class: "row-open", type: "button", onclick: () => edit(key), "data-focus": `open-${key.id}` }, key.name),
      h("span", { class: "sub mono" }, `${key.key_prefix}…`),
    ];
  }

  function actionsCell(key) {
    if (key.revoked_at) return null;
    return [
      iconButton(`Make a token from ${key.name}`, "ticket", () => openToken(key), `token-${key.id}`),
      iconButton(`Rotate ${key.name}`, "rotate", () => rotate(key), `rotate-${key.id}`),
      iconButton(`Revoke ${key.name}`, "remove", () => revoke(key), `revoke-${key.id}`),
    ];
  }

  async function create() {
    const made = await openEditor({
      title: "New key",
      subtitle: "It is shown once, when it is made.",
      spec: "ApiKeySpec",
      fields: await fieldsOf(),
      values: { enabled: true },
      saveLabel: "Create key",
      save: (form) => api.post("api/keys", form.body()),
    });
    keep({ create: "", open: "" });
    if (!made) return;
    await Promise.all([load(), showOnce(made, "Your new key")]);
  }

  async function edit(key) {
    if (key.revoked_at) {
      keep({ open: "" });
      return notify(`${key.name} was revoked ${ago(key.revoked_at)}, and stays so.`, "warn");
    }
    const done = await openEditor({
      title: `Edit ${key.name}`,
      subtitle: `${key.key_prefix}…`,
      spec: "ApiKeySpec",
      fields: await fieldsOf(),
      values: key,
      saveLabel: "Save changes",
      save: (form) => api.patch(`api/keys/${key.id}`, form.patch()),
      remove: { label: "Revoke", ...revocation(key) },
    });
    keep({ create: "", open: "" });
    if (!done) return undefined;
    notify(done === "removed" ? `${key.name} is revoked.` : `${done.name} is saved, and in force.`);
    return load();
  }

  function revocation(key) {
    return { title: `Revoke ${key.name}?`, text: "Its requests, and those with tokens made from it, get 401 at once. This can't be undone.", run: () => api.delete(`api/keys/${key.id}`) };
  }

  async function revoke(key) {
    const { title, text, run } = revocation(key);
    if (!(await confirm({ title, text, action: "Revoke" }))) return;
    try {
      await run();
      notify(`${key.name} is revoked.`);
    } catch (error) {
      failed(error);
    }
    await load();
  }

  async function rotate(key) {
    const made = await askForOverlap(key);
    if (!made) return;
    await Promise.all([load(), showOnce(made, `The new text of ${key.name}`)]);
  }

  function emptyTable() {
    return empty({ drawing: "keys", title: "No key yet", text: "A client sends its key in X-API-Key. Each has a limit of its own.", action: createButton("Create the first key", () => create()) });
  }

  function emptyFilter() {
    return empty({ drawing: "search", title: "No key fits", text: "Another search, or another filter, may.", action: h("button", { class: "button", type: "button", onclick: () => go("keys", { state: "any" }) }, "Show all") });
  }
}

/** The key itself, this once. It is not closed by mistake. */
async function showOnce(made, title) {
  const done = h("button", { class: "button primary", type: "button" }, "I have stored it");
  const dialog = openDialog({
    title,
    subtitle: made.name,
    kind: "box broad",
    body: [
      h("p", { class: "note tone-warn" }, h("strong", {}, "Copy it now. "), "Only its hash is kept: nobody can show it again, also not the gateway."),
      h("div", { class: "secret" }, h("code", { tabindex: "0", "aria-label": "The key" }, made.key), copyButton(made.key)),
      h("div", {}, h("h3", {}, "A client sends it like this"), h("pre", { class: "sample" }, `X-API-Key: ${made.key}`)),
    ],
    foot: done,
    mayClose: () => confirm({ title: "Close without the key?", text: "It will never be shown again. If it is lost, rotate the key or create another.", action: "Close", tone: "danger" }),
  });
  done.addEventListener("click", async () => {
    const isMeant = await confirm({ title: "Have you stored the key?", text: "It will never be shown again.", action: "Yes, close", tone: "primary" });
    if (isMeant) dialog.close();
  });
  dialog.node.querySelector(".secret .button").focus();
  await dialog.closed;
}

async function askForOverlap(key) {
  const form = createForm({
    fields: [{ name: "overlap_seconds", kind: "select", wide: true, label: "The present text stays good", default: "86400", options: [["0", "no longer"], ["3600", "for an hour"], ["86400", "for a day"], ["604800", "for a week"], ["2592000", "for 30 days"]], hint: "Beside the new one, so that clients can change over." }],
    onSubmit: async () => dialog.close(await api.post(`api/keys/${key.id}/rotate`, { overlap_seconds: Number(form.body().overlap_seconds) })),
  });
  const cancel = h("button", { class: "button", type: "button" }, "Cancel");
  const submit = h("button", { class: "button primary", type: "submit", form: form.node.id }, "Rotate key");
  const dialog = openDialog({ title: `Rotate ${key.name}`, subtitle: "The key gets a new text; owner, limit and usage stay.", body: form.node, foot: [cancel, submit] });
  cancel.addEventListener("click", () => dialog.close());
  return dialog.closed;
}

function usageCell(key) {
  const share = key.total_requests ? key.rejected_requests / key.total_requests : 0;
  return [count(key.total_requests), h("span", { class: "sub" }, key.rejected_requests ? `${count(key.rejected_requests)} limited (${percent(share)})` : "none limited")];
}

function moment(when) {
  if (!when) return h("span", { class: "faint" }, "never");
  const far = Math.abs(Date.now() - Date.parse(when)) > 300 * 86_400_000;
  return h("time", { class: "nowrap", datetime: when, title: fullTime(when) }, far ? date(when) : ago(when));
}

export function stateOf(key, now = Date.now()) {
  const expiry = key.expires_at ? Date.parse(key.expires_at) : Infinity;
  if (key.revoked_at) return { name: "revoked", text: "revoked", tone: "off" };
  if (expiry <= now) return { name: "expired", text: "expired", tone: "bad" };
  if (!key.enabled) return { name: "disabled", text: "switched off", tone: "off" };
  if (expiry - now < SOON) return { name: "expiring", text: "expiring", tone: "warn" };
  return { name: "active", text: "active", tone: "good" };
}

function isOfState(key, wanted) {
  const { name } = stateOf(key);
  return !wanted || wanted === "any" || wanted === name || (wanted === "active" && name === "expiring");
}

async function fieldsOf() {
  const services = await all("api/services").catch(() => []);
  return [
    { name: "name", label: "Name", required: true, placeholder: "mobile app", wide: true },
    { name: "owner", label: "Owner", optional: true, keepsEmpty: true, placeholder: "Ada" },
    { name: "team", label: "Team", optional: true, keepsEmpty: true, placeholder: "mobile" },
    { name: "requests_per_minute", kind: "number", label: "Requests per minute", optional: true, hint: "Left out: the gateway's default." },
    { name: "burst_size", kind: "number", label: "Burst", optional: true, hint: "How many at once." },
    { name: "expires_at", kind: "moment", label: "Expires", optional: true },
    { name: "enabled", kind: "switch", label: "In use", default: true },
    { group: "Services and scopes", fields: [
      { name: "services", kind: "several", label: "Services it may use", options: services.map(({ id, name }) => [id, name]), hint: "None chosen: all of them.", default: [] },
      { name: "scopes", kind: "words", label: "Scopes of its tokens", placeholder: "orders:read orders:write", wide: true, default: [] },
    ] },
  ];
}
