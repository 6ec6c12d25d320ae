// #/history: what was changed when, and back to what the configuration was.

import { api } from "../api.js";
import { actionBadge, differences, KINDS } from "../differences.js";
import { openDialog } from "../dialog.js";
import { fill, h, span } from "../dom.js";
import { count, fullTime } from "../format.js";
import { titleCell } from "../list_view.js";
import { badge, empty, iconButton, moment, repeat, searchBox, unreachable, viewHead } from "../parts.js";
import { keep } from "../router.js";
import { openRestore } from "../restore.js";
import { createTable } from "../table.js";

const REFRESH = 3; // seconds
const NEWEST = 500;
const MOST_TOLD = 100; // differences

export function mount(view, { query, signal }) {
  let told = null;
  let words = query.q ?? "";
  const total = h("span", { class: "total number", role: "status" });
  const table = createTable({ caption: "Changes of the configuration", columns: columns(), order: query, onOrder: keep, key: (row) => row.id, empty: () => empty({ drawing: "history", title: "No change fits", text: "Another search may." }) });
  fill(view,
    viewHead("History", "What was configured when, and back to it."),
    h("div", { class: "bar" }, searchBox({ label: "Search changes", value: words, oninput: (value) => { words = value; keep({ q: value, page: "" }); table.firstPage(); draw(); } }), total),
    table.node);
  table.loading();

  const refresh = repeat(REFRESH, signal, async () => {
    try {
      if (told && (await api.get("api/config/history", { limit: 1 })).version === told.version) return;
      const latest = await api.get("api/config/history", { limit: NEWEST });
      if (signal.aborted) return;
      told = latest;
      draw();
    } catch (error) {
      if (!told) table.update([], () => unreachable(error, () => refresh()));
    }
  });
  if (/^\d+$/.test(query.open ?? "")) refresh().then(() => { const row = told && rowsOf(told).find(({ id }) => id === Number(query.open)); if (row && !signal.aborted) open(row); });

  function columns() {
    return [
      { id: "version", label: "Version", first: true, sort: (row) => row.id, cell: (row) => titleCell(row, `Version ${row.id}`, row.at ? fullTime(row.at) : "Before the oldest change that is known", () => open(row)) },
      { id: "at", label: "Since", sort: (row) => (row.at ? Date.parse(row.at) : null), cell: (row) => (row.at ? moment(row.at) : "") },
      { id: "action", label: "What", sort: (row) => row.action, cell: (row) => (row.action ? span("nowrap", [actionBadge(row.action), ` ${KINDS[row.kind]}`]) : "") },
      { id: "name", label: "Which", sort: (row) => row.name, cell: (row) => row.name },
      { id: "state", label: "In force", sort: (row) => Number(row.isInForce), cell: (row) => (row.isInForce ? badge("in force", "good") : "") },
      { id: "actions", label: "Actions", hiddenLabel: true, className: "actions", cell: (row) => (row.isInForce ? "" : iconButton(`Restore version ${row.id}`, "history", () => restore(row), `restore-${row.id}`)) },
    ];
  }

  function draw() {
    if (!told) return;
    const wanted = words.toLowerCase();
    const shown = rowsOf(told).filter((row) => `version ${row.id} ${row.action} ${KINDS[row.kind] ?? ""} ${row.name}`.toLowerCase().includes(wanted));
    table.update(shown);
    fill(total, told.total > NEWEST ? `The newest ${count(NEWEST)} of ${count(told.total)} changes` : `${count(told.total)} change${told.total === 1 ? "" : "s"}`);
  }

  async function open(row) {
    const body = h("div", { role: "status" }, h("p", { class: "muted" }, row.action ? "Looking …" : "What led to it is not known any more."));
    const back = row.isInForce ? null : h("button", { class: "button danger" }, "Restore …");
    const dialog = openDialog({ title: `Version ${row.id}`, subtitle: row.isInForce ? "In force" : row.at && `Of ${fullTime(row.at)}`, body: [h("h3", {}, "What was changed then"), body], foot: back, kind: "drawer" });
    back?.addEventListener("click", async () => { if (await openRestore(row.id)) { dialog.close(); await refresh(); } });
    if (row.action) changesOf(row.id).then((nodes) => fill(body, nodes), (error) => fill(body, h("p", { class: "note tone-bad" }, error.message)));
    await dialog.closed;
    keep({ open: "" });
  }

  async function restore(row) {
    if (await openRestore(row.id)) await refresh();
  }
}

/** The newest first; and the oldest version of all, to which no known change has led. */
function rowsOf({ items, total, version, oldest_version: oldest }) {
  const rows = items.map((change) => ({ ...change, id: change.version, isInForce: change.version === version }));
  const beginning = { id: oldest, at: null, action: "", kind: "", name: "", isInForce: oldest === version };
  return items.length === total ? [...rows, beginning] : rows;
}

async function changesOf(version) {
  const told = await api.get(`api/config/history/${version - 1}/diff`, { against: version, limit: MOST_TOLD });
  return differences(told.items, told.total, { nothing: "Nothing that is shown: such as a key that got a new text." });
}
