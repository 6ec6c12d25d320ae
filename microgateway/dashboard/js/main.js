// The beginning: sign in if need be, then one view at a time, as the address says.

import { access, api, mayBeSignedIn, signIn } from "./api.js";
import { fill, h } from "./dom.js";
import { createShell } from "./shell.js";
import { signInPage } from "./sign_in.js";
import { here } from "./router.js";

const app = document.getElementById("app");
let leaveView = () => {};

async function start() {
  const problem = await signInByAddress();
  if (problem || !mayBeSignedIn()) return askForToken(problem);
  try {
    await api.get("api/session");
    return enter();
  } catch (error) {
    return askForToken(error.status === 401 ? "" : error.message);
  }
}

const hasToken = () => location.hash.startsWith("#token=");

/** The address that the gateway prints has the token behind the #; it is taken out before anything else is done. */
async function signInByAddress() {
  if (!hasToken()) return "";
  const token = location.hash.slice("#token=".length);
  history.replaceState(null, "", `${location.pathname}#/`);
  try {
    await signIn(decodeURIComponent(token));
    return "";
  } catch (error) {
    return error.message;
  }
}

function askForToken(problem) {
  leave();
  document.title = "Sign in · MicroGateway";
  document.querySelectorAll("dialog").forEach((dialog) => dialog.remove());
  fill(app, signInPage({ problem, onSignedIn: enter }));
  app.querySelector("[type=password]").focus();
}

function enter() {
  leave();
  const shell = createShell();
  fill(app, h("a", { class: "skip", href: "#view", onclick: (event) => { event.preventDefault(); shell.view.focus(); } }, "Skip to the view"), shell.node);
  const show = () => {
    if (hasToken()) return;
    leaveView();
    leaveView = shell.show(here());
  };
  const signedOut = () => askForToken("Your session has ended. Sign in again to go on.");
  window.addEventListener("hashchange", show);
  access.addEventListener("lost", signedOut, { once: true });
  leave = () => {
    window.removeEventListener("hashchange", show);
    access.removeEventListener("lost", signedOut);
    leaveView();
    leaveView = () => {};
    shell.close();
    leave = () => {};
  };
  show();
}

let leave = () => {};

window.addEventListener("hashchange", () => { if (hasToken()) start(); });
start();
