// What is done, and told: asked before where it matters, with the reason where it fails.

import { confirm } from "./dialog.js";
import { failed, notify } from "./notices.js";

/** Whether it worked. `message` says so, or makes words of the result. */
export async function attempt(work, message) {
  try {
    const result = await work();
    notify(typeof message === "function" ? message(result) : message);
    return true;
  } catch (error) {
    failed(error);
    return false;
  }
}

/** The same, after a question. `question` is that of `confirm`. */
export async function ask(question, work, message) {
  return (await confirm(question)) && attempt(work, message);
}
