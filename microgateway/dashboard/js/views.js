// The views there are, in the order of the navigation. `key` is the letter after g. Each is loaded when it is shown.

const view = (name, title, key) => ({ name, title, key, icon: name, load: () => import(`./views/${name}.js`) });

export const VIEWS = [
  view("overview", "Dashboard", "d"),
  view("services", "Services", "s"),
  view("routes", "Routes", "r"),
  view("keys", "Keys", "k"),
  view("logs", "Logs", "l"),
  view("explain", "Explain", "e"),
];
