// A JSON web token from a key, with what it says inside.

import { api } from "./api.js";
import { openDialog } from "./dialog.js";
import { fill, h } from "./dom.js";
import { createForm } from "./form.js";
import { duration, fullTime } from "./format.js";
import { copyButton, facts } from "./parts.js";

const MOMENTS = ["iat", "exp", "nbf"];

/** The gateway knows only the key's hash, so the key itself has to be given once more. */
export function openToken(key) {
  const result = h("div", { class: "token-result", "aria-live": "polite" });
  const form = createForm({
    fields: [{ name: "api_key", label: "API key", type: "password", mono: true, required: true, wide: true, placeholder: `${key.key_prefix}…`, hint: "The gateway keeps only its hash, so it is needed once more. It goes nowhere else." }],
    async onSubmit() {
      const made = await api.post("api/auth/token", { api_key: form.body().api_key ?? "" });
      const { valid, claims } = await api.post("api/auth/validate", { token: made.access_token });
      fill(result, tokenOf(made, valid ? claims : {}));
    },
  });
  const submit = h("button", { class: "button primary", type: "submit", form: form.node.id }, "Make a token");
  openDialog({ title: `A token from ${key.name}`, subtitle: "For clients that would rather send Authorization: Bearer.", kind: "box broad", body: [form.node, result], foot: submit });
  form.node.querySelector("input").focus();
}

function tokenOf(made, claims) {
  const value = (name, claim) => (MOMENTS.includes(name) ? `${fullTime(claim * 1000)}` : typeof claim === "string" ? claim : JSON.stringify(claim));
  return [
    h("div", { class: "secret" }, h("code", { tabindex: "0", "aria-label": "The token" }, made.access_token), copyButton(made.access_token)),
    h("p", { class: "faint" }, `Good for ${duration(made.expires_in)}.`),
    h("h3", {}, "What it says"),
    facts(Object.entries(claims).map(([name, claim]) => [h("code", {}, name), value(name, claim)])),
  ];
}
