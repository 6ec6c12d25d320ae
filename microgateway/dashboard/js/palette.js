// Ctrl+K: go anywhere, find any service, route or key, do what can be done.

import { fill, freshId, h, icon, span } from "./dom.js";
import { all } from "./api.js";
import { go } from "./router.js";
import { VIEWS } from "./views.js";

const MOST_SHOWN = 40;

export function openPalette() {
  if (document.querySelector("dialog.palette")) return;
  const id = freshId("list");
  const input = h("input", {
    class: "input", role: "combobox", "aria-expanded": "true", "aria-controls": id, "aria-autocomplete": "list", "aria-label": "Find anything",
    placeholder: "Go to a view, a service, a route, a key, a limit …", autocomplete: "off", spellcheck: "false",
  });
  const list = h("ul", { role: "listbox", id, "aria-label": "Found" });
  const nothing = h("p", { class: "nothing", hidden: true, role: "status" }, "Nothing is called that.");
  const node = h("dialog", { class: "palette", "aria-label": "Find anything" }, input, list, nothing,
    h("div", { class: "keys" }, h("span", {}, h("kbd", {}, "↑"), " ", h("kbd", {}, "↓"), " choose"), h("span", {}, h("kbd", {}, "↵"), " go"), h("span", {}, h("kbd", {}, "Esc"), " close")));
  const opener = document.activeElement;
  let entries = commands();
  let shown = [];
  let chosen = 0;

  function draw() {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    shown = entries.filter((entry) => words.every((word) => entry.text.includes(word))).slice(0, MOST_SHOWN);
    chosen = Math.min(chosen, Math.max(0, shown.length - 1));
    fill(list, shown.map((entry, place) => h("li", {
      id: `${id}-${place}`, role: "option", "aria-selected": String(place === chosen), onclick: () => run(entry), onpointermove: () => choose(place),
    }, icon(entry.icon), h("span", {}, entry.label), span("kind", entry.kind))));
    nothing.hidden = shown.length > 0;
    point();
  }

  function choose(place) {
    if (place === chosen) return;
    list.children[chosen]?.setAttribute("aria-selected", "false");
    chosen = place;
    list.children[chosen]?.setAttribute("aria-selected", "true");
    point();
  }

  function point() {
    if (shown.length) input.setAttribute("aria-activedescendant", `${id}-${chosen}`);
    else input.removeAttribute("aria-activedescendant");
    list.children[chosen]?.scrollIntoView({ block: "nearest" });
  }

  function run(entry) {
    close();
    entry.run();
  }

  function close() {
    node.close();
    node.remove();
    if (opener?.isConnected) opener.focus();
  }

  input.addEventListener("input", () => { chosen = 0; draw(); });
  node.addEventListener("keydown", (event) => {
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in steps && shown.length) choose((chosen + steps[event.key] + shown.length) % shown.length);
    else if (event.key === "Enter" && shown[chosen]) run(shown[chosen]);
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  node.addEventListener("cancel", (event) => { event.preventDefault(); close(); });
  node.addEventListener("click", (event) => { if (event.target === node) close(); });
  document.body.append(node);
  node.showModal();
  input.focus();
  draw();
  const parts = [entries];
  findable((place, more) => {
    parts[place + 1] = more;
    entries = parts.flat();
    if (node.isConnected) draw();
  });
}

function commands() {
  const views = VIEWS.map(({ name, title, icon: drawing }) => entryOf(`Go to ${title}`, "view", drawing, () => go(name)));
  const creations = [["services", "service"], ["routes", "route"], ["keys", "API key"], ["limits", "rate limit rule"], ["issuers", "token issuer"]];
  return [...views, ...creations.map(([name, what]) => entryOf(`Create ${what === "API key" ? "an" : "a"} ${what}`, "action", "plus", () => go(name, { create: "yes" })))];
}

/** Names of everything, as they arrive, each kind at its place. A list that can't be read has none to offer. */
function findable(onMore) {
  const kinds = [
    ["services", "service", (item) => item.name],
    ["routes", "route", (item) => `${item.path}${item.methods.length ? ` ${item.methods.join(" ")}` : ""}`],
    ["keys", "key", (item) => item.name],
    ["limits", "rate limit rule", (item) => item.name, "api/rate-limits"],
    ["issuers", "token issuer", (item) => item.name, "api/token-issuers"],
  ];
  for (const [place, [name, kind, label, path = `api/${name}`]] of kinds.entries()) {
    all(path).then((items) => onMore(place, items.map((item) => entryOf(label(item), kind, name, () => go(name, { open: item.id }))))).catch(() => {});
  }
}

function entryOf(label, kind, drawing, run) {
  return { label, kind, icon: drawing, run, text: `${label} ${kind}`.toLowerCase() };
}
