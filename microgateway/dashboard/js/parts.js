// Small parts that views share: their head, their filters, badges, and what stands in the place of nothing.

import { h, icon, span } from "./dom.js";
import { ago, date, fullTime, percent } from "./format.js";
import { href } from "./router.js";

export function viewHead(title, subtitle, ...tools) {
  return h("header", { class: "view-head" },
    h("div", { class: "titles" }, h("h1", {}, title), subtitle ? h("p", {}, subtitle) : null),
    h("div", { class: "tools" }, tools));
}

export function createButton(label, onclick) {
  return h("button", { class: "button primary", "data-create": true, "data-focus": "create", onclick }, icon("plus"), label);
}

export function searchBox({ label, value = "", oninput }) {
  const input = h("input", { class: "input", type: "search", "data-search": true, "aria-label": label, placeholder: label, value, autocomplete: "off", spellcheck: "false" });
  input.addEventListener("input", () => oninput(input.value));
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    if (input.value) { input.value = ""; oninput(""); } else input.blur();
  });
  return h("div", { class: "search" }, icon("search"), input, h("kbd", { "aria-hidden": "true" }, "/"));
}

/** A choice out of a list; the first entry means all. `set(options)` changes what there is to choose. */
export function filterBox({ label, all, options, value = "", onchange }) {
  const node = h("select", { class: "select", "aria-label": label, onchange: () => onchange(node.value) });
  const set = (entries, chosen = node.value) => {
    node.replaceChildren(h("option", { value: "" }, all), ...entries.map(([name, text]) => h("option", { value: name, selected: name === chosen }, text)));
    node.value = entries.some(([name]) => name === chosen) ? chosen : "";
  };
  set(options, value);
  return { node, set };
}

/** Buttons of which one is pressed. */
export function segments({ label, options, value, onchange }) {
  const buttons = options.map(([name, text]) => h("button", { "aria-pressed": String(name === value), onclick: () => choose(name) }, text));
  function choose(name) {
    options.forEach(([other], place) => buttons[place].setAttribute("aria-pressed", String(other === name)));
    onchange(name);
  }
  return h("div", { class: "segments", role: "group", "aria-label": label }, buttons);
}

/** The two views of who may come in, of which one is shown. */
export function accessTabs(current) {
  const link = (name, text) => h("a", { href: href(name), "aria-current": name === current ? "page" : null }, text);
  return h("nav", { class: "segments", "aria-label": "Who may come in" }, link("keys", "Keys"), link("issuers", "Token issuers"));
}

export function badge(text, tone, title) {
  return h("span", { class: `badge tone-${tone}`, title }, text);
}

const CIRCUITS = { closed: ["good", "closed"], half_open: ["warn", "half open"], open: ["bad", "open"] };
const HEALTHS = { healthy: "good", unhealthy: "bad", degraded: "warn", ejected: "warn" };

export const healthBadge = (health) => badge(health, HEALTHS[health] ?? "off");
export const circuitBadge = (state) => badge(CIRCUITS[state]?.[1] ?? state, CIRCUITS[state]?.[0] ?? "off");
export const rateCell = (share) => span(share >= 0.05 ? "bad" : share > 0 ? "warn" : "faint", percent(share));

/** How far away a moment is; the moment itself when one stays on it. */
export function moment(when) {
  if (!when) return span("faint", "never");
  const isFar = Math.abs(Date.now() - Date.parse(when)) > 300 * 86_400_000;
  return h("time", { class: "nowrap", datetime: when, title: fullTime(when) }, isFar ? date(when) : ago(when));
}

export function empty({ drawing, title, text, action }) {
  return h("div", { class: "empty" }, icon(drawing), h("h2", {}, title), h("p", {}, text), action ?? null);
}

export function unreachable(error, again) {
  return empty({ drawing: "warning", title: "This can't be shown", text: error.message, action: h("button", { class: "button", onclick: again }, "Try again") });
}

export function iconButton(label, drawing, onclick, focus) {
  return h("button", { class: "button quiet small square", "aria-label": label, title: label, onclick, "data-focus": focus }, icon(drawing));
}

/** A switch that is moved when the gateway has done it. */
export function toggle({ name, entity, change, isOn = entity.enabled, label = `${name} is in use`, focus = `use-${entity.id}` }) {
  const node = h("button", { class: "toggle", role: "switch", "aria-checked": String(isOn), "aria-label": label, title: label, "data-focus": focus });
  node.addEventListener("click", async () => {
    if (node.getAttribute("aria-busy")) return;
    node.setAttribute("aria-busy", "true");
    try {
      await change(!isOn);
    } finally {
      node.removeAttribute("aria-busy");
    }
  });
  return node;
}

export function copyButton(text, label = "Copy") {
  const words = h("span", { "aria-live": "polite" }, label);
  const node = h("button", { class: "button" }, icon("copy"), words);
  node.addEventListener("click", async () => {
    await copy(text);
    node.dataset.copied = "yes";
    words.textContent = "Copied";
    setTimeout(() => { words.textContent = label; }, 2000);
  });
  return node;
}

/** Pages that came over plain HTTP from another machine have no clipboard of the browser's: a selection does it. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h("textarea", { class: "unseen", value: text, "aria-hidden": "true" });
    (document.querySelector("dialog[open]:last-of-type") ?? document.body).append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

export function meter(share, tone) {
  const fill = h("i");
  fill.style.width = `${Math.round(Math.min(1, Math.max(0, share)) * 100)}%`;
  return h("span", { class: `meter tone-${tone}`, "aria-hidden": "true" }, fill);
}

export function facts(entries) {
  return h("dl", { class: "facts" }, entries.filter(Boolean).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

/** A table that is as it is: text or elements in each cell. */
export function plainTable(caption, heads, rows) {
  return h("div", { class: "wide-table", tabindex: "0", role: "region", "aria-label": caption }, h("table", {}, h("caption", { class: "unseen" }, caption),
    h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))), h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell) => h("td", {}, cell)))))));
}

/** Calls `work` now and every so many seconds, while the page is seen, until `signal` says that the view is gone. */
export function repeat(seconds, signal, work) {
  let timer = 0;
  const run = async () => {
    clearTimeout(timer);
    if (signal.aborted) return;
    if (!document.hidden) await work().catch((error) => { if (error.name !== "AbortError" && !signal.aborted) throw error; });
    if (!signal.aborted) timer = setTimeout(run, seconds * 1000);
  };
  const seen = () => { if (!document.hidden) run(); };
  document.addEventListener("visibilitychange", seen, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  run();
  return run;
}
