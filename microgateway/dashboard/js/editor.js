// The drawer in which an entity is created or edited.

import { freshId, h } from "./dom.js";
import { confirm, openDialog } from "./dialog.js";
import { createForm } from "./form.js";
import { failed } from "./notices.js";
import { otherFields } from "./schema.js";

/**
 * `save(form)` sends it; what it answers is handed on. `remove` is `{ label, title, text, run }`. Answers what `save` or
 * `remove.run` did, or undefined when it was left.
 */
export async function openEditor({ title, subtitle, spec, fields, values, saveLabel, save, remove }) {
  const id = freshId("editor");
  const rest = spec ? await otherFields(spec, fields).catch(() => []) : [];
  const submit = h("button", { class: "button primary", type: "submit", form: id }, saveLabel);
  const cancel = h("button", { class: "button", type: "button" }, "Cancel");
  const form = createForm({
    id,
    fields: [...fields, ...rest],
    values,
    async onSubmit() {
      if (submit.getAttribute("aria-disabled")) return;
      submit.setAttribute("aria-disabled", "true");
      try {
        const result = await save(form);
        dialog.close(result ?? true);
      } finally {
        submit.removeAttribute("aria-disabled");
      }
    },
  });
  const foot = [remove ? removeButton(remove, () => dialog) : null, cancel, submit];
  const before = printOf(form.node);
  const dialog = openDialog({
    title, subtitle, body: form.node, foot, kind: "drawer",
    mayClose: () => printOf(form.node) === before || confirm({ title: "Leave without saving?", text: "What you have changed here is not saved.", action: "Leave" }),
  });
  cancel.addEventListener("click", () => dialog.close(undefined));
  form.node.querySelector("input, select, textarea")?.focus();
  return dialog.closed;
}

function removeButton({ label, title, text, run }, dialog) {
  const button = h("button", { class: "button quiet bad start", type: "button" }, label);
  button.addEventListener("click", async () => {
    if (!(await confirm({ title, text, action: label }))) return;
    try {
      await run();
      dialog().close("removed");
    } catch (error) {
      failed(error);
    }
  });
  return button;
}

function printOf(form) {
  const fields = [...form.querySelectorAll("input, select, textarea")];
  return JSON.stringify(fields.map((field) => (field.type === "checkbox" ? field.checked : field.value)));
}
