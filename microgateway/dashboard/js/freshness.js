// Whether what a view shows is from now: live, stale when nothing has come for a while, paused while nobody looks.

import { h, say } from "./dom.js";
import { duration } from "./format.js";

const PATIENCE = 5000; // milliseconds

export function createFreshness(signal) {
  let latest = performance.now();
  let hasNews = false; // until then nothing is shown that could be live
  const node = h("span", { class: "badge", role: "status" });
  const look = () => {
    const silence = performance.now() - latest;
    if (document.hidden) show("off", "Paused");
    else if (silence > PATIENCE) show("warn", `Stale: nothing new for ${duration(silence / 1000)}`);
    else show(hasNews ? "good" : "off", hasNews ? "Live" : "Loading");
  };
  function show(tone, text) {
    node.className = `badge tone-${tone}`;
    say(node, text);
  }
  const timer = setInterval(look, 1000);
  document.addEventListener("visibilitychange", () => { latest = performance.now(); look(); }, { signal });
  signal.addEventListener("abort", () => clearInterval(timer));
  look();
  return {
    node,
    news() {
      latest = performance.now();
      hasNews = true;
      look();
    },
  };
}
