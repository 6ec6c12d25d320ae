// #/keys: who may use the gateway, and how much of it.

import { all, api } from "../api.js";
import { confirm, openDialog } from "../dialog.js";
import { h, span } from "../dom.js";
import { askToRemove, openEditor } from "../editor.js";
import { ago, count, percent } from "../format.js";
import { createForm } from "../form.js";
import { mountList, titleCell } from "../list_view.js";
import { notify } from "../notices.js";
import { accessTabs, badge, copyButton, createButton, empty, iconButton, meter, moment } from "../parts.js";
import { keep } from "../router.js";
import { stateOf } from "../key_state.js";
import { openToken } from "../token.js";

const REFRESH = 2; // seconds
const MANY = 500; // of so many, only those in use are asked for again
const REMOVAL = { label: "Revoke", done: "revoked", text: "Its requests, and those with tokens made from it, get 401 at once. This can't be undone." };
const STATES = [["active", "Usable"], ["expiring", "Expiring soon"], ["expired", "Expired"], ["disabled", "Switched off"], ["revoked", "Revoked"]];

export function mount(view, context) {
  let loaded = [];
  let isWanted = true;
  const list = mountList(view, context, {
    name: "keys", noun: "key", title: "Keys", subtitle: "Who may use the gateway, and how much of it.", searchLabel: "Search keys", seconds: REFRESH,
    tools: accessTabs("keys"),
    filters: [{ name: "owner", label: "Owner", any: "Any owner" }, { name: "team", label: "Team", any: "Any team" }, { name: "state", label: "State", any: "Any state", options: STATES, value: "active" }],
    columns: columns(),
    dimmed: (key) => !["active", "expiring"].includes(stateOf(key).name),
    text: (key) => key.text,
    fits: (key, { owner, team, state }) => (!owner || key.owner === owner) && (!team || key.team === team) && isOfState(key, state),
    load, create, open: edit,
    whenEmpty: () => empty({ drawing: "keys", title: "No key yet", text: "A client sends its key in X-API-Key. Each has a limit of its own.", action: createButton("Create the first key", create) }),
  });

  async function load(show) {
    const { keys: busy } = await api.get("api/metrics/latency", { window: "1m", limit: 1000 });
    const now = new Map(busy.map(({ id, current }) => [id, current]));
    const prepared = (key) => ({ ...key, minute: now.get(key.id)?.requests ?? 0, limited: now.get(key.id)?.outcomes.limited ?? 0, text: `${key.name} ${key.owner} ${key.team} ${key.key_prefix}`.toLowerCase() });
    if (isWanted || loaded.length <= MANY) {
      isWanted = false;
      loaded = await all("api/keys", (some) => show(some.map(prepared)));
      for (const field of ["owner", "team"]) list.options(field, choices(field));
    }
    return loaded.map(prepared);
  }

  function choices(field) {
    return [...new Set(loaded.map((key) => key[field]).filter(Boolean))].sort((one, other) => one.localeCompare(other)).map((name) => [name, name]);
  }

  function refresh() {
    isWanted = true;
    return list.refresh();
  }

  function columns() {
    return [
      { id: "name", label: "Key", first: true, sort: (key) => key.name, cell: (key) => titleCell(key, key.name, `${key.key_prefix}…`, () => edit(key)) },
      { id: "owner", label: "Owner", sort: (key) => key.owner, cell: (key) => [key.owner || span("faint", "–"), span("sub", key.team)] },
      { id: "limit", label: "Last minute", right: true, sort: (key) => key.minute / key.requests_per_minute, cell: limitCell },
      { id: "usage", label: "Requests", right: true, sort: (key) => key.total_requests, cell: usageCell },
      { id: "used", label: "Last used", sort: (key) => (key.last_used_at ? Date.parse(key.last_used_at) : null), cell: (key) => moment(key.last_used_at) },
      { id: "expires", label: "Expires", sort: (key) => (key.expires_at ? Date.parse(key.expires_at) : null), cell: (key) => moment(key.expires_at) },
      { id: "state", label: "State", sort: (key) => stateOf(key).text, cell: (key) => badge(stateOf(key).text, stateOf(key).tone) },
      { id: "actions", label: "Actions", hiddenLabel: true, className: "actions", cell: (key) => (key.revoked_at ? null : [
        iconButton(`Make a token from ${key.name}`, "ticket", () => openToken(key), `token-${key.id}`),
        iconButton(`Rotate ${key.name}`, "rotate", () => rotate(key), `rotate-${key.id}`),
        iconButton(`Revoke ${key.name}`, "remove", () => revoke(key), `revoke-${key.id}`),
      ]) },
    ];
  }

  async function create() {
    const made = await openEditor({ kind: "key", path: "api/keys", spec: "ApiKeySpec", entity: null, nameOf: ({ name }) => name, subtitle: "It is shown once, when it is made.", fields: await fieldsOf(), values: { enabled: true }, isQuiet: true });
    if (made) await Promise.all([refresh(), showOnce(made, "Your new key")]);
  }

  async function edit(key) {
    if (key.revoked_at) {
      keep({ open: "" });
      return notify(`${key.name} was revoked ${ago(key.revoked_at)}, and stays so.`, "warn");
    }
    await openEditor({ kind: "key", path: "api/keys", spec: "ApiKeySpec", entity: key, nameOf: ({ name }) => name, subtitle: `${key.key_prefix}…`, fields: await fieldsOf(), remove: REMOVAL });
    return refresh();
  }

  async function revoke(key) {
    await askToRemove(key.name, `api/keys/${key.id}`, REMOVAL);
    await refresh();
  }

  async function rotate(key) {
    const made = await askForOverlap(key);
    if (made) await Promise.all([refresh(), showOnce(made, `The new text of ${key.name}`)]);
  }
}

/** The key itself, this once. It is not closed by mistake. */
async function showOnce(made, title) {
  const done = h("button", { class: "button primary" }, "I have stored it");
  const dialog = openDialog({
    title,
    subtitle: made.name,
    kind: "box broad",
    body: [
      h("p", { class: "note tone-warn" }, h("strong", {}, "Copy it now. "), "Only its hash is kept: nobody can show it again, also not the gateway."),
      h("div", { class: "secret" }, h("code", { tabindex: "0", role: "textbox", "aria-readonly": "true", "aria-label": "The key" }, made.key), copyButton(made.key)),
      h("div", {}, h("h3", {}, "A client sends it like this"), h("pre", { class: "sample" }, `X-API-Key: ${made.key}`)),
    ],
    foot: done,
    mayClose: () => confirm({ title: "Close without the key?", text: "It will never be shown again. If it is lost, rotate the key or create another.", action: "Close" }),
  });
  done.addEventListener("click", async () => {
    if (await confirm({ title: "Have you stored the key?", text: "It will never be shown again.", action: "Yes, close", tone: "primary" })) dialog.close();
  });
  dialog.node.querySelector(".secret .button").focus();
  await dialog.closed;
}

async function askForOverlap(key) {
  const form = createForm({
    fields: [{ name: "overlap_seconds", kind: "select", wide: true, label: "The present text stays good", default: "86400", options: [["0", "no longer"], ["3600", "for an hour"], ["86400", "for a day"], ["604800", "for a week"], ["2592000", "for 30 days"]], hint: "Beside the new one, so that clients can change over." }],
    onSubmit: async () => dialog.close(await api.post(`api/keys/${key.id}/rotate`, { overlap_seconds: Number(form.body().overlap_seconds) })),
  });
  const cancel = h("button", { class: "button" }, "Cancel");
  const submit = h("button", { class: "button primary", type: "submit", form: form.node.id }, "Rotate key");
  const dialog = openDialog({ title: `Rotate ${key.name}`, subtitle: "The key gets a new text; owner, limit and usage stay.", body: form.node, foot: [cancel, submit] });
  cancel.addEventListener("click", () => dialog.close());
  return dialog.closed;
}

/** What it has used of its rate, refused requests left out: those took nothing. */
function limitCell(key) {
  const admitted = key.minute - key.limited;
  const share = admitted / key.requests_per_minute;
  return [`${count(admitted)} of ${count(key.requests_per_minute)}`, meter(share, key.limited ? "bad" : share > 0.8 ? "warn" : "info"), span("unseen", `burst ${key.burst_size}`)];
}

function usageCell(key) {
  const share = key.total_requests ? key.rejected_requests / key.total_requests : 0;
  return [count(key.total_requests), span("sub", key.rejected_requests ? `${count(key.rejected_requests)} limited (${percent(share)})` : "none limited")];
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
