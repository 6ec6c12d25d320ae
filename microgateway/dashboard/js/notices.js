// What has happened, told in a corner for some seconds, and to screen readers.

import { fill, h, icon } from "./dom.js";

const SHOWN = 6000; // milliseconds; an error stays until it is closed

export function notify(message, tone = "good") {
  const corner = document.getElementById("toasts");
  const isError = tone === "bad";
  const toast = h("div", { class: `toast tone-${tone}`, role: isError ? "alert" : "status" }, h("p", {}, message));
  const close = () => { toast.remove(); if (!corner.children.length && corner.matches(":popover-open")) corner.hidePopover(); };
  toast.append(h("button", { class: "button quiet small square", "aria-label": "Close this notice", onclick: close }, icon("close")));
  raise(corner);
  corner.append(toast);
  while (corner.children.length > 4) corner.firstChild.remove();
  if (!isError) leaveLater(toast, close);
}

/** A popover stands above dialogs too; browsers without them show it below. */
function raise(corner) {
  if (!corner.showPopover) return;
  corner.popover = "manual";
  if (corner.matches(":popover-open")) corner.hidePopover();
  corner.showPopover();
}

export function failed(error) {
  if (error.name !== "AbortError") notify(error.message, "bad");
}

/** For screen readers alone. */
export function announce(message) {
  fill(document.getElementById("announcer"), message);
}

function leaveLater(toast, close) {
  let timer = setTimeout(close, SHOWN);
  toast.addEventListener("pointerenter", () => clearTimeout(timer));
  toast.addEventListener("pointerleave", () => { timer = setTimeout(close, SHOWN / 2); });
}
