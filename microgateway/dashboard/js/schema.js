// Which fields an entity has besides those that a form shows: asked of the API's own description, once.

import { api } from "./api.js";

let schemas = null;

/** `{ name: { default, description } }` of `ServiceSpec`, `RouteSpec` or `ApiKeySpec`. */
export async function fieldsOf(spec) {
  schemas ??= api.get("openapi.json").then((document) => document.components.schemas);
  const all = await schemas.catch((error) => { schemas = null; throw error; });
  return (all[spec] ?? all[`${spec}-Input`] ?? { properties: {} }).properties;
}

/** A field for all that the others leave out, as JSON. */
export async function otherFields(spec, fields) {
  const shown = new Set(fields.flatMap((field) => field.fields ?? [field]).map((field) => field.name.split(".")[0]));
  const all = await fieldsOf(spec);
  const names = Object.keys(all).filter((name) => !shown.has(name));
  if (names.length === 0) return [];
  return [{ group: "Other settings", fields: [{ name: "", kind: "rest", wide: true, label: "As JSON", names, hint: `There are ${names.join(", ")}. The API documentation says what they take.` }] }];
}
