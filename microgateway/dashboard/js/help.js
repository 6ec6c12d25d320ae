// Every shortcut, and a way to switch off those of a single letter.

import { h, span } from "./dom.js";
import { openDialog } from "./dialog.js";
import { VIEWS } from "./views.js";

const OFF = "microgateway-single-keys-off";

export function wantsSingleKeys() {
  return localStorage.getItem(OFF) === null;
}

export function openHelp() {
  const keys = [
    ["Find anything", "Ctrl", "K"], ["Search this view", "/"], ["Create", "n"], ["Next and previous row", "j", "k"],
    ["Open a row", "Enter"], ["Close", "Esc"], ["These shortcuts", "?"],
    ...VIEWS.map(({ title, key }) => [title, "g", key]),
  ];
  const wanted = h("input", { type: "checkbox", role: "switch", checked: wantsSingleKeys(), onchange: () => keep(wanted.checked) });
  openDialog({
    title: "Shortcuts",
    kind: "box broad",
    body: [
      h("ul", { class: "shortcuts" }, keys.map(([label, ...strokes]) => h("li", {}, label, span("nowrap", strokes.map((stroke) => [h("kbd", {}, stroke), " "]))))),
      h("label", { class: "switch" }, wanted, h("span", {}, "Single letters are shortcuts")),
    ],
  });
}

function keep(isWanted) {
  if (isWanted) localStorage.removeItem(OFF);
  else localStorage.setItem(OFF, "yes");
}
