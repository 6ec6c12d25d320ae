// The page that asks for the admin token.

import { fill, freshId, h } from "./dom.js";
import { signIn } from "./api.js";

export function signInPage({ problem, onSignedIn }) {
  const ids = { input: freshId("token"), error: freshId("error") };
  const input = h("input", {
    class: "input mono", id: ids.input, type: "password", name: "token", autocomplete: "current-password", "aria-describedby": ids.error, spellcheck: "false",
  });
  const error = h("p", { class: "error", id: ids.error, role: "alert" }, problem);
  const button = h("button", { class: "button primary stretched", type: "submit" }, "Sign in");
  const user = h("input", { type: "text", name: "username", value: "admin", autocomplete: "username", hidden: true, "aria-hidden": "true", tabindex: "-1" });
  const form = h("form", { onsubmit: submit },
    h("img", { src: "assets/icon.svg", alt: "" }),
    h("h1", {}, "Sign in to MicroGateway"),
    h("p", {}, "This is the control port. The admin token opens it."),
    user,
    h("div", { class: "field" }, h("label", { for: ids.input }, "Admin token"), input, error),
    button,
    h("p", { class: "hint" }, "It is in ", h("code", {}, "admin_token"), " in the gateway's data folder, or what ", h("code", {}, "MICROGATEWAY_ADMIN_TOKEN"), " says."));

  async function submit(event) {
    event.preventDefault();
    if (!input.value.trim()) return complain("Enter the admin token.");
    button.setAttribute("aria-disabled", "true");
    try {
      await signIn(input.value.trim());
      onSignedIn();
    } catch (failure) {
      complain(failure.message);
    } finally {
      button.removeAttribute("aria-disabled");
    }
  }

  function complain(message) {
    fill(error, message);
    input.setAttribute("aria-invalid", "true");
    input.focus();
    input.select();
  }

  return h("main", { class: "sign-in" }, form);
}
