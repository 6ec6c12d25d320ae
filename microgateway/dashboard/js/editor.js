// The drawer in which an entity is created, edited and removed.

import { ask } from "./actions.js";
import { freshId, h } from "./dom.js";
import { api } from "./api.js";
import { confirm, openDialog } from "./dialog.js";
import { createForm } from "./form.js";
import { notify } from "./notices.js";
import { keep } from "./router.js";
import { otherFields } from "./schema.js";

/**
 * `entity` is null for a new one, which begins with `values`. `nameOf(entity)` is what it is called; `remove` is
 * `{ label, done, text }`, and `notes` stand above the form. Answers what was saved, or null.
 */
export async function openEditor({ kind, path, spec, nameOf, subtitle, fields, entity, values = {}, remove, notes = [], isQuiet = false }) {
  const id = freshId("editor");
  const rest = await otherFields(spec, fields).catch(() => []);
  const submit = h("button", { class: "button primary", type: "submit", form: id }, entity ? "Save changes" : `Create ${kind}`);
  const cancel = h("button", { class: "button" }, "Cancel");
  const own = entity && `${path}/${entity.id}`;
  const form = createForm({
    id,
    fields: [...fields, ...rest],
    values: entity ?? values,
    async onSubmit() {
      if (submit.getAttribute("aria-disabled")) return;
      submit.setAttribute("aria-disabled", "true");
      try {
        dialog.close(await (entity ? api.patch(own, form.patch()) : api.post(path, form.body())));
      } finally {
        submit.removeAttribute("aria-disabled");
      }
    },
  });
  const before = printOf(form.node);
  const dialog = openDialog({
    title: entity ? `Edit ${nameOf(entity)}` : `New ${kind}`,
    subtitle,
    body: [notes, form.node],
    foot: [entity ? removeButton(nameOf(entity), own, remove, () => dialog.close(null)) : null, cancel, submit],
    kind: "drawer",
    mayClose: () => printOf(form.node) === before || confirm({ title: "Leave without saving?", text: "What you have changed here is not saved.", action: "Leave" }),
  });
  cancel.addEventListener("click", () => dialog.close(null));
  form.node.querySelector("input, select, textarea")?.focus();
  const saved = (await dialog.closed) ?? null;
  keep({ create: "", open: "" });
  if (saved && !isQuiet) notify(`${nameOf(saved)} is ${entity ? "saved" : "created"}, and in force.`);
  return saved;
}

/** `remove` as in `openEditor`. */
export function askToRemove(name, path, { label, done, text }) {
  return ask({ title: `${label} ${name}?`, text, action: label }, () => api.delete(path), `${name} is ${done}.`);
}

function removeButton(name, path, remove, close) {
  return h("button", { class: "button quiet bad start", onclick: async () => { if (await askToRemove(name, path, remove)) close(); } }, remove.label);
}

function printOf(form) {
  const fields = [...form.querySelectorAll("input, select, textarea")];
  return JSON.stringify(fields.map((field) => (field.type === "checkbox" ? field.checked : field.value)));
}
