// The fields of a rate limit rule.

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
const SUBJECTS = [["key", "Each key"], ["address", "Each client address"], ["header", "Each value of a header"], ["all", "All together"]];

/** `services` and `routes` are pages of lists: of a list that is longer, an id is asked for. */
export function ruleFields(services, routes) {
  return [
    { name: "name", label: "Name", required: true, placeholder: "slow writes" },
    { name: "mode", kind: "select", label: "Mode", options: [["enforce", "Enforce: refuse with 429"], ["shadow", "Shadow: only count what it would refuse"]], default: "enforce" },
    { name: "requests_per_minute", kind: "number", label: "Requests per minute", required: true, placeholder: "600" },
    { name: "burst_size", kind: "number", label: "Burst", required: true, placeholder: "20", hint: "How many at once." },
    { name: "count_by", kind: "select", label: "A bucket for", options: SUBJECTS, default: "key" },
    { name: "header", label: "Header", mono: true, required: true, placeholder: "X-Tenant", when: { count_by: ["header"] } },
    { name: "before_auth", kind: "switch", label: "Ask before the credential is looked at", default: false, hint: "Then it holds for strangers too.", when: { count_by: ["address", "header", "all"] } },
    { name: "enabled", kind: "switch", label: "In use", default: true },
    { group: "Which requests", isOpen: true, fields: [
      { name: "path", label: "Path", optional: true, mono: true, placeholder: "/orders/{id}", hint: "A prefix, or with {params} an exact path. None: any." },
      { name: "match", kind: "select", label: "The path is", options: [["", "As the path suggests"], ["prefix", "A prefix"], ["exact", "Exact"]] },
      { name: "methods", kind: "several", label: "Methods", options: METHODS.map((name) => [name, name]), default: [], hint: "None chosen: any method." },
      picked("route_id", "Route", "Any route", routes, ({ path, methods }) => [path, ...methods].join(" ")),
      picked("service_id", "Service", "Any service", services, ({ name }) => name),
    ] },
  ];
}

function picked(name, label, any, { items, total }, nameOf) {
  if (total > items.length) return { name, label, optional: true, mono: true, hint: `There are ${total}: enter its id.` };
  return { name, kind: "select", label, options: [["", any], ...items.map((item) => [item.id, nameOf(item)])] };
}
