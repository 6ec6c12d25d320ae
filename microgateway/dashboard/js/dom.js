// Elements out of plain calls. Text is always a text node: nothing that data says is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

/** h("button", { class: "button", onclick: save, hidden: false }, "Save", [more], null) */
export function h(tag, attributes, ...children) {
  return furnish(document.createElement(tag), tag === "button" ? { type: "button", ...attributes } : attributes, children);
}

/** The same for SVG. */
export function s(tag, attributes, ...children) {
  return furnish(document.createElementNS(SVG, tag), attributes, children);
}

function furnish(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") node[name] = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Puts these in the place of all that `node` has. */
export function fill(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Changes a text only when it is another, so that nothing is announced or painted for nothing. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A span of a class, since there are so many. */
export const span = (className, ...children) => h("span", { class: className }, ...children);

let latest = 0;

/** An id that no other element has. */
export function freshId(prefix) {
  latest += 1;
  return `${prefix}-${latest}`;
}

const ICONS = {
  overview: "M2.5 9.5 6 5.5l3 3.5 4.5-6M2.5 13.5h11",
  services: "M2.5 2.5h11v4h-11zM2.5 9.5h11v4h-11zM5 4.5h.01M5 11.5h.01",
  routes: "M3 4h3.5l3 8H13M3 12h3.5l1-2.5M8.5 6.5 9.5 4H13M11.5 2.5 13 4l-1.5 1.5M11.5 10.5 13 12l-1.5 1.5",
  keys: "M10 2.5a3.5 3.5 0 1 1-2.6 5.9L3 12.8v.7h2v-1.6h1.6v-1.6l1.3-1.3A3.5 3.5 0 0 1 10 2.5ZM11 5h.01",
  issuers: "M8 2.5 3.5 4v4c0 2.7 1.8 4.6 4.5 5.5 2.7-.9 4.5-2.8 4.5-5.5V4zM6 8l1.5 1.5 2.8-3",
  limits: "M2.8 12a5.7 5.7 0 1 1 10.4 0M8 9.5l2.6-3.2M8 10h.01",
  logs: "M5.5 4h8M5.5 8h8M5.5 12h8M2.5 4h.01M2.5 8h.01M2.5 12h.01",
  explain: "M8 13.5A5.5 5.5 0 1 0 8 2.5a5.5 5.5 0 0 0 0 11ZM6.3 6.4a1.8 1.8 0 1 1 2.4 1.7c-.5.2-.7.5-.7 1M8 11h.01",
  search: "M7 11.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9ZM10.3 10.3l3.2 3.2",
  plus: "M8 3v10M3 8h10",
  close: "m4 4 8 8M12 4l-8 8",
  edit: "M9.8 3.8 12.2 6.2M3 13l.6-3L10.8 2.9a1 1 0 0 1 1.4 0l.9.9a1 1 0 0 1 0 1.4L6 12.4z",
  remove: "M3 4.5h10M6.5 4.5V3h3v1.5M4.5 4.5l.5 8.5h6l.5-8.5",
  copy: "M6 6h7v7H6zM3.5 10H3V3h7v.5",
  refresh: "M13 3v3.2H9.8M12.7 6A5 5 0 1 0 13 8.6",
  rotate: "M3 8a5 5 0 0 1 8.6-3.4L13 6M13 3v3h-3M13 8a5 5 0 0 1-8.6 3.4L3 10M3 13v-3h3",
  ticket: "M2.5 5.5v-2h11v2a2.5 2.5 0 0 0 0 5v2h-11v-2a2.5 2.5 0 0 0 0-5ZM6 6.5h4M6 9.5h4",
  out: "M6.5 13.5h-4v-11h4M9.5 11l3-3-3-3M12.5 8h-6",
  docs: "M3 2.5h7l3 3v8H3zM10 2.5v3h3M5.5 8.5h5M5.5 11h5",
  help: "M8 13.5A5.5 5.5 0 1 0 8 2.5a5.5 5.5 0 0 0 0 11ZM6.5 6.3A1.6 1.6 0 1 1 8.6 7.8c-.4.2-.6.5-.6.9M8 10.8h.01",
  check: "m3.5 8.5 3 3 6-7",
  pulse: "M2 8h3l1.5-4 3 8L11 8h3",
  up: "m4.5 9.5 3.5-3.5 3.5 3.5",
  down: "m4.5 6.5 3.5 3.5 3.5-3.5",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  play: "M5 3.5v9l7-4.5z",
  replay: "M3 3v3.2h3.2M3.3 6A5 5 0 1 1 3 8.6M8 5.5V8l1.8 1.2",
  history: "M3 3v3.2h3.2M3.3 6A5 5 0 1 1 3 8.6M8 5.5V8l1.8 1.2",
  download: "M8 2.5v7.5M4.8 7 8 10.2 11.2 7M3 13.5h10",
  warning: "M8 2.8 14 13H2zM8 6.8v2.8M8 11.4h.01",
};

/** A drawing that says nothing by itself: the words beside it do, or its button's label. */
export function icon(name) {
  return s("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" }, s("path", { d: ICONS[name] }));
}
