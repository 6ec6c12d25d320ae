// The views there are, in the order of the navigation. `key` is the letter after g.

import * as keys from "./views/keys.js";
import * as routes from "./views/routes.js";
import * as services from "./views/services.js";

export const VIEWS = [
  { name: "services", title: "Services", key: "s", icon: "services", mount: services.mount },
  { name: "routes", title: "Routes", key: "r", icon: "routes", mount: routes.mount },
  { name: "keys", title: "Keys", key: "k", icon: "keys", mount: keys.mount },
];
