// A view of a list: its head, search, filters that stay in the address, and the table, kept up to date.

import { api } from "./api.js";
import { fill, h, span } from "./dom.js";
import { count, time } from "./format.js";
import { failed } from "./notices.js";
import { badge, createButton, empty, filterBox, repeat, searchBox, unreachable, viewHead } from "./parts.js";
import { go, keep } from "./router.js";
import { createTable } from "./table.js";

/**
 * `name` is the view's and, unless `path` says otherwise, the API's; `noun` is one of them. `filters`: `[{ name, label, any, options, value? }]`.
 * `load(show)` answers the rows, and may show some before. `fits(row, filters)` says which are shown, `text(row)` is
 * what is searched. `create()` and `open(entity)` are for the address too. Answers `{ refresh, options }`.
 */
export function mountList(view, { query, signal }, { name, path = `api/${name}`, noun, title, subtitle, tools = [], searchLabel, filters, columns, dimmed, seconds, load, fits, text, create, open, whenEmpty }) {
  const chosen = Object.fromEntries(filters.map((filter) => [filter.name, query[filter.name] ?? filter.value ?? ""]));
  let words = query.q ?? "";
  let rows = [];
  let isLoaded = false;
  const total = h("span", { class: "total number", role: "status" });
  const stale = h("span", { class: "stale", role: "status" }); // why this is of before; empty while it is of now
  let loadedAt = 0;
  const table = createTable({ caption: title, columns, dimmed, order: query, onOrder: keep, key: (row) => row.id, empty: () => (rows.length ? noneFits() : whenEmpty()) });
  const boxes = new Map(filters.map((filter) => [filter.name, filterBox({
    label: filter.label, all: filter.any, options: filter.options ?? [], value: chosen[filter.name], onchange: (value) => refine(() => { chosen[filter.name] = value; }, { [filter.name]: value || (filter.value ? "any" : "") }),
  })]));
  fill(view,
    viewHead(title, subtitle, tools, createButton(`New ${noun}`, () => create())),
    h("div", { class: "bar" }, searchBox({ label: searchLabel, value: words, oninput: (value) => refine(() => { words = value; }, { q: value }) }), [...boxes.values()].map((box) => box.node), stale, total),
    table.node);
  table.loading();

  const refresh = repeat(seconds, signal, async () => {
    try {
      const loaded = await load((some) => { if (!isLoaded) draw(some); });
      if (signal.aborted || !loaded) return;
      isLoaded = true;
      loadedAt = Date.now();
      fill(stale);
      draw(loaded);
    } catch (error) {
      if (!isLoaded) table.update([], () => unreachable(error, () => refresh()));
      else if (error.name !== "AbortError") fill(stale, badge(`As of ${time(loadedAt)}`, "warn", error.message));
    }
  });
  if (query.create) create(query);
  else if (query.open) api.get(`${path}/${encodeURIComponent(query.open)}`).then((entity) => signal.aborted || open(entity), failed);

  function refine(change, address) {
    change();
    keep({ ...address, page: "" });
    table.firstPage();
    draw(rows);
  }

  function draw(all) {
    rows = all;
    const wanted = words.toLowerCase();
    const shown = rows.filter((row) => text(row).includes(wanted) && fits(row, chosen));
    table.update(shown);
    fill(total, `${count(shown.length)} ${noun}${shown.length === 1 ? "" : "s"}`);
  }

  function noneFits() {
    return empty({ drawing: "search", title: `No ${noun} fits`, text: "Another search, or another filter, may.", action: h("button", { class: "button", onclick: () => go(name, Object.fromEntries(filters.filter((filter) => filter.value).map((filter) => [filter.name, "any"]))) }, "Show all") });
  }

  return { refresh, options: (filter, options) => boxes.get(filter).set(options, chosen[filter]) };
}

/** What a row is called, as the button that opens it, and a second line. */
export function titleCell(row, name, sub, onclick, className = "") {
  return [h("button", { class: `row-open ${className}`, title: name.length > 40 ? name : null, onclick, "data-focus": `open-${row.id}` }, name), span("sub", sub)];
}
