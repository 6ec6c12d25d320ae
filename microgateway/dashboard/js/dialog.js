// Dialogs and drawers: the browser's own, which keep the focus inside and give it back.

import { freshId, h, icon } from "./dom.js";

/**
 * Opens one. `mayClose` is asked before it closes by Escape, the cross or a click beside it, and may answer with a
 * promise. Answers `{ node, close, closed }`.
 */
export function openDialog({ title, subtitle, body, foot, kind = "box", mayClose = () => true, describedBy }) {
  const id = freshId("title");
  const node = h("dialog", { class: kind, "aria-labelledby": id, "aria-describedby": describedBy });
  const opener = document.activeElement;
  let settle;
  const closed = new Promise((resolve) => { settle = resolve; });
  const close = (result) => { node.close(); node.remove(); giveFocusBack(opener); settle(result); };
  const leave = async () => { if (node.isConnected && (await mayClose())) close(undefined); };
  node.append(
    h("div", { class: "dialog-head" },
      h("div", { class: "titles" }, h("h2", { id }, title), subtitle ? h("p", {}, subtitle) : null),
      h("button", { class: "button quiet square", "aria-label": "Close", onclick: leave }, icon("close"))),
    h("div", { class: "dialog-body" }, body),
    foot ? h("div", { class: "dialog-foot" }, foot) : "");
  node.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.target.closest("dialog") !== node) return;
    event.preventDefault();
    event.stopPropagation();
    leave();
  });
  node.addEventListener("cancel", (event) => { event.preventDefault(); if (event.target === node) leave(); });
  node.addEventListener("pointerdown", (event) => { if (event.target === node && isOutside(node, event)) leave(); });
  document.body.append(node);
  node.showModal();
  const first = node.querySelector("[autofocus]");
  if (first) first.focus();
  return { node, close, closed };
}

/** Asks before something that can't be undone. True when it is meant. */
export async function confirm({ title, text, action, tone = "danger" }) {
  const id = freshId("text");
  const cancel = h("button", { class: "button", autofocus: true }, "Cancel");
  const proceed = h("button", { class: `button ${tone}` }, action);
  const dialog = openDialog({ title, body: h("p", { id, class: "muted" }, text), foot: [cancel, proceed], describedBy: id });
  cancel.addEventListener("click", () => dialog.close(false));
  proceed.addEventListener("click", () => dialog.close(true));
  return (await dialog.closed) === true;
}

function isOutside(node, event) {
  const box = node.getBoundingClientRect();
  return event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom;
}

/** To the button that opened it, or to one that does the same and took its place, or to the view. */
function giveFocusBack(opener) {
  if (opener?.isConnected) return opener.focus();
  const same = opener?.dataset?.focus && document.querySelector(`[data-focus="${CSS.escape(opener.dataset.focus)}"]`);
  (same || document.querySelector("dialog[open] button, main"))?.focus();
}
