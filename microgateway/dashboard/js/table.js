// A table of many rows: sorted and shown page by page, so that ten thousand are as quick as ten.

import { fill, h, icon, say, span } from "./dom.js";
import { count } from "./format.js";

const PAGE = 50;

/**
 * `columns`: `{ id, label, cell(row), sort?(row), right?, className?, first? }`. `key(row)` is the row's identity.
 * `order` is `{ sort, dir, page }`, and `onOrder` is told when a reader changes it.
 */
export function createTable({ caption, columns, key, dimmed = () => false, order = {}, onOrder = () => {}, empty, dense = false }) {
  const state = { sort: order.sort ?? "", dir: order.dir ?? "up", page: Number(order.page ?? 1), rows: [], shown: new Map() };
  const body = h("tbody", { role: "rowgroup" });
  const heads = columns.map((column) => headOf(column, () => sortBy(column.id)));
  const frame = h("div", { class: `table-frame cards${dense ? " dense" : ""}`, tabindex: "-1" },
    h("table", { role: "table" },
      h("caption", { class: "unseen" }, caption),
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)), body));
  const where = h("span", { class: "where", role: "status" });
  const back = h("button", { class: "button small", onclick: () => turn(-1) }, "Previous");
  const forth = h("button", { class: "button small", onclick: () => turn(1) }, "Next");
  const pager = h("nav", { class: "pager", "aria-label": `Pages: ${caption}` }, where, back, forth);
  const nothing = h("div", { hidden: true });
  const node = h("div", {}, frame, nothing, pager);

  function sortBy(id) {
    state.dir = state.sort === id && state.dir === "up" ? "down" : "up";
    Object.assign(state, { sort: id, page: 1 });
    changed();
  }

  function turn(step) {
    state.page += step;
    changed();
    frame.focus({ preventScroll: true });
    node.scrollIntoView({ block: "nearest" });
  }

  function changed() {
    onOrder({ sort: state.sort, dir: state.sort ? state.dir : "", page: state.page > 1 ? state.page : "" });
    draw();
  }

  function draw() {
    const pages = Math.max(1, Math.ceil(state.rows.length / PAGE));
    state.page = Math.min(Math.max(1, state.page), pages);
    const from = (state.page - 1) * PAGE;
    const part = sorted(state.rows, columns.find((column) => column.id === state.sort), state.dir).slice(from, from + PAGE);
    drawRows(part);
    heads.forEach((head, place) => markOrder(head, columns[place].id === state.sort ? state.dir : ""));
    pager.hidden = pages === 1;
    say(where, `${count(from + 1)}–${count(from + part.length)} of ${count(state.rows.length)}`);
    back.disabled = state.page === 1;
    forth.disabled = state.page === pages;
  }

  /** Rows that have not changed keep their elements, and with them the focus. */
  function drawRows(part) {
    const focused = document.activeElement?.dataset?.focus;
    const next = new Map();
    const nodes = part.map((row) => {
      const id = key(row);
      const print = JSON.stringify(row);
      const known = state.shown.get(id);
      const entry = known?.print === print ? known : { print, node: rowOf(row) };
      next.set(id, entry);
      return entry.node;
    });
    state.shown = next;
    const isSame = nodes.length === body.children.length && nodes.every((row, place) => body.children[place] === row);
    if (isSame) return;
    fill(body, nodes);
    if (focused && document.activeElement === document.body) body.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
  }

  function rowOf(row) {
    const cells = columns.map((column) => {
      const classes = [column.className, column.right && "right", column.first && "first"].filter(Boolean).join(" ");
      return h("td", { class: classes || null, "data-label": column.label, role: "cell" }, h("div", {}, column.cell(row) ?? ""));
    });
    return h("tr", { class: dimmed(row) ? "dimmed" : null, role: "row" }, cells);
  }

  return {
    node,
    /** Shows these rows. Without any, `empty()` or what is given here says why and what to do. */
    update(rows, whenEmpty = empty) {
      state.rows = rows;
      frame.hidden = rows.length === 0;
      nothing.hidden = rows.length > 0;
      if (rows.length === 0 && whenEmpty) fill(nothing, h("div", { class: "card" }, whenEmpty()));
      draw();
    },
    /** Draws every row again, when what its cells show comes from elsewhere. */
    redraw() {
      state.shown = new Map();
      draw();
    },
    /** Shapes in the place of rows that are still to come. */
    loading() {
      const row = () => h("tr", { role: "row" }, columns.map((_, place) => h("td", { role: "cell" }, h("span", { class: `skeleton w${(place % 3) + 1}` }))));
      nothing.hidden = pager.hidden = true;
      frame.hidden = false;
      fill(body, Array.from({ length: 6 }, row));
    },
    firstPage() {
      state.page = 1;
    },
  };
}

function headOf(column, onSort) {
  const label = column.hiddenLabel ? span("unseen", column.label) : column.label;
  const content = column.sort ? h("button", { onclick: onSort }, label, h("span", { class: "mark" })) : label;
  return h("th", { class: column.right ? "right" : null, scope: "col", role: "columnheader" }, content);
}

function markOrder(head, dir) {
  const mark = head.querySelector(".mark");
  if (!mark) return;
  if (dir) head.setAttribute("aria-sort", dir === "up" ? "ascending" : "descending");
  else head.removeAttribute("aria-sort");
  fill(mark, dir ? icon(dir) : null);
}

function sorted(rows, column, dir) {
  if (!column?.sort) return rows;
  const sign = dir === "down" ? -1 : 1;
  return rows
    .map((row) => [column.sort(row), row])
    .sort(([one], [other]) => sign * compare(one, other))
    .map(([, row]) => row);
}

/** What is not known comes last, or first when the order is turned. */
function compare(one, other) {
  if (one === other) return 0;
  if (one === null || one === undefined) return 1;
  if (other === null || other === undefined) return -1;
  return typeof one === "string" ? one.localeCompare(other) : one - other;
}
