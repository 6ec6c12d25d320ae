// What is different between two versions of the configuration, as people read it.

import { h, span } from "./dom.js";
import { count } from "./format.js";
import { badge, plainTable } from "./parts.js";

export const KINDS = { service: "service", route: "route", rate_limit: "rate limit rule", key: "key", token_issuer: "token issuer", configuration: "everything" };
const ACTIONS = { create: ["created", "good"], change: ["changed", "info"], delete: ["deleted", "bad"], seed: ["seeded", "violet"], restore: ["restored", "violet"] };

export const actionBadge = (action) => badge(...(ACTIONS[action] ?? [action, "off"]));

/**
 * A part for each thing. Of what is there or is gone as a whole, the fields are shown when they are asked for. `sides`
 * are what the two values of a field are called, and `nothing` is said where nothing is different.
 */
export function differences(changes, total, { nothing, sides = ["Before", "After"] }) {
  if (total === 0) return h("p", { class: "muted" }, nothing);
  const more = total > changes.length ? h("p", { class: "muted" }, `And ${count(total - changes.length)} more.`) : null;
  return h("div", { class: "differences" }, changes.map((change) => difference(change, sides)), more);
}

function difference({ action, kind, id, name, fields }, sides) {
  const title = `${KINDS[kind]} ${name}`;
  const table = plainTable(`${title}, ${id}: what is different`, ["Field", ...sides], fields.map(({ field, before, after }) => [h("code", {}, field), valueOf(before), valueOf(after)]));
  const shown = action === "change" ? table : h("details", {}, h("summary", {}, fields.length === 1 ? "1 field" : `${fields.length} fields`), table);
  return h("section", { "aria-label": `${title}, ${id}` }, h("h3", {}, actionBadge(action), span("muted", ` ${KINDS[kind]} `), name), shown);
}

function valueOf(value) {
  if (value === null) return span("faint", "–");
  return h("code", {}, typeof value === "string" ? value : JSON.stringify(value));
}
