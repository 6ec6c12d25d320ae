// Charts drawn by hand as SVG. Each can be read as a table too.

import { fill, h, s, say, span } from "./dom.js";
import { shortTime, time } from "./format.js";

const EDGE = { top: 0.8, right: 0.3, bottom: 1.7, left: 3.55 }; // rem, since letters grow with the screen
const SHORT = 120; // seconds; below, times are told with seconds

/** How a request ended, as series of a chart. */
export const OUTCOMES = [
  ["success", "Success"], ["redirect", "Redirect"], ["client_error", "Client error"], ["refused", "Refused"], ["limited", "Limited"],
  ["upstream_error", "Upstream error"], ["gateway_error", "Gateway error"], ["client_closed", "Client left"],
].map(([id, label]) => ({ id, label }));

/**
 * `series`: `[{ id, label }]`, whose colour is the class `c-<id>`. `kind` is `columns` (stacked) or `lines`. `format`
 * makes words of a value. `update({ points, slot, marks })` takes `points` as `[{ start, values }]`, with seconds since
 * the epoch, or since whatever `clock(seconds, slot)` makes words of; a value that is null is not there.
 */
export function createChart({ title, kind, series, format, unit, total, clock = timeOf }) {
  let data = { points: [], slot: 1, marks: [] };
  let pointed = null;
  const drawing = s("svg", { class: "chart", role: "img", "aria-label": title });
  const legend = h("ul", { class: "legend" });
  const values = new Map();
  const when = h("span", { class: "when number faint" });
  const table = h("div", { class: "chart-table", hidden: true, tabindex: "0", role: "region", "aria-label": `${title}, as a table` });
  const asTable = h("button", { class: "button quiet small", "aria-pressed": "false", onclick: turn }, "Table");
  const node = h("section", { class: "card", "aria-label": title },
    h("div", { class: "card-head" }, h("h2", {}, title), span("faint", unit), span("end spread", when, asTable)),
    h("div", { class: "card-body" }, drawing, table, legend));
  for (const { id, label } of series) {
    const value = h("b", { class: "number" });
    const item = h("li", { class: `c-${id}` }, h("i"), label, value);
    values.set(id, { value, item });
    legend.append(item);
  }

  drawing.addEventListener("pointermove", (event) => point(slotAt(event.offsetX)));
  drawing.addEventListener("pointerleave", () => point(null));
  new ResizeObserver(() => draw()).observe(node);

  function turn() {
    const wasTable = asTable.getAttribute("aria-pressed") === "true";
    asTable.setAttribute("aria-pressed", String(!wasTable));
    table.hidden = wasTable;
    drawing.toggleAttribute("hidden", !wasTable);
    draw();
  }

  function slotAt(x) {
    const { points } = data;
    const { left, width } = frameOf(drawing);
    const place = Math.floor(((x - left) / width) * points.length);
    return place >= 0 && place < points.length ? place : null;
  }

  function point(place) {
    if (place === pointed) return;
    pointed = place;
    draw();
  }

  function draw() {
    if (!drawing.hasAttribute("hidden")) paint(drawing, { ...data, kind, series, format, clock, pointed });
    else fill(table, tableOf(title, series, data, format, clock));
    tell();
  }

  function tell() {
    const at = pointed === null ? null : data.points[pointed];
    say(when, at ? clock(at.start, data.slot) : "");
    for (const { id } of series) {
      const { value, item } = values.get(id);
      const number = at ? at.values[id] : total(data.points, id);
      item.hidden = kind === "columns" && !data.points.some((entry) => entry.values[id]);
      say(value, number === null || number === undefined ? "–" : format(number));
    }
  }

  return {
    node,
    update(next) {
      data = { marks: [], ...next };
      draw();
    },
  };
}

/** A line without axes, for a tile that says the number itself. */
export function sparkline() {
  const line = s("path", { class: "spark-line" });
  const area = s("path", { class: "spark-area" });
  const node = s("svg", { class: "spark", viewBox: "0 0 100 28", preserveAspectRatio: "none", "aria-hidden": "true" }, area, line);
  return {
    node,
    update(values) {
      const known = values.filter((value) => value !== null);
      const top = Math.max(...known, Number.MIN_VALUE);
      const spots = values.map((value, place) => (value === null ? null : [(place / Math.max(1, values.length - 1)) * 100, 26 - (value / top) * 23]));
      const path = pathOf(spots);
      line.setAttribute("d", path);
      const solid = spots.filter(Boolean);
      area.setAttribute("d", solid.length > 1 ? `${pathOf(solid)}L${solid.at(-1)[0]} 28L${solid[0][0]} 28Z` : "");
    },
  };
}

function pathOf(spots) {
  let path = "";
  let isDown = false;
  for (const spot of spots) {
    if (spot) path += `${isDown ? "L" : "M"}${spot[0].toFixed(1)} ${spot[1].toFixed(1)}`;
    isDown = Boolean(spot);
  }
  return path;
}

/** Where the drawing itself is, between its axes; `rem` is the size of letters. */
function frameOf(drawing) {
  const box = drawing.getBoundingClientRect();
  const rem = Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
  const edge = Object.fromEntries(Object.entries(EDGE).map(([side, size]) => [side, size * rem]));
  return { ...edge, rem, width: Math.max(60, box.width - edge.left - edge.right), height: Math.max(60, box.height - edge.top - edge.bottom) };
}

function paint(drawing, { points, slot, marks, kind, series, format, clock, pointed }) {
  const inner = frameOf(drawing);
  const [right, bottom] = [inner.left + inner.width, inner.top + inner.height];
  const top = roof(Math.max(...points.map((entry) => highest(entry, series, kind)), 0));
  const x = (place) => inner.left + (place / Math.max(1, points.length)) * inner.width;
  const y = (value) => inner.top + inner.height * (1 - value / top);
  const grid = [0, 0.25, 0.5, 0.75, 1].map((share) => [
    s("line", { class: "grid", x1: inner.left, x2: right, y1: y(top * share), y2: y(top * share) }),
    share % 0.5 ? null : s("text", { class: "tick", x: inner.left - inner.rem * 0.6, y: y(top * share) + inner.rem * 0.3, "text-anchor": "end" }, format(top * share).replace(/\.0+(?= |$)|(\.\d*?)0+(?= |$)/, "$1")),
  ]);
  const step = Math.ceil(points.length / Math.max(2, Math.floor(inner.width / (inner.rem * 9))));
  const times = points.map((entry, place) => place % step || place + step * 0.4 > points.length ? null
    : s("text", { class: "tick", x: x(place), y: bottom + inner.rem * 1.3 }, clock(entry.start, slot)));
  const shapes = kind === "columns" ? columns(points, series, x, y, inner.width) : lines(points, series, x, y, inner.width);
  const changes = marks.map(({ at, label }) => {
    const place = (at - points[0]?.start) / slot;
    if (!(place >= 0 && place <= points.length)) return null;
    return s("g", { class: "change" }, s("title", {}, label), s("line", { x1: x(place), x2: x(place), y1: inner.top, y2: bottom }), s("circle", { cx: x(place), cy: inner.top, r: inner.rem * 0.27 }));
  });
  const band = pointed === null ? null : s("rect", { class: "pointed", x: x(pointed), width: Math.max(1, x(1) - x(0)), y: inner.top, height: inner.height });
  fill(drawing, grid, band, shapes, changes, times);
}

function highest({ values }, series, kind) {
  const all = series.map(({ id }) => values[id] ?? 0);
  return kind === "columns" ? all.reduce((sum, value) => sum + value, 0) : Math.max(...all);
}

function columns(points, series, x, y, width) {
  const each = width / Math.max(1, points.length);
  const gap = each > 5 ? 1.5 : 0.4;
  return points.map((entry, place) => {
    let below = 0;
    return series.map(({ id }) => {
      const value = entry.values[id] ?? 0;
      if (!value) return null;
      const shape = s("rect", { class: `c-${id}`, x: x(place) + gap / 2, width: Math.max(0.6, each - gap), y: y(below + value), height: Math.max(0.5, y(below) - y(below + value)) });
      below += value;
      return shape;
    });
  });
}

function lines(points, series, x, y, width) {
  const half = width / Math.max(1, points.length) / 2;
  return series.map(({ id }) => {
    const spots = points.map((entry, place) => (entry.values[id] === null || entry.values[id] === undefined ? null : [x(place) + half, y(entry.values[id])]));
    const lonely = spots.map((spot, place) => spot && !spots[place - 1] && !spots[place + 1] ? s("circle", { class: `c-${id}`, cx: spot[0], cy: spot[1], r: 1.6 }) : null);
    return [s("path", { class: `line c-${id}`, d: pathOf(spots) }), lonely];
  });
}

/** The next round number above: 1, 2, 2.5, 5 times a power of ten. */
function roof(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].find((step) => step * power >= value) * power;
}

function timeOf(start, slot) {
  return (slot < SHORT ? (slot < 10 ? time : shortTime) : shortTime)(start * 1000);
}

function tableOf(title, series, { points, slot }, format, clock) {
  const shown = series.filter(({ id }) => points.some((entry) => entry.values[id]));
  const head = h("tr", {}, h("th", { scope: "col" }, "Time"), shown.map(({ label }) => h("th", { class: "right", scope: "col" }, label)));
  const rows = [...points].reverse().map((entry) => h("tr", {}, h("th", { scope: "row" }, clock(entry.start, slot)), shown.map(({ id }) => h("td", { class: "right" }, entry.values[id] === null ? "–" : format(entry.values[id] ?? 0)))));
  return h("table", {}, h("caption", { class: "unseen" }, title), h("thead", {}, head), h("tbody", {}, rows));
}

