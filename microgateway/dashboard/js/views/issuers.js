// #/issuers: others whose tokens are believed, and how it stands with their keys.

import { attempt } from "../actions.js";
import { all, api } from "../api.js";
import { h, span } from "../dom.js";
import { askToRemove, openEditor } from "../editor.js";
import { ago, count } from "../format.js";
import { mountList, titleCell } from "../list_view.js";
import { accessTabs, badge, createButton, empty, iconButton, moment, toggle } from "../parts.js";

const REFRESH = 3; // seconds
const REMOVAL = { label: "Delete", done: "deleted", text: "The very next request with one of its tokens is refused." };
const ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"];

export function mount(view, context) {
  const list = mountList(view, context, {
    name: "issuers", path: "api/token-issuers", noun: "issuer", title: "Token issuers", subtitle: "Others whose tokens open the door, as a key does.", searchLabel: "Search issuers", seconds: REFRESH,
    tools: accessTabs("issuers"),
    filters: [],
    columns: columns(),
    dimmed: (issuer) => !issuer.enabled,
    text: (issuer) => `${issuer.name} ${issuer.issuer}`.toLowerCase(),
    fits: () => true,
    load: () => all("api/token-issuers"), create: () => edit(null), open: edit,
    whenEmpty: () => empty({ drawing: "issuers", title: "No issuer yet", text: "The gateway believes tokens made from its own keys. Name your identity provider, and its tokens are believed too: by the keys that it publishes, with a limit for each subject.", action: createButton("Name the first issuer", () => edit(null)) }),
  });

  function columns() {
    return [
      { id: "name", label: "Issuer", first: true, sort: (issuer) => issuer.name, cell: (issuer) => titleCell(issuer, issuer.name, issuer.issuer, () => edit(issuer)) },
      { id: "keys", label: "Its keys", sort: (issuer) => issuer.key_ids.length, cell: keysCell },
      { id: "audiences", label: "For", sort: (issuer) => issuer.audiences.join(), cell: (issuer) => (issuer.audiences.length ? span("chips", issuer.audiences.map((name) => span("chip", name))) : span("faint", "anybody")) },
      { id: "algorithms", label: "Signed with", sort: (issuer) => issuer.algorithms.join(), cell: (issuer) => span("chips", issuer.algorithms.map((name) => span("chip", name))) },
      { id: "limit", label: "Each subject", right: true, sort: (issuer) => issuer.requests_per_minute, cell: limitCell },
      { id: "usage", label: "Requests", right: true, sort: (issuer) => issuer.total_requests, cell: (issuer) => [count(issuer.total_requests), span("sub", issuer.rejected_requests ? `${count(issuer.rejected_requests)} limited` : "none limited")] },
      { id: "used", label: "Last used", sort: (issuer) => (issuer.last_used_at ? Date.parse(issuer.last_used_at) : null), cell: (issuer) => moment(issuer.last_used_at) },
      { id: "enabled", label: "In use", sort: (issuer) => Number(issuer.enabled), cell: (issuer) => toggle({ name: issuer.name, entity: issuer, change: (enabled) => change(issuer, enabled) }) },
      { id: "actions", label: "Actions", hiddenLabel: true, className: "actions", cell: (issuer) => [
        iconButton(`Edit ${issuer.name}`, "edit", () => edit(issuer), `edit-${issuer.id}`),
        iconButton(`Delete ${issuer.name}`, "remove", () => remove(issuer), `delete-${issuer.id}`),
      ] },
    ];
  }

  async function change(issuer, enabled) {
    await attempt(() => api.patch(`api/token-issuers/${issuer.id}`, { enabled }), `${issuer.name} is switched ${enabled ? "on" : "off"}.`);
    await list.refresh();
  }

  async function remove(issuer) {
    await askToRemove(issuer.name, `api/token-issuers/${issuer.id}`, REMOVAL);
    await list.refresh();
  }

  async function edit(issuer) {
    await openEditor({
      kind: "issuer", path: "api/token-issuers", spec: "TokenIssuerSpec", entity: issuer, nameOf: ({ name }) => name, fields: issuerFields(), remove: REMOVAL,
      subtitle: issuer ? issuer.id : "Whoever brings a token signed by it is let in.",
      notes: issuer?.keys_error ? h("p", { class: "note tone-warn" }, h("strong", {}, "Its keys could not be fetched. "), issuer.keys_error) : [],
      values: { enabled: true, algorithms: ["RS256"] },
    });
    await list.refresh();
  }
}

function keysCell({ key_ids: ids, keys_fetched_at: at, keys_error: error }) {
  const words = at ? `fetched ${ago(at)}` : "not fetched yet";
  const tone = error ? (ids.length ? "warn" : "bad") : ids.length ? "good" : "off";
  return [badge(ids.length === 1 ? "1 key" : `${ids.length} keys`, tone, ids.join(", ")), h("span", { class: "sub", title: error }, error ?? words)];
}

function limitCell({ requests_per_minute: rate, burst_size: burst, limit_claim: claim, limits }) {
  const many = Object.keys(limits).length;
  return [`${count(rate)}/min`, span("sub", `burst ${count(burst)}${many ? `; ${many} by ${claim}` : ""}`)];
}

function issuerFields() {
  return [
    { name: "name", label: "Name", required: true, placeholder: "staff" },
    { name: "issuer", label: "Issuer", required: true, mono: true, placeholder: "https://login.example.com/", hint: "What its tokens say in iss." },
    { name: "jwks_url", label: "Where its keys are", required: true, wide: true, mono: true, placeholder: "https://login.example.com/.well-known/jwks.json" },
    { name: "audiences", kind: "words", label: "Audiences", placeholder: "shop", default: [], hint: "One of them has to be in aud. None: whoever a token is for." },
    { name: "enabled", kind: "switch", label: "In use", default: true },
    { name: "algorithms", kind: "several", label: "Signed with", options: ALGORITHMS.map((name) => [name, name]), default: ["RS256"] },
    { name: "requests_per_minute", kind: "number", label: "Requests per minute", optional: true, hint: "For each subject. Left out: the gateway’s default." },
    { name: "burst_size", kind: "number", label: "Burst", optional: true, hint: "How many at once." },
    { group: "Clock and certificate", fields: [
      { name: "leeway_seconds", kind: "number", label: "Leeway", placeholder: "10", hint: "Seconds that its clock may be off." },
      { name: "ca_file", label: "Authority’s file", mono: true, optional: true, hint: "Who is trusted where its keys are." },
    ] },
  ];
}
