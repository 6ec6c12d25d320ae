// The views there are, in the order of the navigation. `key` is the letter after g; `under` is the view beside which one is
// reached. Each is loaded when it is shown.

const view = (name, title, key, under) => ({ name, title, key, under, icon: name, load: () => import(`./views/${name}.js`) });

export const VIEWS = [
  view("overview", "Dashboard", "d"),
  view("history", "History", "h", "overview"),
  view("services", "Services", "s"),
  view("routes", "Routes", "r"),
  view("keys", "Keys", "k"),
  view("issuers", "Token issuers", "i", "keys"),
  view("limits", "Rate limits", "m"),
  view("logs", "Logs", "l"),
  view("explain", "Explain", "e"),
];
