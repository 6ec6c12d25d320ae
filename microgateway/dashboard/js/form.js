// Forms made of field descriptions. What the API complains of is shown at the field that it names.

import { fill, freshId, h, icon, span } from "./dom.js";

/**
 * `fields`: `{ name, label, kind, hint?, placeholder?, wide?, required?, options?, default?, when? }` or
 * `{ group, fields, isOpen? }`. A name with dots is a field of an object; `when` are values of other fields without which it
 * is hidden and left out. Answers `{ node, body, patch, show }`.
 */
export function createForm({ fields, values = {}, onSubmit, id = freshId("form") }) {
  const made = [];
  const problem = h("div", { class: "form-problem", role: "alert", hidden: true });
  const node = h("form", { id, novalidate: true, class: "form-grid" }, problem, build(fields, values, made));
  node.addEventListener("change", arrange);
  arrange();
  node.addEventListener("submit", async (event) => {
    event.preventDefault();
    clear();
    try {
      await onSubmit();
    } catch (error) {
      show(error);
    }
  });

  function arrange() {
    const isAsked = (field) => Object.entries(field.when ?? {}).every(([name, values]) => values.includes(made.find((other) => other.name === name).read()));
    for (const field of made) field.place.hidden = !isAsked(field);
  }

  function clear() {
    problem.hidden = true;
    made.forEach((field) => field.complain(""));
  }

  /** At the field where there is one; what is left, and the reason of an error without fields, on top. */
  function show(error) {
    if (error.name === "AbortError") return;
    const rest = [];
    for (const { field, message } of error.errors ?? []) {
      const place = made.find(({ name }) => name && (field === name || field.startsWith(`${name}.`))) ?? made.find(({ names }) => names?.includes(field.split(".")[0]));
      const at = place && field !== place.name ? `${inWords(place.name ? field.slice(place.name.length + 1) : field)}: ` : "";
      if (place) place.complain(at + message);
      else rest.push(field ? `${field}: ${message}` : message);
    }
    const wrong = made.find((field) => field.isWrong());
    const needsWords = !wrong || rest.length > 0;
    problem.hidden = !needsWords;
    if (needsWords) fill(problem, h("strong", {}, error.message), h("ul", {}, rest.map((line) => h("li", {}, line))));
    const group = wrong?.input.closest("details");
    if (group) group.open = true;
    if (wrong) wrong.input.focus();
    else problem.scrollIntoView({ block: "nearest" });
  }

  return {
    node,
    show,
    /** What POST takes: fields that were left empty are left out. */
    body() {
      const result = {};
      for (const field of made.filter(({ place }) => !place.hidden)) {
        const value = field.read();
        if (field.names) Object.assign(result, value);
        else if (value !== undefined && value !== null) put(result, field.name, value);
      }
      return result;
    },
    /** What PATCH takes: only what was changed; null for what was emptied, or does not matter any more. */
    patch() {
      const result = {};
      for (const field of made) {
        const value = field.place.hidden ? null : field.read();
        if (field.names) Object.assign(result, changes(field.before, value));
        else if (JSON.stringify(value ?? null) !== JSON.stringify(field.before ?? null)) put(result, field.name, value ?? null);
      }
      return result;
    },
  };
}

/** What leads from one object to the other, as a merge patch on the upper level. */
function changes(before, after) {
  const gone = Object.keys(before).filter((name) => !(name in after)).map((name) => [name, null]);
  const other = Object.entries(after).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(before[name]));
  return Object.fromEntries([...gone, ...other]);
}

/** `0.url` of a list is told as `entry 1, url`. */
function inWords(path) {
  return path.split(".").map((part) => (/^\d+$/.test(part) ? `entry ${Number(part) + 1}` : part)).join(", ");
}

function build(fields, values, made) {
  return fields.map((field) => {
    if (!field.group) return buildOne(field, values, made);
    const inside = h("div", { class: "form-grid" }, build(field.fields, values, made));
    return h("details", { open: field.isOpen }, h("summary", {}, field.group), inside);
  });
}

function buildOne(field, values, made) {
  const value = field.names ? values : at(values, field.name) ?? field.default;
  const ids = { input: freshId("field"), hint: freshId("hint"), error: freshId("error") };
  const control = CONTROLS[field.kind ?? "text"](field, value, ids);
  const error = h("p", { class: "error", id: ids.error, hidden: true });
  const hint = field.hint ? h("p", { class: "hint", id: ids.hint }, field.hint) : null;
  const isWide = field.wide || ["targets", "several"].includes(field.kind);
  const place = h("div", { class: `field${isWide ? " wide" : ""}` }, control.isLabelled ? null : labelOf(field, ids), control.node, hint, error);
  const described = [field.hint && ids.hint, ids.error].filter(Boolean).join(" ");
  control.input.setAttribute("aria-describedby", described);
  made.push({
    name: field.name,
    names: field.names,
    when: field.when,
    place,
    input: control.input,
    read: control.read,
    before: control.read(),
    isWrong: () => !error.hidden,
    complain(message) {
      error.hidden = !message;
      fill(error, message);
      if (message) control.input.setAttribute("aria-invalid", "true");
      else control.input.removeAttribute("aria-invalid");
    },
  });
  return place;
}

function labelOf(field, ids) {
  const optional = field.optional ? span("optional", " optional") : null;
  return h("label", { for: ids.input }, field.label, optional);
}

const blank = (text) => (text.trim() === "" ? undefined : text.trim());

const CONTROLS = {
  text(field, value, ids) {
    const input = h("input", {
      class: `input${field.mono ? " mono" : ""}`, id: ids.input, type: field.type ?? "text", value: value ?? "", placeholder: field.placeholder,
      autocomplete: field.autocomplete ?? "off", spellcheck: "false", "aria-required": field.required ? "true" : null, autofocus: field.autofocus,
    });
    return { node: input, input, read: () => (field.keepsEmpty ? input.value.trim() : blank(input.value)) };
  },
  number(field, value, ids) {
    const input = h("input", {
      class: "input number", id: ids.input, inputmode: "decimal", value: value ?? "", placeholder: field.placeholder, autocomplete: "off",
      "aria-required": field.required ? "true" : null,
    });
    const read = () => { const text = blank(input.value); return text === undefined || Number.isNaN(Number(text)) ? text : Number(text); };
    return { node: input, input, read };
  },
  select(field, value, ids) {
    const options = field.options.map(([name, label]) => h("option", { value: name, selected: name === String(value ?? "") }, label));
    const input = h("select", { class: "select", id: ids.input, "aria-required": field.required ? "true" : null }, options);
    return { node: input, input, read: () => blank(input.value) };
  },
  switch(field, value, ids) {
    const input = h("input", { id: ids.input, type: "checkbox", role: "switch", checked: Boolean(value) });
    const node = h("label", { class: "switch" }, input, h("span", {}, field.label));
    return { node, input, isLabelled: true, read: () => input.checked };
  },
  /** A list of words, with commas or spaces between. */
  words(field, value, ids) {
    const input = h("input", { class: "input mono", id: ids.input, value: (value ?? []).join(", "), placeholder: field.placeholder, autocomplete: "off", spellcheck: "false" });
    const read = () => input.value.split(/[\s,]+/).filter(Boolean).map((word) => (/^\d+$/.test(word) && field.numbers ? Number(word) : word));
    return { node: input, input, read: () => (field.nullable && read().length === 0 ? undefined : read()) };
  },
  /** Several choices out of many. */
  several(field, value, ids) {
    const other = (value ?? []).filter((name) => !field.options.some(([known]) => known === name)).map((name) => [name, name]);
    const boxes = [...field.options, ...other].map(([name, label]) => {
      const box = h("input", { type: "checkbox", value: name, checked: (value ?? []).includes(name) });
      return { box, node: h("label", {}, box, label) };
    });
    const node = h("div", { class: "checks", role: "group", id: ids.input, "aria-label": field.label, tabindex: "-1" }, boxes.map((entry) => entry.node));
    return { node: [span("label-text", field.label), node], input: node, isLabelled: true, read: () => boxes.filter(({ box }) => box.checked).map(({ box }) => box.value) };
  },
  targets(field, value, ids) {
    const rows = h("div", { class: "rows", id: ids.input, tabindex: "-1", role: "group", "aria-label": field.label });
    const known = new Map();
    const add = (target = { url: "", weight: 1 }) => {
      const url = h("input", { class: "input mono", value: target.url, placeholder: "http://10.0.0.5:8000", "aria-label": "URL of a target", spellcheck: "false" });
      const weight = h("input", { class: "input number", value: target.weight, inputmode: "numeric", "aria-label": "Weight of the target" });
      const remove = h("button", { class: "button quiet square", "aria-label": "Remove this target", onclick: () => { row.remove(); more.focus(); } }, icon("close"));
      const row = h("div", { class: "row" }, url, weight, remove);
      known.set(row, { url, weight, rest: target });
      more.before(row);
      return url;
    };
    const more = h("button", { class: "button small", onclick: () => add().focus() }, icon("plus"), "Add a target");
    rows.append(more);
    (value ?? []).forEach(add);
    const number = (text) => (text.trim() === "" || Number.isNaN(Number(text)) ? text : Number(text));
    const read = () => [...rows.children].filter((row) => known.has(row)).map((row) => {
      const { url, weight, rest } = known.get(row);
      return { ...rest, url: url.value.trim(), weight: number(weight.value) };
    });
    return { node: [span("label-text", field.label), rows], input: rows, isLabelled: true, read };
  },
  lines(field, value, ids) {
    const input = h("textarea", { class: "textarea", id: ids.input, rows: 3, spellcheck: "false", value: value ?? "" });
    return { node: input, input, read: () => input.value || undefined };
  },
  /** Header lines as an object; one that comes twice has a list. */
  headers(field, value, ids) {
    const lines = Object.entries(value ?? {}).flatMap(([name, texts]) => [texts].flat().map((text) => `${name}: ${text}`));
    const control = CONTROLS.lines(field, lines.join("\n"), ids);
    const read = () => {
      const result = {};
      for (const line of (control.read() ?? "").split("\n").filter((text) => text.trim())) {
        const [, name, text] = /^([^:]*):?(.*)$/.exec(line);
        result[name.trim()] = name.trim() in result ? [result[name.trim()], text.trim()].flat() : text.trim();
      }
      return Object.keys(result).length ? result : undefined;
    };
    return { ...control, read };
  },
  /** An object in JSON. */
  json(field, value, ids) {
    const text = value ? JSON.stringify(value, null, 2) : "";
    const input = h("textarea", { class: "textarea", id: ids.input, rows: Math.min(16, Math.max(9, text.split("\n").length + 1)), spellcheck: "false", placeholder: field.placeholder, value: text });
    return { node: input, input, read: () => (blank(input.value) === undefined ? undefined : parsedObject(input.value, field.name)) };
  },
  /** Several fields as one object in JSON. */
  rest(field, value, ids) {
    const known = Object.fromEntries(field.names.filter((name) => value[name] !== undefined).map((name) => [name, value[name]]));
    const text = JSON.stringify(known, null, 2);
    const input = h("textarea", { class: "textarea", id: ids.input, rows: Math.min(16, text.split("\n").length + 1), spellcheck: "false" });
    input.value = text;
    return { node: input, input, read: () => parsedObject(input.value.trim() || "{}", field.names[0]) };
  },
  /** A moment in the reader's own time zone. */
  moment(field, value, ids) {
    const local = value ? new Date(new Date(value).getTime() - new Date(value).getTimezoneOffset() * 60_000).toISOString().slice(0, 16) : "";
    const input = h("input", { class: "input", id: ids.input, type: "datetime-local", value: local });
    const read = () => (input.value === "" ? undefined : input.value === local ? value : new Date(input.value).toISOString());
    return { node: input, input, read };
  },
};

function parsedObject(text, field) {
  const message = "This is not an object in JSON.";
  let given = null;
  try { given = JSON.parse(text); } catch { /* said below */ }
  if (given === null || typeof given !== "object" || Array.isArray(given)) throw Object.assign(new Error(message), { errors: [{ field, message }] });
  return given;
}

function at(values, name) {
  return name.split(".").reduce((value, part) => value?.[part], values);
}

function put(values, name, value) {
  const parts = name.split(".");
  const last = parts.pop();
  const target = parts.reduce((object, part) => (object[part] ??= {}), values);
  target[last] = value;
}
