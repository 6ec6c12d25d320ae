// Something that the gateway works on for a while: watched until it has ended, and cancelled by whoever leaves.

import { api } from "./api.js";
import { h, fill, say, span } from "./dom.js";
import { percent } from "./format.js";

export const PATIENCE = 0.5; // seconds between looks

/** Asks `path` for it, and shows in `place` how far it is. Throws what it failed of; one that was cancelled has a result. */
export async function runJob(path, body, place, signal) {
  let job = await api.post(path, { ...body, wait_seconds: PATIENCE });
  const own = `api/gateway/jobs/${job.id}`;
  const bar = h("progress", { max: 1, "aria-label": "Progress" });
  const share = span("number muted");
  const cancel = h("button", { class: "button", onclick: async () => { job = await api.delete(own); } }, "Cancel");
  if (job.state === "running") fill(place, h("div", { class: "card" }, h("div", { class: "card-body stack spread" }, h("strong", {}, "Under way"), bar, share, cancel)));
  while (job.state === "running") {
    bar.value = job.progress;
    say(share, percent(job.progress));
    await new Promise((resolve) => setTimeout(resolve, PATIENCE * 1000));
    if (signal.aborted) return api.delete(own);
    if (job.state === "running") job = await api.get(own);
  }
  if (job.state === "failed") throw new Error(job.error);
  return job;
}
