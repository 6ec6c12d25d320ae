// Back to a version of the configuration: what that would change, and whether it is meant.

import { attempt } from "./actions.js";
import { api } from "./api.js";
import { differences } from "./differences.js";
import { openDialog } from "./dialog.js";
import { fill, freshId, h } from "./dom.js";

const NOTES = {
  stays_revoked: "was revoked since, and stays so.",
  keeps_its_text: "was rotated since: its present text stays.",
  stays: "was made since, and stays good.",
  is_disabled: "was made since, and is switched off.",
  is_good_again: "is good again, though it was switched off, deleted, or had its end brought forward.",
};

/** Asks, and does it where it is meant. Whether it was done. */
export async function openRestore(version) {
  const id = freshId("restoring");
  const plan = h("div", { role: "status" }, h("p", { class: "muted" }, "Looking …"));
  const cancel = h("button", { class: "button", autofocus: true }, "Cancel");
  const proceed = h("button", { class: "button danger", disabled: true }, "Restore");
  const leaves = choice("Leave keys as they are", look);
  const disables = choice("Switch off keys that were made since", look);
  const dialog = openDialog({
    title: `Restore version ${version}?`,
    kind: "box broad",
    describedBy: id,
    body: [
      h("p", { id, class: "muted" }, "The configuration becomes what it was, all of it at once and as a new version, so that this can be undone. Counters, buckets and circuits stay what they are, and no revoked key comes back."),
      h("div", { class: "spread" }, leaves.node, disables.node), plan,
    ],
    foot: [cancel, proceed],
  });
  let latest = 0;
  let inForce = 0;

  const wishes = () => ({ keys: leaves.isOn() ? "leave" : "restore", new_keys: disables.isOn() ? "disable" : "keep" });
  const path = `api/config/history/${version}/restore`;

  async function look() {
    const turn = (latest += 1);
    proceed.disabled = true;
    try {
      const told = await api.post(path, { ...wishes(), dry_run: true });
      if (turn !== latest) return;
      inForce = told.version;
      proceed.disabled = told.total === 0;
      fill(plan, differences(told.changes, told.total, { nothing: "Nothing is different from what is in force.", sides: ["Now", "Then"] }), notesOf(told.notes), warningsOf(told.warnings));
    } catch (error) {
      if (turn === latest) fill(plan, h("p", { class: "note tone-bad" }, h("strong", {}, "It can’t be restored. "), reasonOf(error)));
    }
  }

  cancel.addEventListener("click", () => dialog.close(false));
  proceed.addEventListener("click", () => dialog.close(true));
  look();
  if ((await dialog.closed) !== true) return false;
  return attempt(() => api.post(path, { ...wishes(), if_version: inForce }), (told) => `Version ${version} is restored, and in force as version ${told.version}.`);
}

function choice(label, onchange) {
  const box = h("input", { type: "checkbox", role: "switch", onchange });
  return { node: h("label", { class: "switch" }, box, h("span", {}, label)), isOn: () => box.checked };
}

function notesOf(notes) {
  if (notes.length === 0) return null;
  return h("div", { class: "note tone-warn" }, h("ul", {}, notes.map(({ code, kind, name }) => h("li", {}, kind === "key" ? "The key " : "The token issuer ", h("strong", {}, name), ` ${NOTES[code] ?? code}`))));
}

function warningsOf(warnings) {
  if (warnings.length === 0) return null;
  return h("div", { class: "note tone-warn" }, h("ul", {}, warnings.map(({ detail, route_id: id }) => h("li", {}, h("code", {}, id), ` ${detail}`))));
}

/** With the fields at fault, since there is no form to show them at. */
function reasonOf({ message, errors = [] }) {
  return [message, ...errors.map((error) => `${error.field}: ${error.message}`).filter((text) => !text.endsWith(message))].join(" ");
}
