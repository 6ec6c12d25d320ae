// The frame around the views: navigation, shortcuts, and the one view that is shown.

import { api, signOut } from "./api.js";
import { fill, h, icon, span } from "./dom.js";
import { openHelp, wantsSingleKeys } from "./help.js";
import { failed } from "./notices.js";
import { openPalette } from "./palette.js";
import { go, href } from "./router.js";
import { VIEWS } from "./views.js";

const PREFIX_SECONDS = 1.5;

export function createShell() {
  const view = h("main", { id: "view", tabindex: "-1" });
  const links = new Map(VIEWS.filter(({ under }) => !under).map((entry) => [entry.name, navLink(entry)]));
  const version = h("div", { class: "version" });
  const node = h("div", { class: "shell" },
    h("aside", { class: "side", "aria-label": "Navigation" },
      h("div", { class: "brand" }, h("img", { src: "assets/icon.svg", alt: "" }), h("span", {}, "MicroGateway")),
      h("button", { class: "find", onclick: () => openPalette(), "data-focus": "palette" },
        icon("search"), span("label", "Find anything"), h("kbd", { "aria-hidden": "true" }, "Ctrl K")),
      h("nav", { "aria-label": "Views" }, h("ul", {}, [...links.values()].map((link) => h("li", {}, link)))),
      h("div", { class: "side-foot" },
        h("a", { class: "docs", href: "docs", target: "_blank", rel: "noopener" }, icon("docs"), span("label", "API documentation")),
        h("button", { onclick: () => openHelp(), "data-focus": "help" }, icon("help"), span("label", "Shortcuts")),
        h("button", { onclick: leave }, icon("out"), span("label", "Sign out")),
        version)),
    view);
  const keys = createKeys();
  document.addEventListener("keydown", keys);
  (window.requestIdleCallback ?? setTimeout)(() => VIEWS.forEach(({ load }) => load().catch(() => {})));
  api.get("health").then((health) => fill(version, `Version ${health.version}`)).catch(() => {});

  return {
    node,
    view,
    /** Mounts a view; answers how to unmount it. */
    show({ name, query }) {
      const entry = VIEWS.find((one) => one.name === name) ?? VIEWS[0];
      for (const [other, link] of links) {
        if (other === (entry.under ?? entry.name)) link.setAttribute("aria-current", "page");
        else link.removeAttribute("aria-current");
      }
      document.title = `${entry.title} · MicroGateway`;
      document.querySelectorAll("dialog").forEach((dialog) => dialog.remove());
      const gone = new AbortController();
      fill(view);
      entry.load().then(({ mount }) => gone.signal.aborted || mount(view, { query, signal: gone.signal }), () => failed(new Error("This view can't be loaded.")));
      view.focus({ preventScroll: true });
      window.scrollTo(0, 0);
      return () => gone.abort();
    },
    close() {
      document.removeEventListener("keydown", keys);
    },
  };
}

async function leave() {
  try {
    await signOut();
    location.hash = "#/";
    location.reload();
  } catch (error) {
    failed(error);
  }
}

function navLink({ name, title, key, icon: drawing }) {
  return h("a", { class: "nav-link", href: href(name), title: `${title} (g ${key})` }, icon(drawing), span("label", title), h("kbd", { "aria-hidden": "true" }, `g ${key}`));
}

/** Ctrl+K always; single letters only where nobody is typing, and only while they are wanted. */
function createKeys() {
  let prefixUntil = 0;
  return (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      return openPalette();
    }
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || document.querySelector("dialog[open]") || !wantsSingleKeys()) return undefined;
    const isSecond = performance.now() < prefixUntil;
    prefixUntil = 0;
    const target = isSecond ? VIEWS.find(({ key }) => key === event.key) : null;
    if (target) return act(event, () => go(target.name));
    if (event.key === "g") prefixUntil = performance.now() + PREFIX_SECONDS * 1000;
    else if (event.key === "?") act(event, openHelp);
    else if (event.key === "/") act(event, () => document.querySelector("main [data-search]")?.focus());
    else if (event.key === "n") act(event, () => document.querySelector("main [data-create]")?.click());
    else if (event.key === "j" || event.key === "k") act(event, () => moveInRows(event.key === "j" ? 1 : -1));
    return undefined;
  };
}

function act(event, action) {
  event.preventDefault();
  action();
}

function isTyping(target) {
  return target instanceof HTMLElement && (target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName));
}

function moveInRows(step) {
  const rows = [...document.querySelectorAll("main .row-open")];
  const at = rows.indexOf(document.activeElement);
  const next = at < 0 ? (step > 0 ? 0 : rows.length - 1) : at + step;
  rows[Math.min(rows.length - 1, Math.max(0, next))]?.focus();
}
