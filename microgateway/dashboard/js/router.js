// The address behind the #: which view, and its filters, such as `#/logs?method=GET&status=4xx`.

export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#/, "").split("?");
  const name = path.replace(/^\/+|\/+$/g, "");
  return { name: name || "overview", query: Object.fromEntries(new URLSearchParams(query)) };
}

export function href(name, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const path = name === "overview" ? "#/" : `#/${name}`;
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

export function go(name, query) {
  location.hash = href(name, query);
}

export function here() {
  return parse(location.hash);
}

/** Keeps filters in the address, without a step in the history for every letter that is typed. */
export function keep(patch) {
  const { name, query } = here();
  history.replaceState(null, "", href(name, { ...query, ...patch }));
}
